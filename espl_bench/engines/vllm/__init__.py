"""Engine vllm: sampling with vLLM, training as engine hf does."""
