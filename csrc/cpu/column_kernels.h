// What run_columns (columns.h) asks of one instruction set: one step for some images of one column.
#pragma once
#include <cstdint>

namespace pixelrnn::cpu {

// Packed weights of the outputs start .. stop - 1 of a step: [blocks][channels of all taps][outputs of a block], of a
// cell [blocks][channels of all taps][4 gates][units of a block], zeros behind the last one. A block is what a tile
// computes, so that it reads its weights one after the other.
struct ColumnBlocks { int outputs, units; };

// Values of the first image; the next one's are `stride` further on.
template <class T> struct Column {
  T* data;
  int64_t stride;
};
template <class T> struct ColumnOperand {
  Column<const T> input;
  int64_t channels;
};
template <class T> struct LinearColumn {
  Column<const T> base;
  Column<T> output;
  bool relu;
};
template <class T> struct CellColumn {
  Column<const T> base, carried, addend;
  Column<T> c, h, output;
  int64_t hidden;  // base is [4][hidden]
};
// A step for some images; null where an instruction set has none for T.
template <class T> struct ColumnKernels {
  ColumnBlocks blocks;
  void (*linear)(
      const ColumnOperand<T>*, int taps, const T* packed, int64_t outputs, int64_t images, const LinearColumn<T>&);
  void (*cell)(const ColumnOperand<T>*, int taps, const T* packed, int64_t units, int64_t images, const CellColumn<T>&);
};

}  // namespace pixelrnn::cpu
