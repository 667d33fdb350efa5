#include <sys/mman.h>

#include <algorithm>
#include <utility>

#include "runtime_internal.h"

#if !defined(__x86_64__)
#error "switching fibers is written for x86-64"
#endif
// emulator_switch(save_stack_pointer, load_stack_pointer) saves the running fiber's registers, and restores the next
// fiber's.
asm(R"(
.text
.hidden emulator_switch
.globl emulator_switch
.type emulator_switch,@function
emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp,(%rdi)
  movq %rsi,%rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size emulator_switch,.-emulator_switch
)");
extern "C" __attribute__((visibility("hidden"))) void emulator_switch(void**, void*);

namespace emulator {

Fiber* self = nullptr;
static Fiber scheduler;  // the thread that called launch()
std::deque<Fiber*> ready;

constexpr size_t kStack = 128 << 10;

void allocate_stacks() {
  const size_t bytes = kStack * machine.threads;
  if (machine.stacks_total < bytes) {
    if (machine.stacks) munmap(machine.stacks, machine.stacks_total);
    machine.stacks_total = 0;
    machine.stacks = static_cast<Byte*>(map_memory(bytes));
    machine.stacks_total = bytes;
    // Linux allows a process about 65,000 mappings, and each guard page adds two mappings. So a launch of many threads
    // gets no guard pages.
    if (machine.threads <= 16384)
      for (size_t i = 0; i < bytes; i += kStack) mprotect(machine.stacks + i, kPage, PROT_NONE);
  }
}

void prepare_stack(Fiber& f, void (*function)()) {
  f.stack_low = machine.stacks + f.id * kStack + kPage;
  f.stack_high = machine.stacks + (f.id + 1) * kStack;
  void** sp = reinterpret_cast<void**>(f.stack_high - 64);
  *--sp = nullptr;  // return address, which is never used
  *--sp = reinterpret_cast<void*>(function);
  for (int i = 0; i < 6; ++i) *--sp = nullptr;  // registers that emulator_switch restores
  f.stack_pointer = sp;
}

static void switch_fibers(Fiber& from, Fiber& to) {
  self = &to == &scheduler ? nullptr : &to;
  emulator_switch(&from.stack_pointer, to.stack_pointer);
}
void suspend() { switch_fibers(*self, scheduler); }
void resume(Fiber& f) { switch_fibers(scheduler, f); }

bool is_in_order() {
  return machine.launch.schedule == Schedule::forward || machine.launch.schedule == Schedule::reverse;
}
static bool before(const Fiber* a, const Fiber* b) { return a->priority < b->priority; }
static void wake(Fiber& f) {
  f.status = Status::ready;
  ready.push_back(&f);
  if (machine.launch.schedule == Schedule::starve) std::push_heap(ready.begin(), ready.end(), before);
}
void wake_all(std::vector<Fiber*> fibers) {
  if (machine.launch.schedule == Schedule::reverse) std::reverse(fibers.begin(), fibers.end());
  for (Fiber* f : fibers) wake(*f);
}
Fiber* pick() {
  if (ready.empty()) return nullptr;
  Fiber* f;
  if (is_in_order()) {
    f = ready.front();
    ready.pop_front();
    return f;
  }
  if (machine.launch.schedule == Schedule::starve) std::pop_heap(ready.begin(), ready.end(), before);
  else std::swap(ready[machine.random() % ready.size()], ready.back());
  f = ready.back();
  ready.pop_back();
  return f;
}
void wait_as(Status status, Place place) {
  self->status = status;
  self->place = place;
  suspend();
}
void yield() {
  wake(*self);
  suspend();
}
void maybe_yield() {
  const Schedule s = machine.launch.schedule;
  if (s == Schedule::random || (s == Schedule::burst && machine.random() % 4 == 0)) yield();
}

}  // namespace emulator
