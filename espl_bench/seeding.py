"""Derived seeds: every random draw of a run is named, so that a resumed run draws the same as an uninterrupted one.

The harness has no global generator. A seed is a pure function of the run's seed and of keys that
name the draw: ``(phase, step, problem, sample, ...)``. Two draws with different keys are independent;
adding a new kind of draw does not change any old one.
"""

import hashlib
import json

import numpy as np

_ENCODER = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"))


def seed_for(run_seed: int, *keys: str | int) -> int:
    """Return the seed of the draw that ``keys`` name: an integer in [0, 2**63).

    Seeds are derived, never global. Keys go from coarse to fine, usually (phase, step, problem, sample, ...), and
    ``"1"`` and ``1`` are different keys. The encoding (compact ASCII JSON, hashed with SHA-256) is part of the
    contract: changing it would change every published run.
    """
    encoded = _ENCODER.encode([run_seed, *keys]).encode("ascii")
    return int.from_bytes(hashlib.sha256(encoded).digest()[:8], "big") >> 1


def rng_for(run_seed: int, *keys: str | int) -> np.random.Generator:
    """Return a new generator seeded with ``seed_for(run_seed, *keys)``; PCG64 by name, independent of numpy's default."""
    return np.random.Generator(np.random.PCG64(seed_for(run_seed, *keys)))
