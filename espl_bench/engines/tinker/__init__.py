"""Engine tinker: sampling and training at a Tinker service."""
