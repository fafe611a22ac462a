// What follows a BatchNorm or a gate, and its derivative.

#pragma once

#include "maps.h"

namespace mobilepose {

enum Activation : int64_t { NONE = 0, RELU = 1, HARDSWISH = 2, SILU = 3 };

// 1 / (1 + e^-z), to a few units of float32's last place: far finer than bfloat16.
inline __m512 sigmoid(__m512 z) {
  const __m512 one = _mm512_set1_ps(1.0f), limit = _mm512_set1_ps(80.0f);
  const __m512 bounded = _mm512_max_ps(_mm512_min_ps(z, limit), _mm512_sub_ps(zero(), limit));
  const __m512 power = _mm512_mul_ps(bounded, _mm512_set1_ps(-1.44269504f));  // e^-z = 2^power
  const __m512 whole = _mm512_roundscale_ps(power, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 part = _mm512_mul_ps(_mm512_sub_ps(power, whole), _mm512_set1_ps(0.693147181f));
  __m512 series = _mm512_set1_ps(1.0f / 720);
  for (float factorial : {120.0f, 24.0f, 6.0f, 2.0f, 1.0f, 1.0f}) {
    series = _mm512_fmadd_ps(series, part, _mm512_set1_ps(1.0f / factorial));
  }
  return _mm512_div_ps(one, _mm512_add_ps(one, _mm512_scalef_ps(series, whole)));
}

template <int64_t activation>
inline __m512 activate(__m512 z) {
  if (activation == RELU) return _mm512_max_ps(z, zero());
  if (activation == HARDSWISH) {
    const __m512 three = _mm512_set1_ps(3.0f), six = _mm512_set1_ps(6.0f);
    const __m512 inner = _mm512_min_ps(_mm512_max_ps(_mm512_add_ps(z, three), zero()), six);
    return _mm512_mul_ps(_mm512_mul_ps(z, inner), _mm512_set1_ps(1.0f / 6.0f));
  }
  if (activation == SILU) return _mm512_mul_ps(z, sigmoid(z));
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
  if (activation == SILU) {  // s + z · s · (1 - s)
    const __m512 s = sigmoid(z);
    return _mm512_mul_ps(gradient, _mm512_fmadd_ps(_mm512_mul_ps(z, s), _mm512_sub_ps(_mm512_set1_ps(1.0f), s), s));
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
