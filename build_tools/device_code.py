"""Compiles the CUDA kernels with NVRTC, and writes a C++ file with a table of their machine code.

Releases are compiled by CUDA 12, because drivers for CUDA 12 cannot load the code of CUDA 13. A local build may use
CUDA 13.
"""

import concurrent.futures
import ctypes
import hashlib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

# NVRTC and CUDA's headers on PyPI, in the versions that releases use.
PACKAGES = ["nvidia-cuda-nvrtc-cu12==12.9.*", "nvidia-cuda-runtime-cu12==12.9.*"]

# Standard C++ headers that the kernels and cuda.h include, but NVRTC lacks.
STANDARD_HEADERS = {
    "cmath": "",
    "stdlib.h": "",
    "stdint.h": "#include <cstdint>",
    "cstdint": """
        using int8_t = signed char; using int16_t = short; using int32_t = int; using int64_t = long;
        using uint8_t = unsigned char; using uint16_t = unsigned short; using uint32_t = unsigned;
        using uint64_t = unsigned long; using uintptr_t = unsigned long;""",
    "type_traits": """
        namespace std {
        template <bool C, class A, class B> struct conditional { using type = A; };
        template <class A, class B> struct conditional<false, A, B> { using type = B; };
        template <bool C, class A, class B> using conditional_t = typename conditional<C, A, B>::type;
        }""",
}


class NVRTC:
    """NVIDIA's compiler for CUDA kernels. `include` is the folder with CUDA's headers of the same version."""

    def __init__(self, library, include):
        self.path, self.include = Path(library), Path(include)
        self._library = ctypes.CDLL(str(library))
        numbers = ctypes.c_int(), ctypes.c_int()
        self._call("Version", *map(ctypes.byref, numbers))
        self.version = ".".join(str(number.value) for number in numbers)
        count = ctypes.c_int()
        self._call("GetNumSupportedArchs", ctypes.byref(count))
        supported = (ctypes.c_int * count.value)()
        self._call("GetSupportedArchs", supported)
        self.archs = set(map(str, supported))

    def _call(self, name, *arguments):
        if status := getattr(self._library, f"nvrtc{name}")(*arguments):
            raise RuntimeError(f"nvrtc{name}: error {status}")

    def _output(self, kind, program):
        size = ctypes.c_size_t()
        self._call(f"Get{kind}Size", program, ctypes.byref(size))
        text = ctypes.create_string_buffer(size.value)
        self._call(f"Get{kind}", program, text)
        return text.raw

    def compile(self, source, arch, flags=()):
        """Compiles a .cu file for an architecture such as sm_90. Returns its machine code, its PTX and NVRTC's log.

        A child process compiles the file. Two threads in NVRTC 12.9 once ended their process by a segmentation fault,
        and a compiler that dies must cost one file, not the installation.
        """
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, __file__, self.path, self.include, source, arch, folder, *flags]
            done = subprocess.run(command, capture_output=True, text=True, errors="replace")
            if done.returncode < 0:
                raise RuntimeError(f"{source}: the compiler died of signal {-done.returncode}")
            if done.returncode:
                raise RuntimeError(done.stderr.strip() or f"{source}: the compiler failed and said nothing")
            cubin, ptx, log = (Path(folder, name).read_bytes() for name in Compiled._fields)
            return cubin, ptx, log.decode()

    def compile_here(self, source, arch, flags=()):
        """Does the work of :meth:`compile` in this process."""
        headers = [(name.encode(), f"#pragma once\n{text}\n".encode()) for name, text in STANDARD_HEADERS.items()]
        names, texts = ((ctypes.c_char_p * len(headers))(*column) for column in zip(*headers))
        program, text, name = ctypes.c_void_p(), source.read_bytes(), str(source).encode()
        self._call("CreateProgram", ctypes.byref(program), text, name, len(headers), texts, names)
        options = [f"--gpu-architecture={arch}", "--std=c++17", "--device-as-default-execution-space"]
        options += [f"-I{source.parent}", f"-I{self.include}", *flags]
        try:
            status = self._library.nvrtcCompileProgram(
                program, len(options), (ctypes.c_char_p * len(options))(*map(str.encode, options))
            )
            log = self._output("ProgramLog", program).rstrip(b"\0").decode()
            if status:
                raise RuntimeError(f"{source}: {log}")
            return self._output("CUBIN", program), self._output("PTX", program).rstrip(b"\0"), log
        finally:
            self._call("DestroyProgram", ctypes.byref(program))


