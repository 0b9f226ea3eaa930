"""The laboratory: a small language model of our own, its synthetic language, its pre-training and its measured skills.

`MODEL` is the folder of the shipped model: plain `AutoModelForCausalLM.from_pretrained(MODEL)` loads it.
"""

from pathlib import Path

MODEL = Path(__file__).parent / "espl-lab-v0"
