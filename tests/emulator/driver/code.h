#pragma once
#include <elf.h>

#include <cstdlib>
#include <cstring>
#include <set>
#include <string>

namespace emulator {

struct Code {
  // The compute capability, where 90 stands for 9.0. The value is 0 if the code is neither machine code nor PTX.
  int capability = 0;
  bool ptx = false;
  std::set<std::string> kernels;
  std::string name() const { return (ptx ? "compute_" : "sm_") + std::to_string(capability); }
};

constexpr int kMachine = 190;  // EM_CUDA, the ELF machine number of NVIDIA's GPUs
// From this ELF ABI version on, bits 8 to 15 of the ELF flags hold the capability. Older versions use bits 0 to 7.
constexpr int kNewFormat = 8;
const char kKernel[] = ".text.";  // machine code has a section .text.KERNEL for each kernel
const char kEntry[] = ".entry ";
const char kTarget[] = ".target sm_";

inline Code read_machine_code(const char* image) {
  const auto* const file = reinterpret_cast<const Elf64_Ehdr*>(image);
  if (file->e_machine != kMachine) return {};
  Code code;
  code.capability = file->e_ident[EI_ABIVERSION] < kNewFormat ? file->e_flags & 255 : file->e_flags >> 8 & 255;
  const auto* const sections = reinterpret_cast<const Elf64_Shdr*>(image + file->e_shoff);
  const char* const names = image + sections[file->e_shstrndx].sh_offset;
  for (int i = 0; i < file->e_shnum; ++i) {
    const char* const name = names + sections[i].sh_name;
    if (!std::strncmp(name, kKernel, std::strlen(kKernel))) code.kernels.insert(name + std::strlen(kKernel));
  }
  return code;
}

inline Code read_ptx(const char* text) {
  const char* const target = std::strstr(text, kTarget);
  if (!std::strstr(text, ".version") || !target) return {};
  Code code;
  code.ptx = true;
  code.capability = std::atoi(target + std::strlen(kTarget));
  for (const char* at = text; (at = std::strstr(at, kEntry));) {
    at += std::strlen(kEntry);
    code.kernels.emplace(at, std::strcspn(at, "( \n"));
  }
  return code;
}

// Returns whether a compute capability (90 stands for 9.0) belongs to a Jetson. Jetsons share machine code with no
// other GPU. The function accepts both 101 and 110, because CUDA 13 renamed compute capability 10.1 to 11.0.
inline bool is_jetson(int capability) { return std::set{53, 62, 72, 87, 101, 110}.count(capability); }

inline Code read_code(const void* image) {
  const auto* const bytes = static_cast<const char*>(image);
  return std::memcmp(bytes, ELFMAG, SELFMAG) ? read_ptx(bytes) : read_machine_code(bytes);
}

inline bool runs_on(const Code& code, int capability) {
  if (code.capability == capability) return true;
  if (code.capability > capability) return false;
  if (code.ptx) return true;
  return code.capability / 10 == capability / 10 && !is_jetson(code.capability) && !is_jetson(capability);
}

}  // namespace emulator
