// What follows a BatchNorm or a gate, and its derivative.

#pragma once

#include "maps.h"

namespace mobilepose {

enum Activation : int64_t { NONE = 0, RELU = 1, HARDSWISH = 2, SILU = 3 };

// 1 / (1 + e^-z), to a few units of float32's last place: far finer than bfloat16.
inline Floats sigmoid(Floats z) {
  const Floats one = all(1.0f), limit = all(80.0f);
  const Floats bounded = larger(smaller(z, limit), zero() - limit);
  const Floats power = bounded * all(-1.44269504f);  // e^-z = 2^power
  const Floats whole = rounded(power);
  const Floats part = (power - whole) * all(0.693147181f);
  Floats series = all(1.0f / 720);
  for (float factorial : {120.0f, 24.0f, 6.0f, 2.0f, 1.0f, 1.0f}) {
    series = multiply_add(series, part, all(1.0f / factorial));
  }
  return one / (one + times_power_of_two(series, whole));
}

template <int64_t activation>
inline Floats activate(Floats z) {
  if (activation == RELU) return larger(z, zero());
  if (activation == HARDSWISH) {
    const Floats three = all(3.0f), six = all(6.0f);
    const Floats inner = smaller(larger(z + three, zero()), six);
    return z * inner * all(1.0f / 6.0f);
  }
  if (activation == SILU) return z * sigmoid(z);
  return z;
}

// A gradient, times the activation's derivative at z.
template <int64_t activation>
inline Floats through(Floats gradient, Floats z) {
  if (activation == RELU) return if_greater(z, zero(), gradient, zero());
  if (activation == HARDSWISH) {
    const Floats three = all(3.0f);
    const Floats slope = multiply_add(z, all(1.0f / 3.0f), all(0.5f));
    const Floats middle = gradient * slope;
    const Floats low = if_greater(z, zero() - three, middle, zero());
    return if_greater(three, z, low, gradient);
  }
  if (activation == SILU) {  // s + z · s · (1 - s)
    const Floats s = sigmoid(z);
    return gradient * multiply_add(z * s, all(1.0f) - s, s);
  }
  return gradient;
}

// Calls run with the activation as a type, so that loops are compiled for each.
template <typename Run>
inline void with_activation(int64_t activation, const Run& run) {
  if (activation == RELU) return run(std::integral_constant<int64_t, RELU>());
  if (activation == HARDSWISH) return run(std::integral_constant<int64_t, HARDSWISH>());
  if (activation == SILU) return run(std::integral_constant<int64_t, SILU>());
  TORCH_CHECK(activation == NONE, "no activation has the number ", activation);
  run(std::integral_constant<int64_t, NONE>());
}

}  // namespace mobilepose
