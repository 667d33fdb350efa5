// The element types of feature maps, and the sizes of the images in the maps of a batch. An image may be smaller than
// its map, and lies in the map's top left corner.
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
  // Returns the same as geometry(), but needs fewer registers. The scan must go along anti-diagonals, and `sizes` must
  // not be null.
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