def find_compilers():
    """Yields the installed NVRTCs: first PyPI's packages, CUDA 12 before later versions, then a CUDA toolkit's."""
    roots = [Path(path, "nvidia") for path in dict.fromkeys(sys.path)]
    pairs = [(root / "cuda_nvrtc/lib", root / "cuda_runtime/include") for root in roots]
    pairs += [(folder / "lib", folder / "include") for root in roots for folder in sorted(root.glob("cu[0-9]*"))]
    toolkit = Path(os.environ.get("CUDA_HOME") or "/usr/local/cuda")
    pairs += [(toolkit / lib, toolkit / "include") for lib in ("lib64", "lib")]
    for lib, include in pairs:
        libraries = sorted(lib.glob("libnvrtc.so.*"))
        if libraries and all((include / name).exists() for name in ("cuda.h", "cuda_fp16.h")):
            try:
                nvrtc = NVRTC(libraries[0], include)
            except (OSError, AttributeError, RuntimeError):
                # This NVRTC cannot be loaded, or is too old to list the architectures that it compiles for.
                continue
            yield nvrtc


def compiler_for(gpus):
    """Returns the first installed NVRTC that can compile for all `gpus`.

    `gpus` are compute capabilities such as "9.0". "9.0+PTX" also asks for PTX, which later GPUs can run.

    Raises:
        RuntimeError: no installed NVRTC can compile for all `gpus`. The message says what to install.
    """
    found = list(find_compilers())
    for nvrtc in found:
        if set(map(arch_of, gpus)) <= nvrtc.archs:
            return nvrtc
    got, wanted = ", ".join(nvrtc.version for nvrtc in found) or "none", " ".join(gpus)
    raise RuntimeError(f"expected an NVRTC that compiles for {wanted}, got {got}: pip install {' '.join(PACKAGES)}")


def arch_of(gpu):
    return gpu.partition("+")[0].replace(".", "")


def kernels_of(machine_code):
    return sorted({name.decode() for name in re.findall(rb"\.text\.(\w+)\0", machine_code)})


class Compiled(NamedTuple):
    cubin: Path
    ptx: Path
    log: Path  # the compiler's report on each kernel's registers and spills


def compile_kernels(nvrtc, gpus, csrc, folder, flags=(), failed=None, sources=None):
    """Compiles the kernels for each of `gpus`, such as "9.0" or "9.0+PTX". Returns a list of (GPU, Compiled).

    For a GPU such as "10.0+steps" it leaves out the resident kernels, which take most of the compiler's time. Compiled
    files in `folder` are used again until an input of the compiler changes.

    Args:
        failed: if this is a dictionary, it receives {(file, GPU): the compiler's sentence} for each file that does not
            compile, and the list lacks that file for that GPU. Otherwise such a file raises RuntimeError.
        sources: the files to compile, or None for all of csrc/cuda.
    """
    sources = sources or sorted(csrc.glob("cuda/**/*.cu"))
    folder.mkdir(parents=True, exist_ok=True)
    flags = [*flags, "--ptxas-options=-v"]
    digest = hashlib.sha256(Path(__file__).read_bytes() + repr((nvrtc.path.stat().st_size, flags)).encode())
    for header in sorted([*csrc.glob("*.h"), *csrc.glob("cuda/**/*.h"), *csrc.glob("cuda/**/*.cuh")]):
        digest.update(header.read_bytes())

    def compile_one(job):
        gpu, source = job
        inputs = digest.copy()
        inputs.update(source.read_bytes())
        stem = f"{source.stem}.{arch_of(gpu)}.{inputs.hexdigest()[:16]}"
        files = Compiled(*(folder / f"{stem}.{kind}" for kind in Compiled._fields))
        if not all(file.exists() for file in files):
            try:
                cubin, ptx, log = nvrtc.compile(source, f"sm_{arch_of(gpu)}", flags)
            except RuntimeError as error:
                if failed is None:
                    raise
                failed[source, gpu] = " ".join(str(error).removeprefix(f"{source}: ").split())
                return None
            for file, content in zip(files, (cubin, ptx, log.encode())):
                partial = file.with_suffix(f".{os.getpid()}")
                partial.write_bytes(content)
                partial.rename(file)
        return gpu, files

    with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("MAX_JOBS") or os.cpu_count())) as pool:
        wanted = [
            (gpu, source)
            for gpu in gpus
            for source in sources
            if not (gpu.endswith("+steps") and source.stem.startswith("resident"))
        ]
        made = list(pool.map(compile_one, wanted))
    return [pair for pair in made if pair]


