// The code that a module is loaded from: machine code in an ELF file, or PTX.
#pragma once
#include <set>
#include <string>

namespace fake {

struct Code {
  int capability = 0;  // 0: neither machine code nor PTX
  bool ptx = false;
  std::set<std::string> kernels;
  std::string name() const { return (ptx ? "compute_" : "sm_") + std::to_string(capability); }
};

Code read_code(const void* image);

bool runs_on(const Code&, int capability);

}  // namespace fake
