#include "resident.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <tuple>

#include "entry.h"
#include "launch.h"

PIXELRNN_DECLARE_ENTRY(pack_bf16);
PIXELRNN_DECLARE_ENTRY(pack_fp16);
PIXELRNN_DECLARE_ENTRY(pack_tf32);
PIXELRNN_DECLARE_ENTRY(pack_fp32);

namespace pixelrnn::cuda {
namespace {

Layout layout(const Plan& p, int64_t images, int directions) {
  const unsigned cluster = p.tiling.blocks;
  return {unsigned(images) * cluster, unsigned(directions), unsigned(p.tiling.threads()), unsigned(p.shared_memory), cluster};
}

// Questions to the CUDA runtime whose answer never changes, asked once: a layer calls twice in every step of a training.
template <class Key, class Value> class Remembered {
 public:
  template <class Ask> Value get(const Key& key, const Ask& ask) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = known_.find(key);
    return found != known_.end() ? found->second : known_.emplace(key, ask()).first->second;
  }

 private:
  std::mutex mutex_;
  std::map<Key, Value> known_;
};

bool clusters_fit(const Plan& p) {
  static Remembered<std::tuple<int, const void*, int, int, int>, bool> answers;
  int device = 0;
  if (cudaGetDevice(&device) != cudaSuccess) return false;
  return answers.get({device, p.variant->entry, p.tiling.blocks, p.tiling.threads(), p.shared_memory}, [&] {
    const LaunchConfig launch(layout(p, 1, 1), nullptr);
    int clusters = 0;
    const bool fit = allow_all_shared_memory(p.variant->entry) == cudaSuccess &&
                     cudaOccupancyMaxActiveClusters(&clusters, p.variant->entry, &launch.config) == cudaSuccess && clusters > 0;
    if (!fit) cudaGetLastError();  // the refusal is an answer, not an error
    return fit;
  });
}

// The capability that the code was compiled for: the driver of a newer GPU may have translated older code. 0: it does not run here.
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

Plan plan_here(const Problem& problem, const Device& device, Restriction restriction) {
  Plan p = plan(problem, device, restriction);
  while (p.variant && p.tiling.blocks > 1 && !clusters_fit(p)) {
    restriction.max_blocks = p.tiling.blocks / 2;
    p = plan(problem, device, restriction);
  }
  return p;
}

cudaError_t pack(const PackArgs& a, int directions, cudaStream_t stream) {
  constexpr int threads = 256;
  constexpr int64_t most_blocks = 120;  // about a GPU of them
  const void* const entries[] = {pack_bf16_entry, pack_fp16_entry, pack_tf32_entry, pack_fp32_entry};
  const int64_t values = int64_t(a.tiling.blocks) * a.tiling.weight_values();
  return launch(entries[int(a.tiling.format)], {unsigned(std::min((values + threads - 1) / threads, most_blocks)), unsigned(directions), threads}, a, stream);
}
cudaError_t forward(const Plan& p, const ForwardArgs& a, int directions, cudaStream_t stream) {
  return launch(p.variant->entry, layout(p, a.images, directions), a, stream);
}
cudaError_t backward(const Plan& p, const BackwardArgs& a, int directions, cudaStream_t stream) {
  return launch(p.variant->entry, layout(p, a.images, directions), a, stream);
}

}  // namespace pixelrnn::cuda