# The capabilities whose PTX takes the place of a file that does not compile for a later GPU, the best one first.
LOWER = ["12.0", "10.0", "9.0", "8.0", "7.5"]


def capability(gpu):
    return int(arch_of(gpu))


def compile_in_place_of(failed, nvrtc, csrc, folder, flags):
    """Compiles each failed file for the next lower capability for which it compiles.

    Returns ({(file, lower capability): Compiled}, {(file, GPU): the lower capability}).
    """
    made, lower = {}, {}
    for source, gpu in failed:
        for candidate in LOWER:
            if capability(candidate) >= capability(gpu) or arch_of(candidate) not in nvrtc.archs:
                continue
            found = compile_kernels(nvrtc, [candidate], csrc, folder, flags, {}, [source])
            if found:
                made[source, candidate], lower[source, gpu] = found[0][1], candidate
                break
    return made, lower


def build_table(nvrtc, gpus, csrc, folder, flags=(), left_out=None):
    """Writes a C++ file with the machine code of all kernels into `folder`, and returns its path.

    For a GPU such as "9.0+PTX" the file also has the kernels' PTX. If `left_out` is a list, a file that does not
    compile for a GPU costs no more than this file: the table has its PTX for a lower capability instead, if that
    compiles, and the list receives a sentence. If nothing compiles, or `left_out` is None, RuntimeError is raised.
    """
    failed = None if left_out is None else {}
    compiled = [
        (gpu, made, (made.cubin, made.ptx) if gpu.endswith("+PTX") else (made.cubin,))
        for gpu, made in compile_kernels(nvrtc, gpus, csrc, folder, flags, failed)
    ]
    if failed and not compiled:
        raise RuntimeError(next(iter(failed.values())))
    if failed:
        made, lower = compile_in_place_of(failed, nvrtc, csrc, folder, flags)
        compiled += [(gpu, files, (files.ptx,)) for (_, gpu), files in made.items() if f"{gpu}+PTX" not in gpus]
        for (source, gpu), error in failed.items():
            instead = f"PTX for {lower[source, gpu]} in its place" if (source, gpu) in lower else "nothing in its place"
            left_out.append(f"{source.stem} for {gpu} ({instead}): {error[-200:]}")
    data, rows = [], []
    for gpu, made, contained in compiled:
        names = " ".join(kernels_of(made.cubin.read_bytes()))
        for file in contained:
            symbol = f"code_{len(rows)}"
            rows.append(f'    {{{arch_of(gpu)}, {str(file == made.ptx).lower()}, " {names} ", {symbol}}},')
            section = f'.section .rodata\\n.balign 64\\n{symbol}:\\n.incbin \\"{file}\\"\\n.byte 0\\n.previous\\n'
            data.append(f'asm("{section}");\nextern "C" __attribute__((visibility("hidden"))) const char {symbol}[];')
    major, minor = map(int, nvrtc.version.split("."))
    version = f"extern const int compiler_version = {1000 * major + 10 * minor};"
    table = [
        "namespace pixelrnn::cuda {",
        "extern const DeviceCode device_code[] = {",
        *rows,
        "    {},",
        "};",
        version,
        "}",
    ]
    target = folder / "device_code.cpp"
    target.write_text("\n".join(['#include "cuda/driver/device_code.h"', *data, *table, ""]))
    return target


def main(library, include, source, arch, folder, *flags):
    try:
        cubin, ptx, log = NVRTC(library, include).compile_here(Path(source), arch, flags)
    except RuntimeError as error:
        sys.exit(str(error))
    for name, content in zip(Compiled._fields, (cubin, ptx, log.encode())):
        Path(folder, name).write_bytes(content)


if __name__ == "__main__":
    main(*sys.argv[1:])
