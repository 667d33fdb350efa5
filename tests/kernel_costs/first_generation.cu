// Faults of the project's first kernels: IEEE divisions, full-precision expf and tanhf, a cluster barrier that releases
// every store, integer divisions for addresses, and an array indexed at run time.
#include <cstdint>

struct Args {
  const float4* x;
  float *h, *gates;
  int lines, units, which;
};

__device__ float sigmoid(float x) { return 1 / (1 + expf(-x)); }

__device__ void multiply(float (&z)[4], uint32_t weight, uint32_t value) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %4, %4, %4}, {%5, %5}, {%0, %1, %2, "
      "%3};"
      : "+f"(z[0]), "+f"(z[1]), "+f"(z[2]), "+f"(z[3])
      : "r"(weight), "r"(value));
}

extern "C" __global__ void __launch_bounds__(256, 1) first_generation(const __grid_constant__ Args a) {
  extern __shared__ float line[];
  const uint32_t here = uint32_t(__cvta_generic_to_shared(line));
  float c[2] = {}, kept[64] = {};
  auto cell = [](int64_t t, int j) { return (2 * t + j) * blockDim.x + threadIdx.x; };
  for (int t = 0; t < a.lines; ++t) {
    float4 x[2];
    for (int j = 0; j < 2; ++j) x[j] = a.x[cell(t, j)];
    float z[4] = {};
    for (int pair = 0; pair < 4; ++pair)
      multiply(z, __float_as_uint(line[pair]), __float_as_uint(line[threadIdx.x + pair]));
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const float i = sigmoid(x[j].x + z[0]), f = sigmoid(x[j].y + z[1]), g = tanhf(x[j].z + z[2]),
                  o = sigmoid(x[j].w + z[3]);
      c[j] = f * c[j] + i * g;
      kept[(a.which + t) & 63] = i + f + g;
      a.gates[cell(t, j)] = kept[threadIdx.x & 63];
      a.h[cell(t, j)] = o * tanhf(c[j]);
      const int piece = threadIdx.x + j, peer = piece / a.units;
      uint32_t to;
      asm volatile("mapa.shared::cluster.u32 %0, %1, %2;"
          : "=r"(to)
          : "r"(here + 4 * (piece - peer * a.units)), "r"(peer));
      asm volatile("st.shared::cluster.f32 [%0], %1;" ::"r"(to), "f"(o * tanhf(c[j])) : "memory");
    }
    asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
  }
}
