#include "resident.h"

#include <algorithm>

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

bool clusters_fit(const Plan& p) {
  const LaunchConfig launch(layout(p, 1, 1), nullptr);
  int clusters = 0;
  return allow_all_shared_memory(p.variant->entry) == cudaSuccess &&
         cudaOccupancyMaxActiveClusters(&clusters, p.variant->entry, &launch.config) == cudaSuccess && clusters > 0;
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
  // Code for an older GPU that the driver translated has only what that one had.
  cudaFuncAttributes compiled{};
  if (error == cudaSuccess) error = cudaFuncGetAttributes(&compiled, pack_bf16_entry);
  d.capability = std::min(10 * major + minor, compiled.ptxVersion);
  return error;
}

Plan plan_here(const Problem& problem, const Device& device, Restriction restriction) {
  Plan p = plan(problem, device, restriction);
  while (p.variant && p.tiling.blocks > 1 && !clusters_fit(p)) {
    cudaGetLastError();  // the refusal is an answer, not an error
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
