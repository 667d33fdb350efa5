// Calls the functions of csrc/cuda that a training step needs.
#pragma once
#include "check.h"
#include "cuda/scan/gradients.h"
#include "cuda/scan/resident.h"
#include "cuda/scan/step.h"

namespace training {

using namespace pixelrnn::cuda;

constexpr int kHidden = 64, kBatch = 4, kDirections = 2, kLines = 5;

inline Plan resident_plan(bool backward, int gates) {
  Device device;
  SUCCEEDS(current_device(device));
  Plan chosen;
  const Problem problem{Format::bf16, backward, kHidden, 2, 63, 32, kBatch, kDirections, gates};
  SUCCEEDS(plan_on_current_device(problem, device, {8, 0, 0, "", false}, chosen));
  EQUAL(chosen.why_not, "");
  return chosen;
}

inline void run_resident(const Plan& plan, CUstream stream) {
  ForwardArgs forward4{};
  BackwardArgs backward4{};
  ForwardArgs5 forward5{};
  BackwardArgs5 backward5{};
  forward4.images = backward4.images = forward5.scan.images = backward5.scan.images = kBatch;
  SUCCEEDS(pack({nullptr, nullptr, plan.tiling}, kDirections, stream));
  const bool five = plan.variant->gates == 5;
  if (plan.variant->backward)
    SUCCEEDS(five ? backward(plan, backward5, kDirections, stream) : backward(plan, backward4, kDirections, stream));
  else SUCCEEDS(five ? forward(plan, forward5, kDirections, stream) : forward(plan, forward4, kDirections, stream));
}

inline void run_steps(int gates, CUstream stream) {
  StepForwardArgs forward{};
  StepBackwardArgs backward{};
  StepShape& shape = forward.shape;
  shape.directions = kDirections;
  shape.images = kBatch;
  shape.hidden = kHidden;
  shape.active = 3;
  backward.shape = shape;
  CUfunction kernel = nullptr;
  SUCCEEDS(load_step_kernel(MapType::float32, gates, false, kernel));
  for (int line = 0; line < kLines; ++line) SUCCEEDS(step_forward(kernel, forward, stream));
  SUCCEEDS(load_step_kernel(MapType::float32, gates, true, kernel));
  for (int line = 0; line < kLines; ++line) SUCCEEDS(step_backward(kernel, backward, stream));
}

inline void run_gradients(CUstream stream) {
  NeighboursArgs neighbours{};
  BorderSumsArgs border{};
  neighbours.shape = border.shape = {kDirections, kBatch, 2, {nullptr, 32, 32, true, {}}};
  border.columns = 4 * kHidden;
  SUCCEEDS(gather_neighbours(neighbours, 2 * kHidden, stream));
  SUCCEEDS(sum_border(MapType::bfloat16, border, stream));
}

inline void run_everything(CUstream stream) {
  for (int gates : {4, 5}) {
    for (bool backward : {false, true}) run_resident(resident_plan(backward, gates), stream);
    run_steps(gates, stream);
  }
  run_gradients(stream);
}
constexpr int kLaunches = 4 * 2 + 4 * kLines + 2;

}  // namespace training
