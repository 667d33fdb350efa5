"""Random numbers as a function of what they are for, so that there is no state to save, resume or share."""

import hashlib

import torch


def generator(*purpose: object) -> torch.Generator:
    """A CPU generator whose seed is a hash of ``purpose``, such as ("order", seed, epoch)."""
    # 32 bits: torch's CPU generator looks at no more of its seed.
    digest = hashlib.blake2b(repr(purpose).encode(), digest_size=4).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little"))
