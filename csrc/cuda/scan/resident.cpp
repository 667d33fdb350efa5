#include "resident.h"

#include <algorithm>
#include <array>
#include <map>
#include <mutex>
#include <stdexcept>

#include "../driver/launch.h"

namespace pixelrnn::cuda {
namespace {

template <class Args> CUresult launch_scan(
    const Plan& p, const Args& a, int64_t images, int directions, CUstream stream) {
  const Tiling& s = p.tiling;
  const unsigned cluster = s.blocks;
  return launch(p.variant->name,
      {unsigned((images + s.images - 1) / s.images) * cluster, unsigned(directions), unsigned(s.threads()),
          unsigned(p.shared_memory), cluster},
      a, stream);
}

// Keeps results that never change, such as plans, which a layer needs in every forward and backward.
template <class Key, class Value> class Cache {
 public:
  template <class Compute> Value get(const Key& key, const Compute& compute) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (const auto found = values_.find(key); found != values_.end()) return found->second;
    const RelaxedCapture relaxed;
    return values_.emplace(key, compute()).first->second;
  }

 private:
  std::mutex mutex_;
  std::map<Key, Value> values_;
};

// Asks the driver how many clusters or blocks run at the same time. Returns 0 if the driver refuses the layout, kNoCode
// if there is no code, and throws any other error.
int64_t concurrency(const Device& device, const Variant& v, const Tiling& s, int shared) {
  const LaunchConfig launch(
      {unsigned(s.blocks), 1, unsigned(s.threads()), unsigned(shared), unsigned(s.blocks)}, nullptr);
  int count = 0, capability = 0;
  CUfunction kernel = nullptr;
  CUresult error = kernel_capability(v.name, capability);
  if (!error && capability < (v.kind == Kind::single ? kResidentCapability : kClusterCapability)) return kNoCode;
  if (!error) error = load_kernel(v.name, kernel);
  if (is_without_code(error)) return kNoCode;
  if (!error && s.blocks > 1) error = active_clusters(kernel, launch, count);
  if (!error && s.blocks == 1) {
    error = driver().cuOccupancyMaxActiveBlocksPerMultiprocessor(&count, kernel, s.threads(), size_t(shared));
    count *= device.multiprocessors;
  }
  if (error && !is_refusal(error)) throw error;
  return error ? 0 : count;
}

Device ask_device(CUdevice device) {
  Device d{};
  int capability = 0;
  CUresult error = capability_of(device, capability);
  auto read = [&](int& value, CUdevice_attribute attribute) {
    if (!error) error = driver().cuDeviceGetAttribute(&value, attribute, device);
  };
  read(d.shared_memory, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
  read(d.multiprocessors, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
  if (error) throw error;
  d.capability = code_capability(capability);
  if (!d.capability) throw std::runtime_error("pixelrnn_ext: " + why_no_code(capability));
  return d;
}

}  // namespace

CUresult current_device(Device& d) {
  static Cache<CUdevice, Device> cache;
  CUdevice device = 0;
  if (const CUresult error = driver().cuCtxGetDevice(&device)) return error;
  try {
    d = cache.get(device, [&] { return ask_device(device); });
  } catch (CUresult error) {  // errors are not cached
    return error;
  }
  return CUDA_SUCCESS;
}

CUresult plan_on_current_device(const Problem& p, const Device& d, const Restriction& r, Plan& chosen) {
  using Key = std::pair<std::array<int64_t, 17>, std::string>;
  static Cache<Key, Plan> cache;
  CUdevice device = 0;
  if (const CUresult error = driver().cuCtxGetDevice(&device)) return error;
  const Key key{{device, d.capability, d.shared_memory, d.multiprocessors, int(p.format), p.backward, p.hidden, p.taps,
                    p.lines, p.cells, p.images, p.directions, p.gates, r.max_blocks, r.blocks, r.groups, r.step},
      r.variant};
  try {
    chosen = cache.get(key, [&] {
      return plan(p, d, r, [&](const Variant& v, const Tiling& s, int shared) { return concurrency(d, v, s, shared); });
    });
  } catch (CUresult error) {  // errors are not cached
    return error;
  }
  return CUDA_SUCCESS;
}

CUresult pack(const PackArgs& a, int directions, CUstream stream) {
  constexpr unsigned warps = 4, max_blocks = 480;
  const std::string prefix = a.tiling.gates == 5 ? "pack5_" : "pack_";
  const PackSize size(a.tiling);
  const unsigned steps = unsigned(size.steps), tiles = unsigned(size.tiles),
                 ranks = unsigned(directions * a.tiling.blocks);
  LaunchShape grid{std::clamp(max_blocks / (tiles * ranks), 1u, (steps + warps - 1) / warps), tiles, 32 * warps};
  grid.blocks_z = ranks;
  return launch(prefix + kFormatNames[int(a.tiling.format)], grid, a, stream);
}
CUresult forward(const Plan& p, const ForwardArgs& a, int directions, CUstream stream) {
  return launch_scan(p, a, a.images, directions, stream);
}
CUresult backward(const Plan& p, const BackwardArgs& a, int directions, CUstream stream) {
  return launch_scan(p, a, a.images, directions, stream);
}
CUresult forward(const Plan& p, const ForwardArgs5& a, int directions, CUstream stream) {
  return launch_scan(p, a, a.scan.images, directions, stream);
}
CUresult backward(const Plan& p, const BackwardArgs5& a, int directions, CUstream stream) {
  return launch_scan(p, a, a.scan.images, directions, stream);
}

}  // namespace pixelrnn::cuda
