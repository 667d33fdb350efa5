import datetime
import json
import platform
import shlex
import subprocess
import sys
from pathlib import Path

import source_hash  # in build_tools/

from . import ROOT

PROBE = """
import json, torch
facts = {"torch": torch.__version__, "CUDA": torch.version.cuda, "card": None}
if torch.cuda.is_available():
    properties = torch.cuda.get_device_properties(0)
    memory = f"{properties.total_memory / 2**30:.0f} GiB"
    facts |= {"card": f"{properties.name}, {memory}", "multiprocessors": properties.multi_processor_count,
        "architecture": f"{properties.major}.{properties.minor}", "cuDNN": torch.backends.cudnn.version()}
try:
    from pixelrnn_ext import build_config
    config = build_config()
except Exception as error:
    why = f"pixelrnn_ext cannot be imported: {error}"
    config = {"why_no_cuda": why, "why_no_gpu": why}
print(json.dumps([facts, config]))
"""


def probe(folder: Path) -> tuple[dict, dict]:
    """Returns the GPU's properties, and the build configuration of the installed package."""
    # `python -c` would import a pixelrnn_ext in ``folder`` instead of the installed package.
    done = subprocess.run([sys.executable, "-c", PROBE], cwd=folder, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["expected facts about the card, got no output"])[-1])
    return tuple(json.loads(done.stdout.splitlines()[-1]))


def why_unusable(config: dict) -> str | None:
    expected, installed = source_hash.hash_of(ROOT / "csrc"), config.get("csrc")
    if config["why_no_gpu"] is None and installed != expected:
        return f"expected kernels of this checkout's csrc ({expected}), got those of another ({installed or 'unknown'})"
    return config["why_no_gpu"]


def describe_kernels(config: dict) -> str:
    return config["why_no_cuda"] or f"by NVRTC {config['cuda']} for {config['cuda_archs']}"


def environment(facts: dict, config: dict, argv: list[str]) -> dict[str, str | None]:
    driver = command_output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    changed = commit = None
    # If the checkout has no .git, git would report on a repository in a parent folder.
    if (ROOT / ".git").exists():
        changed = command_output("git", "-C", str(ROOT), "status", "--porcelain", "--untracked-files=no")
        commit = command_output("git", "-C", str(ROOT), "rev-parse", "HEAD")
    return {
        "card": facts["card"],
        "driver": driver and driver.splitlines()[0],
        **facts,
        "kernels": describe_kernels(config),
        "Python": platform.python_version(),
        "csrc": source_hash.hash_of(ROOT / "csrc"),
        "commit": commit and commit + ", with changes" * bool(changed),
        "command": shlex.join(["python", "-m", "benchmarks.gpu_day", *argv]),
        "date": datetime.date.today().isoformat(),
    }


def command_output(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
