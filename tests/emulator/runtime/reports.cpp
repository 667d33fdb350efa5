#include <cstdio>

#include "runtime_internal.h"

namespace emulator {

std::string first_error;

std::string describe(const Fiber& f) {
  char text[96];
  snprintf(text, sizeof text, "block (%u,%u,%u) thread (%u,%u,%u)", f.block_position.x, f.block_position.y,
      f.block_position.z, f.thread.x, f.thread.y, f.thread.z);
  return text;
}
std::string describe_waiting() {
  static const char* const names[] = {"", "ready", "at the block barrier ", "at the collective ",
      "at the cluster barrier ", "at the mbarrier ", "left the kernel"};
  struct Group {
    unsigned threads = 0;
    std::string example;
  };
  std::map<std::string, Group> groups;
  for (const Fiber& f : machine.fibers) {
    if (f.status == Status::unborn) continue;
    std::string at = "block " + std::to_string(f.block) + ": " + names[int(f.status)];
    if (f.status != Status::ready && f.status != Status::done) at += f.place;
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

void fail_with(Kind kind, const std::string& what) {
  static const char* const names[] = {
      "deadlock", "divergence", "race", "out of bounds", "uninitialised", "bad use", "unwritten", "exited"};
  std::string report = std::string("emulator: ") + names[int(kind)] + ": " + what;
  if (!self) throw std::runtime_error(report);
  report += "\n  in " + describe(*self);
  if (first_error.empty()) first_error = report;
  self->status = Status::done;  // ends the fiber without running destructors
  suspend();
  __builtin_unreachable();
}

}  // namespace emulator
