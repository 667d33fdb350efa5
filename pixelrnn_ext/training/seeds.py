"""Makes random numbers that depend only on their purpose, so that no generator's state is saved or shared."""

import hashlib

import torch


def generator(*purpose: object) -> torch.Generator:
    """Returns a generator on the CPU.

    Its seed is a hash of ``purpose``, such as ("order", seed, epoch).
    """
    # torch's CPU generator uses 32 bits of its seed.
    digest = hashlib.blake2b(repr(purpose).encode(), digest_size=4).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little"))
