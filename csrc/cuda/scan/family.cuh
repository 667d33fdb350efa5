#pragma once
#include "block.cuh"

namespace pixelrnn::cuda {

template <int G> struct ArgsOf;
template <> struct ArgsOf<4> {
  using Forward = ForwardArgs;
  using Backward = BackwardArgs;
  template <class Args> static PIXELRNN_DEVICE const Args& scan(const Args& a) { return a; }
  template <class Args> static PIXELRNN_DEVICE Geometry geometry(const Args& a, const ThreadIds& ids) {
    return a.geometry[ids.direction];
  }
  // Number of cells of a line in an image that fills the tensors.
  static PIXELRNN_DEVICE int map_cells(const BackwardArgs&, const Geometry& g) { return g.cells; }
};
template <> struct ArgsOf<5> {
  using Forward = ForwardArgs5;
  using Backward = BackwardArgs5;
  template <class Args> static PIXELRNN_DEVICE const auto& scan(const Args& a) { return a.scan; }
  template <class Args> static PIXELRNN_DEVICE Geometry geometry(const Args& a, const ThreadIds& ids) {
    return a.ragged.sizes ? a.ragged.diagonal_geometry(ids.image, ids.direction) : a.scan.geometry[ids.direction];
  }
  static PIXELRNN_DEVICE int map_cells(const BackwardArgs5& a, const Geometry&) { return a.ragged.height; }
};

}  // namespace pixelrnn::cuda
