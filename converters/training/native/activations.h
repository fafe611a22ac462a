// What follows a BatchNorm or a gate, and its derivative.

#pragma once

#include "maps.h"

namespace mobilepose {

enum Activation : int64_t { NONE = 0, RELU = 1, HARDSWISH = 2 };

template <int64_t activation>
inline __m512 activate(__m512 z) {
  if (activation == RELU) return _mm512_max_ps(z, zero());
  if (activation == HARDSWISH) {
    const __m512 three = _mm512_set1_ps(3.0f), six = _mm512_set1_ps(6.0f);
    const __m512 inner = _mm512_min_ps(_mm512_max_ps(_mm512_add_ps(z, three), zero()), six);
    return _mm512_mul_ps(_mm512_mul_ps(z, inner), _mm512_set1_ps(1.0f / 6.0f));
  }
  return z;
}

// A gradient, times the activation's derivative at z.
template <int64_t activation>
inline __m512 through(__m512 gradient, __m512 z) {
  if (activation == RELU) return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(z, zero(), _CMP_GT_OQ), gradient);
  if (activation == HARDSWISH) {
    const __m512 three = _mm512_set1_ps(3.0f);
    const __m512 slope = _mm512_fmadd_ps(z, _mm512_set1_ps(1.0f / 3.0f), _mm512_set1_ps(0.5f));
    const __m512 middle = _mm512_mul_ps(gradient, slope);
    const __m512 low = _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(z, _mm512_set1_ps(-3.0f), _CMP_GT_OQ), middle);
    return _mm512_mask_mov_ps(low, _mm512_cmp_ps_mask(z, three, _CMP_GE_OQ), gradient);
  }
  return gradient;
}

// Calls run with the activation as a type, so that loops are compiled for each.
template <typename Run>
inline void with_activation(int64_t activation, const Run& run) {
  if (activation == RELU) return run(std::integral_constant<int64_t, RELU>());
  if (activation == HARDSWISH) return run(std::integral_constant<int64_t, HARDSWISH>());
  TORCH_CHECK(activation == NONE, "no activation has the number ", activation);
  run(std::integral_constant<int64_t, NONE>());
}

}  // namespace mobilepose
