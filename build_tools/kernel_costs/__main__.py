"""Writes csrc/cuda/scan/costs.h, the cycles of each kernel in kernel_list.h, for `make kernels`."""

import device_code

from . import compiler, cost_table, modelled, resources


def main():
    if compiler.version() != compiler.PINNED:
        raise SystemExit(f"expected NVRTC {compiler.PINNED}, got {compiler.version()}: pip install --group device-code")
    csrc, folder, nvrtc = compiler.ROOT / "csrc", compiler.ROOT / "build" / "device_code", compiler.compiler()

    def compile(arch, *options):
        return [made for _, made in device_code.compile_kernels(nvrtc, [arch], csrc, folder, *options)]

    registers = {arch: resources.read(compile(arch.removeprefix("sm_"))) for arch in cost_table.ARCHITECTURES}
    with_lines = compile("90", ["-lineinfo"], None, modelled.SOURCES)
    table = modelled.table([made.cubin for made in with_lines], registers)
    cost_table.write(modelled.with_measurements(table, cost_table.read()))


if __name__ == "__main__":
    main()
