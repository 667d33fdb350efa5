"""Chooses the device of a benchmark, and describes it in the report's first line."""

import argparse
import subprocess
from dataclasses import dataclass
from typing import Any

import torch

from ..operators import library
from .children import OK, Children, Report

DEVICES = ("auto", "cpu", "cuda")


def why_no_gpu() -> str:
    """Returns one sentence that says why torch can use no GPU, or an empty text if it can."""
    if torch.cuda.is_available():
        return ""
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA"
    return f"torch {torch.__version__}, which is built for CUDA {torch.version.cuda}, finds no GPU"


def add_option(parser: argparse.ArgumentParser) -> None:
    text = "where to run; auto, the default, takes the GPU if there is one"
    parser.add_argument("--device", choices=DEVICES, default="auto", help=text)


def choose(name: str, only_cpu: str = "") -> tuple[str, str]:
    """Returns "cpu" or "cuda" for a name in DEVICES, and why it was chosen.

    ``only_cpu`` names the options that were given and that only a CPU has. With them, "auto" takes the CPU.

    Raises:
        ValueError: "cuda" cannot be used. The message is one sentence with the reason.
    """
    reason = why_no_gpu() or (f"{only_cpu} is for a CPU" if only_cpu else "")
    if name == "cuda" and reason:
        raise ValueError(f"expected a GPU for --device cuda, got none: {reason}")
    if name == "auto":
        return ("cpu", reason) if reason else ("cuda", "there is a GPU")
    return name, f"--device {name}"


@dataclass(frozen=True)
class Facts:
    """A task that asks the GPU what it is. A child process asks, so that this process holds no memory of the GPU."""

    seconds: float = 60.0

    def measure(self, report: Report) -> None:
        properties = torch.cuda.get_device_properties(0)
        config = library.build_config()
        report(
            gpu=properties.name,
            capability=f"{properties.major}.{properties.minor}",
            multiprocessors=properties.multi_processor_count,
            memory=f"{properties.total_memory / 2**30:.0f} GiB",
            torch=torch.__version__,
            CUDA=torch.version.cuda,
            cuDNN=torch.backends.cudnn.version(),
            NVRTC=config["cuda"],
            csrc=config["csrc"],
            why_no_gpu=config["why_no_gpu"],
            **_from_nvidia_smi(),
        )


def _from_nvidia_smi() -> dict[str, str]:
    fields = {"driver": "driver_version", "clock": "clocks.sm", "most": "clocks.max.sm", "memory_clock": "clocks.mem"}
    index = torch.cuda.current_device()
    uuid = getattr(torch.cuda.get_device_properties(index), "uuid", None)
    command = ["nvidia-smi", f"--query-gpu={','.join(fields.values())}", "--format=csv,noheader"]
    # nvidia-smi counts all GPUs, also those that CUDA_VISIBLE_DEVICES hides.
    command += [f"--id=GPU-{uuid}"] if uuid else []
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    values = done.stdout.strip().split(", ") if done.returncode == 0 else []
    return dict(zip(fields, values)) if len(values) == len(fields) else {}


def gpu_facts(children: Children) -> dict[str, Any]:
    """Returns the facts of the GPU. Raises ValueError with one sentence if it does not answer."""
    outcome = children.run(Facts())
    if outcome.pop("status") != OK:
        raise ValueError(f"expected a GPU that answers, got: {outcome['note']}")
    return outcome


def describe_gpu(facts: dict[str, Any], why: str) -> str:
    kernels = f"kernels by NVRTC {facts['NVRTC']}" if facts["NVRTC"] else "no CUDA kernels are built"
    clocks = "clocks unknown"
    if "clock" in facts:
        clocks = f"clocks {facts['clock']} of {facts['most']}, memory {facts['memory_clock']}"
    gpu = f"{facts['gpu']} ({facts['capability']}, {facts['multiprocessors']} multiprocessors, {facts['memory']})"
    parts = gpu, f"driver {facts.get('driver', 'unknown')}", kernels, f"torch {facts['torch']}", clocks
    return f"GPU, {'; '.join(parts)} ({why})"
