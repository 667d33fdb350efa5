// Images of sizes of their own, each in the top left corner of its map.
#pragma once
#include <cstdint>

#include "../geometry.h"

namespace pixelrnn::cuda {

struct RaggedImages {
  const int64_t* sizes = nullptr;  // [images][height, width], clamped to the map's; null: all images fill their maps
  int height = 0, width = 0;       // of the map
  Corner corner[4] = {};           // by direction

  // Of a Diagonal LSTM.
  PIXELRNN_HOST_DEVICE Geometry geometry(int image, int direction) const {
    return Geometry::diagonal(
        clamped(sizes[2 * image], height), clamped(sizes[2 * image + 1], width), corner[direction], width);
  }

 private:
  static PIXELRNN_HOST_DEVICE int clamped(int64_t size, int most) {
    return size < 0 ? 0 : size > most ? most : int(size);
  }
};

}  // namespace pixelrnn::cuda
