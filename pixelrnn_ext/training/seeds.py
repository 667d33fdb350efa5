"""Makes random numbers that depend only on their purpose. So no generator's state needs to be saved or shared."""

import hashlib

import torch


def generator(*purpose: object) -> torch.Generator:
    """Returns a generator of random numbers on the CPU.

    Its seed is a hash of ``purpose``, such as ("order", seed, epoch).
    """
    # The hash has 32 bits, because torch's CPU generator uses no more bits of its seed.
    digest = hashlib.blake2b(repr(purpose).encode(), digest_size=4).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little"))
