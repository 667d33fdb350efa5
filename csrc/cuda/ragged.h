// Types and image sizes of maps, the tensors of pixels. Each image lies in the top left corner of its map.
#pragma once
#include <cstdint>

#include "../geometry.h"

namespace pixelrnn::cuda {

enum class MapType { float32, float64, float16, bfloat16 };

struct RaggedImages {
  // Sizes [images][height, width], clamped to the map's size. Null means that every image fills its map.
  const int64_t* sizes = nullptr;
  int height = 0, width = 0;
  bool diagonal = true;
  Corner corner[kMaxDirections] = {};

  PIXELRNN_HOST_DEVICE int height_of(int image) const { return sizes ? clamped(sizes[2 * image], height) : height; }
  PIXELRNN_HOST_DEVICE int width_of(int image) const { return sizes ? clamped(sizes[2 * image + 1], width) : width; }
  PIXELRNN_HOST_DEVICE Geometry geometry(int image, int direction) const {
    return diagonal ? diagonal_geometry(image, direction)
                    : Geometry::row(height_of(image), width_of(image), corner[direction], width);
  }
  // Like geometry(), but with fewer registers, for anti-diagonals and given `sizes`.
  PIXELRNN_HOST_DEVICE Geometry diagonal_geometry(int image, int direction) const {
    return Geometry::diagonal(
        clamped(sizes[2 * image], height), clamped(sizes[2 * image + 1], width), corner[direction], width);
  }

 private:
  static PIXELRNN_HOST_DEVICE int clamped(int64_t size, int limit) {
    return size < 0 ? 0 : size > limit ? limit : int(size);
  }
};

}  // namespace pixelrnn::cuda
