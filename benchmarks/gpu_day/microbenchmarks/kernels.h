// The kernels of the microbenchmarks, and how each is launched.
#pragma once
#include <cstdint>

#include "../../../csrc/cuda/entry.h"

namespace pixelrnn::micro {

constexpr int kMemoryWords = 1 << 19, kMostBlocks = 1024;

struct Args {
  long long* cycles;  // of all steps, by block
  uint32_t* memory;   // [kMemoryWords], zeros
  int steps;
};

}  // namespace pixelrnn::micro

// X(name, blocks of the one cluster, threads, steps). One block is no cluster.
#define PIXELRNN_MICROBENCHMARKS(X)           \
  X(block_barrier_256, 1, 256, 2048)          \
  X(block_barrier_512, 1, 512, 2048)          \
  X(cluster_barrier_relaxed_2, 2, 256, 1024)  \
  X(cluster_barrier_relaxed_8, 8, 256, 1024)  \
  X(cluster_barrier_release_2, 2, 256, 1024)  \
  X(cluster_barrier_release_8, 8, 256, 1024)  \
  X(cluster_relaxed_stores_8, 8, 256, 1024)   \
  X(cluster_release_stores_8, 8, 256, 1024)   \
  X(stores, 1, 256, 1024)                     \
  X(fence, 1, 256, 1024)                      \
  X(fence_stores, 1, 256, 1024)               \
  X(wait_cta, 1, 32, 1024)                    \
  X(wait_cluster, 1, 32, 1024)                \
  X(round_trip_2, 2, 32, 1024)                \
  X(round_trip_8, 8, 32, 1024)                \
  X(exchange_2, 2, 256, 1024)                 \
  X(exchange_8, 8, 256, 1024)                 \
  X(branch_every_8, 1, 32, 8192)              \
  X(branch_every_64, 1, 32, 8192)             \
  X(mma_16816_chains_1, 1, 128, 2048)         \
  X(mma_16816_chains_2, 1, 128, 2048)         \
  X(mma_16816_chains_4, 1, 128, 2048)         \
  X(mma_16816_chains_4_warps_2, 1, 256, 2048) \
  X(mma_1688_chains_1, 1, 128, 2048)          \
  X(mma_1688_chains_2, 1, 128, 2048)          \
  X(mma_1688_chains_4, 1, 128, 2048)          \
  X(mma_1688_chains_4_warps_2, 1, 256, 2048)  \
  X(ex2_chains_1, 1, 128, 2048)               \
  X(ex2_chains_4, 1, 128, 2048)               \
  X(ex2_chains_4_warps_2, 1, 256, 2048)       \
  X(load_global, 1, 32, 1024)                 \
  X(load_shared, 1, 32, 1024)                 \
  X(load_matrix, 1, 32, 1024)                 \
  X(shuffle, 1, 32, 1024)
// X(name, blocks, threads, arguments of a thread): the largest error over all floats, in units of the last place.
#define PIXELRNN_MICRO_ERRORS(X)   \
  X(ex2_error, 1024, 256, 1 << 14) \
  X(rcp_error, 1024, 256, 1 << 14)
