"""Random numbers as a function of their purpose, without a state to save, resume or share."""

import hashlib

import torch


def generator(*purpose: object) -> torch.Generator:
    """Returns a CPU generator whose seed is a hash of ``purpose``, such as ("order", seed, epoch)."""
    # torch's CPU generator uses 32 bits of its seed.
    digest = hashlib.blake2b(repr(purpose).encode(), digest_size=4).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little"))
