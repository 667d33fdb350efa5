#include "code.h"

#include <elf.h>

#include <cstdlib>
#include <cstring>
#include <vector>

namespace fake {
namespace {

constexpr int kMachine = 190;          // EM_CUDA
constexpr int kNewFormat = 8;          // of CUDA 12.9 for 10.0 and later, of CUDA 13 for all
const char kKernel[] = ".text.";       // and the kernel's name: the section that holds its instructions
const char kEntry[] = ".entry ";       // and the kernel's name, in PTX
const char kTarget[] = ".target sm_";  // and the capability, in PTX

Code read_machine_code(const char* image) {
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

Code read_ptx(const char* text) {
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

// Jetsons share no machine code with other GPUs, nor with each other. CUDA 13 calls 11.0 what CUDA 12 called 10.1.
bool is_jetson(int capability) { return std::set{53, 62, 72, 87, 101, 110}.count(capability); }

}  // namespace

Code read_code(const void* image) {
  const auto* const bytes = static_cast<const char*>(image);
  return std::memcmp(bytes, ELFMAG, SELFMAG) ? read_ptx(bytes) : read_machine_code(bytes);
}

bool runs_on(const Code& code, int capability) {
  if (code.capability == capability) return true;
  if (code.capability > capability) return false;
  if (code.ptx) return true;
  return code.capability / 10 == capability / 10 && !is_jetson(code.capability) && !is_jetson(capability);
}

std::string make_machine_code(int capability, const std::set<std::string>& kernels) {
  Elf64_Ehdr file{};
  std::memcpy(file.e_ident, ELFMAG, SELFMAG);
  file.e_ident[EI_CLASS] = ELFCLASS64;
  file.e_ident[EI_ABIVERSION] = capability < 100 ? 7 : kNewFormat;
  file.e_machine = kMachine;
  file.e_flags = capability < 100 ? capability : capability << 8;
  std::string names(1, '\0');
  std::vector<Elf64_Shdr> sections(2);  // none, and the names
  for (const std::string& kernel : kernels) {
    sections.push_back({});
    sections.back().sh_name = names.size();
    names += kKernel + kernel + '\0';
  }
  file.e_shoff = sizeof file;
  file.e_shnum = sections.size();
  file.e_shstrndx = 1;
  sections[1].sh_offset = sizeof file + sections.size() * sizeof sections[0];
  return std::string(reinterpret_cast<const char*>(&file), sizeof file) +
         std::string(reinterpret_cast<const char*>(sections.data()), sections.size() * sizeof sections[0]) + names;
}

std::string make_ptx(int capability, const std::set<std::string>& kernels) {
  std::string text = ".version 8.8\n" + (kTarget + std::to_string(capability)) + "\n";
  for (const std::string& kernel : kernels) text += ".visible " + (kEntry + kernel) + "(\n)\n{\n}\n";
  return text;
}

}  // namespace fake
