// What went wrong, where, and what everyone waits for.
#include <dlfcn.h>

#include <cstdio>
#include <cstring>
#include <map>
#include <utility>

#include "parts.h"

namespace emulator {

std::unique_ptr<Error> first_error;

static const char* name_of(Kind kind) {
  static const char* const names[] = {
      "deadlock", "divergence", "race", "out of bounds", "uninitialised", "bad use", "unwritten", "exited"};
  return names[int(kind)];
}
std::string describe(const Fiber& f) {
  char text[96];
  snprintf(text, sizeof text, "block (%u,%u,%u) thread (%u,%u,%u)", f.block_at.x, f.block_at.y, f.block_at.z,
      f.thread.x, f.thread.y, f.thread.z);
  return text;
}
std::string describe_waiting() {
  struct Group {
    unsigned threads = 0;
    std::string example;
  };
  std::map<std::string, Group> groups;
  for (const Fiber& f : machine.fibers) {
    std::string at = "block " + std::to_string(f.block) + ": ";
    switch (f.status) {
      case Status::unborn: continue;
      case Status::ready: at += "ready"; break;
      case Status::at_block_barrier: at += std::string("at the block barrier ") + f.place; break;
      case Status::at_warp_collective: at += std::string("at the collective ") + f.place; break;
      case Status::at_cluster_barrier: at += std::string("at the cluster barrier ") + f.place; break;
      case Status::at_transfer_barrier: at += std::string("at the transfer barrier ") + f.place; break;
      case Status::done: at += "left the kernel"; break;
    }
    Group& group = groups[at];
    if (!group.threads++) group.example = describe(f);
  }
  std::string text;
  int lines = 0;
  for (const auto& [at, group] : groups) {
    if (lines++ == 24) return text + "\n    ...";
    text += "\n    " + std::to_string(group.threads) + " thread(s) of " + at + ", such as " + group.example;
  }
  return text;
}

// Kernels from PTX pass texts. Kernels from source pass addresses of code, or texts of text_of_place(), on the heap.
bool places_are_text = false;
const char* text_of_place(const char* file, unsigned line) {
  static std::map<std::pair<const char*, unsigned>, std::string> texts;
  std::string& text = texts[{file, line}];
  if (text.empty()) {
    const char* slash = strrchr(file, '/');
    text = std::string(slash ? slash + 1 : file) + ":" + std::to_string(line);
  }
  return text.c_str();
}
std::string describe_place(const void* place) {
  Dl_info library;
  if (places_are_text || !dladdr(place, &library)) return static_cast<const char*>(place);
  char command[512], line[512];
  const size_t offset = static_cast<const char*>(place) - static_cast<const char*>(library.dli_fbase) - 1;
  snprintf(command, sizeof command, "addr2line -s -i -e '%s' 0x%zx 2>/dev/null", library.dli_fname, offset);
  std::string text;
  if (FILE* pipe = popen(command, "r")) {
    while (fgets(line, sizeof line, pipe)) {
      line[strcspn(line, " \n")] = 0;
      if (line[0] != '?') text += (text.empty() ? "" : " < ") + std::string(line);
    }
    pclose(pipe);
  }
  return text.empty() ? "?" : text;
}

void fail_with(Kind kind, const std::string& what) {
  std::string report = std::string("emulator: ") + name_of(kind) + ": " + what;
  if (!self) throw Error(kind, report);
  InRuntime guard;
  report += "\n  in " + describe(*self);
  if (!first_error) first_error = std::make_unique<Error>(kind, report);
  self->status = Status::done;  // abandoned: its destructors do not run
  suspend();
  __builtin_unreachable();
}

}  // namespace emulator
