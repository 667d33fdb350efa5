// The arguments of kernels for cells of four and of five gates, and the geometry of an image.
#pragma once
#include "block.cuh"

namespace pixelrnn::cuda {

template <int G> struct Family;
template <> struct Family<4> {
  using Forward = ForwardArgs;
  using Backward = BackwardArgs;
  template <class Args> static PIXELRNN_DEVICE const Args& scan(const Args& a) { return a; }
  template <class Args> static PIXELRNN_DEVICE Geometry geometry(const Args& a, const Place& at) {
    return a.geometry[at.direction];
  }
  // Returns the cells of the longest line of any image.
  static PIXELRNN_DEVICE int map_cells(const BackwardArgs&, const Geometry& g) { return g.cells; }
};
template <> struct Family<5> {
  using Forward = ForwardArgs5;
  using Backward = BackwardArgs5;
  template <class Args> static PIXELRNN_DEVICE const auto& scan(const Args& a) { return a.scan; }
  template <class Args> static PIXELRNN_DEVICE Geometry geometry(const Args& a, const Place& at) {
    return a.ragged.sizes ? a.ragged.diagonal_geometry(at.image, at.direction) : a.scan.geometry[at.direction];
  }
  static PIXELRNN_DEVICE int map_cells(const BackwardArgs5& a, const Geometry&) { return a.ragged.height; }
};

}  // namespace pixelrnn::cuda
