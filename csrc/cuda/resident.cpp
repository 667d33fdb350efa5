#include "resident.h"

#include <algorithm>
#include <array>
#include <map>
#include <mutex>
#include <tuple>

#include "entry.h"
#include "launch.h"
#include "relaxed_capture.h"

#define PACK(F)                     \
  PIXELRNN_DECLARE_ENTRY(pack_##F); \
  PIXELRNN_DECLARE_ENTRY(pack2d_##F)
PACK(bf16);
PACK(fp16);
PACK(tf32);
PACK(fp32);
#undef PACK

namespace pixelrnn::cuda {
namespace {

Layout layout(const Plan& p, int64_t images, int directions) {
  const unsigned cluster = p.tiling.blocks;
  return {unsigned((images + p.tiling.images - 1) / p.tiling.images) * cluster, unsigned(directions),
      unsigned(p.tiling.threads()), unsigned(p.shared_memory), cluster};
}

// Questions to the CUDA runtime whose answer never changes, asked once: a layer calls twice in every step of a
// training.
template <class Key, class Value> class Remembered {
 public:
  template <class Ask> Value get(const Key& key, const Ask& ask) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (const auto found = known_.find(key); found != known_.end()) return found->second;
    const RelaxedCapture relaxed;
    return known_.emplace(key, ask()).first->second;
  }

 private:
  std::mutex mutex_;
  std::map<Key, Value> known_;
};

bool is_refusal(cudaError_t e) {
  return e == cudaErrorInvalidValue || e == cudaErrorInvalidConfiguration || e == cudaErrorInvalidClusterSize ||
         e == cudaErrorLaunchOutOfResources;
}

// What the current device answers; it knows the registers, the static shared memory and the GPCs. Throws other errors
// than a refusal.
int64_t concurrency(const Device& device, const Variant& v, const Tiling& s, int shared) {
  const LaunchConfig one({unsigned(s.blocks), 1, unsigned(s.threads()), unsigned(shared), unsigned(s.blocks)}, nullptr);
  int found = 0;
  cudaError_t error = allow_all_shared_memory(v.entry);
  if (error == cudaSuccess && s.blocks > 1) error = cudaOccupancyMaxActiveClusters(&found, v.entry, &one.config);
  if (error == cudaSuccess && s.blocks == 1) {
    error = cudaOccupancyMaxActiveBlocksPerMultiprocessor(&found, v.entry, s.threads(), size_t(shared));
    found *= device.multiprocessors;
  }
  if (error == cudaSuccess) return found;
  cudaGetLastError();  // a refusal is an answer; the others are reported by whoever asked
  if (!is_refusal(error)) throw error;
  return 0;
}

// The capability that the code was compiled for: the driver of a newer GPU may have translated older code. 0: it does
// not run here.
int code_capability(int device) {
  static Remembered<int, int> answers;
  return answers.get(device, [] {
    cudaFuncAttributes compiled{};
    return cudaFuncGetAttributes(&compiled, pack_bf16_entry) == cudaSuccess ? compiled.ptxVersion : 0;
  });
}

}  // namespace

cudaError_t current_device(Device& d) {
  int device = 0, major = 0, minor = 0;
  cudaError_t error = cudaGetDevice(&device);
  auto ask = [&](int& value, cudaDeviceAttr attribute) {
    if (error == cudaSuccess) error = cudaDeviceGetAttribute(&value, attribute, device);
  };
  ask(major, cudaDevAttrComputeCapabilityMajor);
  ask(minor, cudaDevAttrComputeCapabilityMinor);
  ask(d.shared_memory, cudaDevAttrMaxSharedMemoryPerBlockOptin);
  ask(d.multiprocessors, cudaDevAttrMultiProcessorCount);
  if (error != cudaSuccess) return error;
  const int code = code_capability(device);
  d.capability = std::min(10 * major + minor, code);
  return code ? cudaSuccess : cudaErrorNoKernelImageForDevice;
}

cudaError_t plan_here(const Problem& p, const Device& d, const Restriction& r, Plan& chosen) {
  using Asked = std::tuple<std::array<int64_t, 13>, std::array<int, 4>, std::string>;
  static Remembered<Asked, Plan> answers;
  int device = 0;
  if (const cudaError_t error = cudaGetDevice(&device); error != cudaSuccess) return error;
  const Asked asked{{device, d.capability, d.shared_memory, d.multiprocessors, int(p.format), p.backward, p.hidden,
                        p.taps, p.lines, p.cells, p.images, p.directions, p.gates},
      {r.max_blocks, r.blocks, r.groups, r.step}, r.variant};
  try {
    chosen = answers.get(asked, [&] {
      return plan(p, d, r, [&](const Variant& v, const Tiling& s, int shared) { return concurrency(d, v, s, shared); });
    });
  } catch (cudaError_t error) {  // not remembered
    return error;
  }
  return cudaSuccess;
}

cudaError_t pack(const PackArgs& a, int directions, cudaStream_t stream) {
  constexpr unsigned warps = 4, most_blocks = 480;  // some for each multiprocessor
  const void* const entries[2][4] = {{pack_bf16_entry, pack_fp16_entry, pack_tf32_entry, pack_fp32_entry},
      {pack2d_bf16_entry, pack2d_fp16_entry, pack2d_tf32_entry, pack2d_fp32_entry}};
  const PackSize size(a.tiling);
  const unsigned steps = unsigned(size.steps), tiles = unsigned(size.tiles),
                 ranks = unsigned(directions * a.tiling.blocks);
  Layout layout{std::clamp(most_blocks / (tiles * ranks), 1u, (steps + warps - 1) / warps), tiles, 32 * warps};
  layout.blocks_z = ranks;
  return launch(entries[a.tiling.gates == 5][int(a.tiling.format)], layout, a, stream);
}
cudaError_t forward(const Plan& p, const ForwardArgs& a, int directions, cudaStream_t stream) {
  return launch(p.variant->entry, layout(p, a.images, directions), a, stream);
}
cudaError_t backward(const Plan& p, const BackwardArgs& a, int directions, cudaStream_t stream) {
  return launch(p.variant->entry, layout(p, a.images, directions), a, stream);
}
cudaError_t forward(const Plan& p, const ForwardArgs2d& a, int directions, cudaStream_t stream) {
  return launch(p.variant->entry, layout(p, a.scan.images, directions), a, stream);
}
cudaError_t backward(const Plan& p, const BackwardArgs2d& a, int directions, cudaStream_t stream) {
  return launch(p.variant->entry, layout(p, a.scan.images, directions), a, stream);
}

}  // namespace pixelrnn::cuda
