// Runs CUDA threads as fibers of one operating-system thread. This is what kernels call, translated from PTX (ptx.h) or
// compiled from source (host_primitives.h), and what a launch calls (cuda_runtime.cpp).
//
// A `place` says where something stands: as a text, or, of accesses of kernels from source, as an address of code.
#pragma once
#include <vector_types.h>

#include <cstddef>
#include <cstdint>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "emulator.h"

namespace emulator {

// ---- reports ------------------------------------------------------------------------------------
enum class Kind { deadlock, divergence, race, out_of_bounds, uninitialised, bad_use, unwritten, exited };
struct Error : std::runtime_error {
  Kind kind;
  Error(Kind k, const std::string& report) : std::runtime_error(report), kind(k) {}
};
// Ends the launch with a report. In a kernel it never returns, and no destructor of the fiber runs.
[[noreturn]] void fail_with(Kind, const std::string&);
template <class... Parts> [[noreturn]] void fail(Kind kind, const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  fail_with(kind, text.str());
}
std::string describe_place(const void* place);
const char* text_of_place(const char* file, unsigned line);

// ---- launch -------------------------------------------------------------------------------------
enum class Schedule {
  forward,  // first in first out, thread 0 first; a thread runs until it has to wait
  reverse,  // the same from the last thread on
  random,   // any thread, also switched where it need not wait
  burst,    // any thread, which then runs until it has to wait: the largest skew
  starve,   // a random priority for every block and warp: low ones run only when nothing else can
};
struct Launch {
  dim3 grid{1}, block{1}, cluster{1};
  size_t static_shared = 0, dynamic_shared = 0;
  Schedule schedule = Schedule::burst;
  uint64_t seed = 1;
  unsigned preemption = 0;  // also switch at about every so many memory accesses, where accesses are checked; 0: never
  unsigned resident = 2;    // how many blocks run side by side; those of a cluster always do
};
using Entry = void (*)(const void* args);
void launch(const Launch&, Entry, const void* args, size_t args_bytes);

struct Statistics {
  uint64_t switches = 0, barriers = 0, warp_operations = 0, accesses = 0;
};
Statistics last_statistics();

// Global memory that kernels may touch. Registered memory must not overlap.
void register_memory(const Buffer&);
void unregister_memory(const void* data);
void require_written(const void* data);  // throws if part of an `out` buffer was not written

// ---- called by kernels --------------------------------------------------------------------------
// These never change within a fiber, hence const.
__attribute__((const)) uint3 thread_index() noexcept;
__attribute__((const)) uint3 block_index() noexcept;
__attribute__((const)) uint3 block_size() noexcept;
__attribute__((const)) uint3 grid_size() noexcept;
__attribute__((const)) unsigned lane() noexcept;
__attribute__((const)) unsigned cluster_rank() noexcept;
__attribute__((const)) unsigned cluster_size() noexcept;
__attribute__((const)) unsigned char* shared_window() noexcept;  // of the block: static memory, then dynamic
__attribute__((const)) unsigned char* dynamic_shared() noexcept;

void access(const void* p, size_t bytes, bool write, const void* place);  // announces an ordinary load or store
void read_only_load(const void* p, const void* place);  // ld.global.nc: must not be written in this launch

// aligned: all lanes of a warp must execute this barrier together.
void block_barrier(bool aligned, const char* place);
// A thread that has left the kernel counts as arrived.
void cluster_arrive(bool release, bool aligned, const char* place);
void cluster_wait(bool aligned, const char* place);
// For mutations: an arrival that does not happen, whose wait must not happen either.
void skip_next_cluster_wait();

// An address of the shared::cluster window is (rank + 1) << 24 | offset; of the block's own window, the offset.
uint32_t map_rank(uint32_t address, uint32_t rank);
unsigned char* own_shared(uint32_t address);
unsigned char* cluster_shared(uint32_t address);

// A collective of the lanes in `mask`: the last lane to come computes `out` of every lane.
struct LaneData {
  unsigned char bytes[64];
};
using Combine = void (*)(const LaneData* in, LaneData* out, unsigned mask);
void warp_collective(Combine, const void* in, size_t in_bytes, void* out, size_t out_bytes, unsigned mask,
                     bool orders_memory, const char* place);

inline void warp_barrier(unsigned mask, const char* place) {
  warp_collective(nullptr, nullptr, 0, nullptr, 0, mask, true, place);
}

enum class Shuffle { index, up, down, butterfly };
// As shfl.sync: `clamp` holds the last lane of a segment and, shifted by 8, the mask of segments.
uint32_t shuffle(Shuffle, uint32_t value, uint32_t by, uint32_t clamp, unsigned mask, bool* in_range,
                 const char* place);
// ldmatrix of 2 or 4 matrices, into as many registers: lane i names row i % 8 of matrix i / 8.
void load_matrices(int count, uint32_t* d, const unsigned char* row, const char* place);
enum class MatrixFormat { bf16, fp16, tf32 };
// d = a b + c: m16n8k16 for the halves, m16n8k8 for tf32.
void multiply_matrices(MatrixFormat, float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const float (&c)[4],
                       const char* place);
uint32_t round_to_tf32(float);

// ---- kernels translated from PTX ----------------------------------------------------------------
// A synchronisation that can be broken on purpose, to see that the checks notice.
struct Site {
  const char* place;
  const char* instruction;
  const char* modes;  // names, separated by spaces; mutation 1 is the first one
};
struct Translated {
  const char* name;
  int target;  // 90: compiled for sm_90
  Entry entry;
  size_t static_shared;
  const Site* sites;
  unsigned site_count;
  unsigned char* mutation;  // by site: 0 or the active mode
};
extern bool mutation_reached;  // a thread came to a broken site
void add_translated(const Translated&);
std::vector<Translated>& translated_kernels();

}  // namespace emulator
