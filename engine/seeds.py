"""Every random number comes from the run's seed and the name of what it is for."""

import hashlib


def derive(seed: int, *purpose: object) -> int:
    """A seed 0..2**63-1 for `purpose`, independent of the seeds for every other purpose.

    The same run seed and purpose give the same seed on every machine and in every version of Python.
    """
    text = "\x1f".join([str(seed), *map(str, purpose)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
