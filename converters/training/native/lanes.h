// Some channels of a pixel at a time, as float32 numbers in one register.
//
// Maps are kept in bfloat16, sixteen numbers at a time, where BFLOAT16_MAPS says so, which needs AVX-512 in bfloat16;
// otherwise in float32, eight at a time, with AVX2.

#pragma once

#include <immintrin.h>

#include <cstdint>
#include <tuple>

namespace mobilepose {

#ifdef BFLOAT16_MAPS

using Number = uint16_t;  // the bits of a bfloat16
using Floats = __m512;
constexpr int64_t LANES = 16;

inline Floats zero() { return _mm512_setzero_ps(); }
inline Floats all(float value) { return _mm512_set1_ps(value); }
inline Floats read(const float* from) { return _mm512_loadu_ps(from); }
inline void write(float* to, Floats values) { _mm512_storeu_ps(to, values); }

inline Floats multiply_add(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
inline Floats smaller(Floats a, Floats b) { return _mm512_min_ps(a, b); }
inline Floats larger(Floats a, Floats b) { return _mm512_max_ps(a, b); }
inline Floats if_greater(Floats a, Floats b, Floats then, Floats otherwise) {
  return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_GT_OQ), otherwise, then);
}
inline Floats rounded(Floats values) {
  return _mm512_roundscale_ps(values, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
inline Floats times_power_of_two(Floats values, Floats whole) { return _mm512_scalef_ps(values, whole); }
inline float total(Floats values) { return _mm512_reduce_add_ps(values); }

inline Floats widen(__m256i bits) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16)); }
inline __mmask16 lanes_of(int64_t left) { return static_cast<__mmask16>((1u << left) - 1); }

// The last block of a pixel may have fewer channels; the other lanes are zero and are not stored.
inline Floats load(const Number* from, int64_t left) {
  if (left >= LANES) return widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
  return widen(_mm256_maskz_loadu_epi16(lanes_of(left), from));
}

inline void store(Number* to, Floats values, int64_t left) {
  const __m256i bits = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(values));
  if (left >= LANES) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), bits);
  } else {
    _mm256_mask_storeu_epi16(to, lanes_of(left), bits);
  }
}

// Pairs of channels next to each other in memory, 8 or more of them: the first of each pair, and the second.
inline std::tuple<Floats, Floats> load_pairs(const Number* from, int64_t left) {
  const __m512i bits = left >= LANES
                           ? _mm512_loadu_si512(from)
                           : _mm512_zextsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(bits, 16)),
          _mm512_castsi512_ps(_mm512_and_si512(bits, _mm512_set1_epi32(static_cast<int>(0xffff0000))))};
}

inline void store_pairs(Number* to, Floats first, Floats second, int64_t left) {
  const __m512i low = _mm512_cvtepu16_epi32(reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(first)));
  const __m512i high = _mm512_cvtepu16_epi32(reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(second)));
  const __m512i bits = _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
  if (left >= LANES) {
    _mm512_storeu_si512(to, bits);
  } else {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_castsi512_si256(bits));
  }
}

#else

using Number = float;
using Floats = __m256;
constexpr int64_t LANES = 8;

inline Floats zero() { return _mm256_setzero_ps(); }
inline Floats all(float value) { return _mm256_set1_ps(value); }
inline Floats read(const float* from) { return _mm256_loadu_ps(from); }
inline void write(float* to, Floats values) { _mm256_storeu_ps(to, values); }

inline Floats multiply_add(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
inline Floats smaller(Floats a, Floats b) { return _mm256_min_ps(a, b); }
inline Floats larger(Floats a, Floats b) { return _mm256_max_ps(a, b); }
inline Floats if_greater(Floats a, Floats b, Floats then, Floats otherwise) {
  return _mm256_blendv_ps(otherwise, then, _mm256_cmp_ps(a, b, _CMP_GT_OQ));
}
inline Floats rounded(Floats values) {
  return _mm256_round_ps(values, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
// For whole powers from -126 to 127.
inline Floats times_power_of_two(Floats values, Floats whole) {
  const __m256i exponents = _mm256_add_epi32(_mm256_cvtps_epi32(whole), _mm256_set1_epi32(127));
  return values * _mm256_castsi256_ps(_mm256_slli_epi32(exponents, 23));
}
inline float total(Floats values) {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(values), _mm256_extractf128_ps(values, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

inline __m256i lanes_of(int64_t left) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(left)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

// The last block of a pixel may have fewer channels; the other lanes are zero and are not stored.
inline Floats load(const Number* from, int64_t left) {
  return left >= LANES ? _mm256_loadu_ps(from) : _mm256_maskload_ps(from, lanes_of(left));
}

inline void store(Number* to, Floats values, int64_t left) {
  if (left >= LANES) {
    _mm256_storeu_ps(to, values);
  } else {
    _mm256_maskstore_ps(to, lanes_of(left), values);
  }
}

// Pairs of channels next to each other in memory, 8 of them: the first of each pair, and the second.
inline std::tuple<Floats, Floats> load_pairs(const Number* from, int64_t) {
  const __m256i halves = _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7);
  const Floats a = _mm256_permutevar8x32_ps(read(from), halves);
  const Floats b = _mm256_permutevar8x32_ps(read(from + LANES), halves);
  return {_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31)};
}

inline void store_pairs(Number* to, Floats first, Floats second, int64_t) {
  const Floats low = _mm256_unpacklo_ps(first, second), high = _mm256_unpackhi_ps(first, second);
  write(to, _mm256_permute2f128_ps(low, high, 0x20));
  write(to + LANES, _mm256_permute2f128_ps(low, high, 0x31));
}

#endif

}  // namespace mobilepose
