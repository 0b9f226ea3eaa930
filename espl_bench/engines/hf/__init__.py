"""Engine hf: sampling and training with transformers and peft."""
