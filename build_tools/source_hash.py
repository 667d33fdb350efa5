"""The hash of the kernels' sources, which setup.py records. benchmarks/gpu_day compares it with the checkout's hash."""

import hashlib


def hash_of(csrc):
    """Returns a hash of the names and contents of all files in a folder."""
    digest = hashlib.sha256()
    for path in sorted(path for path in csrc.rglob("*") if path.is_file()):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(csrc).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]
