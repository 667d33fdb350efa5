#pragma once
#include "../primitives.cuh"
#include "block_kernel.h"

namespace pixelrnn::cuda {

// Copies a block's weights to shared memory while the block computes. Global memory has the weights of a column in the
// order of their use, divided into stages. Shared memory has a ring of kStreamStages stages. Each has an mbarrier,
// which tells when its weights have arrived.
//
// All warps call next_column() together. Stages are numbered from the launch's start.
template <class T> class WeightStream {
 public:
  // `ring` is aligned to 128 bytes. `barriers` is the shared-memory address of kStreamStages mbarriers.
  PIXELRNN_DEVICE WeightStream(unsigned char* ring, uint32_t barriers, int log_stage)
      : ring_(reinterpret_cast<T*>(ring)), barriers_(barriers), log_stage_(log_stage) {}

  // Begins a row. `source` has a column's weights.
  PIXELRNN_DEVICE void begin_row(const T* source, int stages, int columns) {
    source_ = source, stages_ = stages;
    column_ = end_ - stages, issued_ = end_, end_ += stages * columns;
    next_ = 0;
  }
  PIXELRNN_DEVICE void next_column() { column_ += stages_; }

  // Loads the row's next stages. One thread calls this, after all warps have finished with the stages that are
  // replaced.
  PIXELRNN_DEVICE void load(int stages) {
    const int bytes = int(sizeof(T)) << log_stage_;
#pragma unroll 1
    for (int last = min(end_, issued_ + stages); issued_ < last; ++issued_) {
      const int place = issued_ % kStreamStages;
      ptx::mbarrier_arrive(barriers_ + 8 * place, bytes);
      ptx::bulk_load(ptx::shared_address(ring_) + place * bytes, source_ + (int64_t(next_) << log_stage_), bytes,
          barriers_ + 8 * place);
      next_ = next_ + 1 == stages_ ? 0 : next_ + 1;
    }
  }

  // Waits for `count` weights of the current column, from the weight `first` on. All lanes of a warp call this
  // together.
  PIXELRNN_DEVICE void wait(int first, int count) const {
#pragma unroll 1
    for (int stage = first >> log_stage_; stage <= (first + count - 1) >> log_stage_; ++stage) {
      const int n = column_ + stage;
      ptx::mbarrier_wait_warp_own(barriers_ + 8 * (n % kStreamStages), n / kStreamStages & 1);
    }
  }
  struct Weights {
    const T* ring;
    int first, mask;
    PIXELRNN_DEVICE const T* at(int index) const { return ring + ((first + index) & mask); }
    PIXELRNN_DEVICE void advance(int count) { first += count; }
  };
  PIXELRNN_DEVICE Weights weights(int first) const {
    return {ring_, (column_ % kStreamStages << log_stage_) + first, (kStreamStages << log_stage_) - 1};
  }

 private:
  T* const ring_;
  const uint32_t barriers_;
  const int log_stage_;
  const T* source_ = nullptr;
  int stages_ = 0;  // of a column
  int column_ = 0;  // the current column's first stage
  int next_ = 0;    // the next stage to load, counted from its column's first
  int issued_ = 0;  // the next stage to load, counted from the launch's first stage
  int end_ = 0;     // the next row's first stage
};

}  // namespace pixelrnn::cuda
