// csrc/cuda/primitives.cuh for g++, in place of its inline PTX: the primitives of tests/emulator, which toolchain.py
// has included before.
#pragma once

namespace pixelrnn::cuda {
namespace primitive = emulator::primitive;
}
