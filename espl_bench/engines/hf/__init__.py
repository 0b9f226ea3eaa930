"""Engine hf: sampling and training with transformers and peft."""

import logging

logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # peft imports it where it is installed, and it tells of kernels to download
