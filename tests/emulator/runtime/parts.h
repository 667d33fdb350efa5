// What the parts of the runtime are to each other.
#pragma once
#include "runtime_internal.h"

namespace emulator {

constexpr size_t kPage = 4096;

// ---- reports.cpp
extern std::string first_error;  // the report of this launch, or empty
std::string describe_waiting();

// ---- fibers.cpp
void allocate_stacks();                         // for all threads; after a launch that failed, cleans them up
void put_on_stack(Fiber&, void (*function)());  // what it runs, and must not return from
void suspend();                                 // from a fiber to the scheduler
void resume(Fiber&);                            // the other way
void wake_all(std::vector<Fiber*>);
void wait_as(Status, const char* place);
void maybe_yield();
bool in_order();  // whether the schedule is
Fiber* pick();    // the next one, null if none is ready
bool none_is_ready();
void forget_ready();

// ---- barriers.cpp
inline Warp& warp_of(const Fiber& f) { return machine.blocks[f.block].warps[f.warp]; }
void check_exit(const Fiber&);  // that no one waits for it
void leave_cluster(const Fiber&);

// ---- transfers.cpp
bool transfer_is_due();
void deliver_some();  // of any store

// ---- memory.cpp
void* map_memory(size_t bytes);
void allocate_shared_memory();
void start_shared_memory(const Block&);
void free_shared_memory();
void lay_out_regions(std::vector<Buffer>);

}  // namespace emulator
