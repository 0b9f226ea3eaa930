"""The laboratory: small language models of our own, their synthetic languages, their pre-training and their measured skills.

`MODEL` and `SEARCH_MODEL` are the folders of the shipped models: plain `AutoModelForCausalLM.from_pretrained(MODEL)` loads one.
"""

from pathlib import Path

MODEL = Path(__file__).parent / "espl-lab-v0"
"""Works out chains: the model of `rulebook`."""
SEARCH_MODEL = Path(__file__).parent / "espl-lab-search-v0"
"""Looks things up: the model of `almanac`."""
