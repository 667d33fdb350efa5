#pragma once
#include "../primitives.cuh"

namespace pixelrnn::cuda {

// Gives results to all blocks of a cluster. In each stage (column_stages.h), after a barrier of the block, the last
// warp calls begin_stage(). Every thread calls before_push(), push() for its results, and end_stage().
//
// before_push() waits until all blocks have begun the stage, because a result may replace a value that another block
// still reads. A barrier of the cluster would also make every thread wait until its stores are visible.
template <class T> class Exchange {
 public:
  // `barriers` is the shared-memory address of two mbarriers, which count bytes of results, and blocks that have begun
  // a stage.
  PIXELRNN_DEVICE Exchange(uint32_t barriers, int blocks) : results_(barriers), begun_(barriers + 8), blocks_(blocks) {}

  PIXELRNN_DEVICE void init() const {
    ptx::mbarrier_init(results_, 1, 1);
    ptx::mbarrier_init(begun_, 1, blocks_);
  }

  PIXELRNN_DEVICE void begin_stage(int lane) {
    const uint32_t peer = ptx::peer_address(begun_, min(lane, blocks_ - 1));
    if (!has_begun_ && lane < blocks_) ptx::mbarrier_arrive_peer(peer);
    has_begun_ = true;
  }
  // Announces how many bytes this block receives in the stage. One thread calls this.
  PIXELRNN_DEVICE void expect(int bytes) const { ptx::mbarrier_arrive(results_, bytes); }

  PIXELRNN_DEVICE void before_push() {
    if (!may_push_) ptx::mbarrier_wait_warp(begun_, begun_parity_);
    may_push_ = true;
  }
  // Stores a value at the same place in the shared memory of the blocks first, first + step, ...
  PIXELRNN_DEVICE void push(bool wanted, const T* place, T value, int first, int step) const {
#pragma unroll 1
    for (int rank = first; rank < blocks_; rank += step)
      ptx::store_peer_async(
          wanted, ptx::peer_address(ptx::shared_address(place), rank), value, ptx::peer_address(results_, rank));
  }
  // If `exchanges`, waits for the results of all blocks. All lanes of a warp call this together.
  PIXELRNN_DEVICE void end_stage(bool exchanges) {
    before_push();
    begun_parity_ ^= 1, may_push_ = false, has_begun_ = false;
    if (exchanges) ptx::mbarrier_wait_warp(results_, results_parity_), results_parity_ ^= 1;
  }

 private:
  const uint32_t results_, begun_;
  const int blocks_;
  uint32_t results_parity_ = 0, begun_parity_ = 0;
  bool may_push_ = false, has_begun_ = false;
};

}  // namespace pixelrnn::cuda
