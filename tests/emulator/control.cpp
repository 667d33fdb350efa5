// C functions for control.py. set_* and mutate return -1 for an unknown name or number, otherwise 0.
#include <cstring>

#include "driver/state.h"
#include "runtime_internal.h"

using namespace emulator;

static std::string text;  // keeps the returned string alive

namespace emulator {
bool mutation_reached = false;
}

// Makes a new context current, as after a reset of the GPU, so that host code loads its kernels again.
static void renew_context(int device) {
  State& state = the_state();
  state.initialised = true;
  state.contexts.resize(gpus().size());
  Context& context = state.contexts[device];
  context.device = device;
  context.number = ++state.contexts_made;
  this_thread.context = &context;
}

extern "C" {

int emulator_set_schedule(const char* name, uint64_t seed, unsigned preemption, unsigned resident) {
  for (int i = 0; i < 5; ++i)
    if (!strcmp(schedule_names[i], name)) {
      Launch& launch = the_state().launch;
      launch.schedule = Schedule(i), launch.seed = seed, launch.preemption = preemption, launch.resident = resident;
      return 0;
    }
  return -1;
}
int emulator_set_device(const char* name, int multiprocessors, int gpc) {
  for (int capability : {80, 90})
    if (name == "sm_" + std::to_string(capability)) {
      // Host code may remember a GPU's properties, so later calls add a GPU.
      if (the_state().contexts_made) gpus().push_back({});
      Gpu& gpu = gpus().back() = gpu_of(capability);
      if (multiprocessors) gpu.multiprocessors = multiprocessors;
      if (gpc) gpu.gpc = gpc;
      renew_context(int(gpus().size()) - 1);
      return 0;
    }
  return -1;
}
void emulator_add_static_shared_memory(int bytes) {
  the_state().extra_shared = bytes;
  renew_context(this_thread.context ? this_thread.context->device : 0);
}
const char* emulator_profile() { return (text = checker->profile()).c_str(); }

// Returns a line for each Site of a kernel: kernel, number, source position, instruction and ways to break it,
// separated by tabs.
const char* emulator_sites(const char* kernel) {
  std::ostringstream lines;
  for (const Translated& t : translated_kernels()) {
    if (*kernel && strcmp(kernel, t.name)) continue;
    for (unsigned i = 0; i < t.site_count; ++i) {
      const Site& s = t.sites[i];
      lines << t.name << '\t' << i << '\t' << s.place << '\t' << s.instruction << '\t' << s.modes << '\n';
    }
  }
  return (text = lines.str()).c_str();
}
int emulator_mutate(const char* kernel, unsigned site, const char* mode) {
  for (const Translated& t : translated_kernels()) {
    if (strcmp(kernel, t.name) || site >= t.site_count) continue;
    std::istringstream modes(t.sites[site].modes);
    Byte number = 1;
    for (std::string name; modes >> name; ++number)
      if (name == mode) {
        t.mutation[site] = number;
        return 0;
      }
  }
  return -1;
}
int emulator_mutation_reached() {
  const bool reached = mutation_reached;
  mutation_reached = false;
  return reached;
}
void emulator_clear_mutations() {
  for (const Translated& t : translated_kernels()) memset(t.mutation, 0, t.site_count);
}

}  // extern "C"
