// Maps in memory, and sums over them.
//
// Maps are (N, H, W, C) in memory; sums and statistics are float32 or better.

#pragma once

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>
#include <type_traits>
#include <vector>

#include "lanes.h"

namespace mobilepose {

using at::Tensor;
struct Size {
  int64_t count, channels, height, width;
  int64_t pixels() const { return height * width; }
  int64_t rows() const { return count * height * width; }
  // Channels, rounded up to whole blocks: how long a buffer of floats is that has one for each.
  int64_t lanes() const { return (channels + LANES - 1) / LANES * LANES; }
};

#ifdef BFLOAT16_MAPS
using Kept = at::BFloat16;
constexpr const char* KEPT = "bfloat16";
#else
using Kept = float;
constexpr const char* KEPT = "float32";
#endif

inline Size size_of(const Tensor& map) {
  TORCH_CHECK(map.dim() == 4 && map.scalar_type() == c10::CppTypeToScalarType<Kept>::value &&
                  map.is_contiguous(at::MemoryFormat::ChannelsLast),
              "a ", KEPT, " map, channels last, is needed; got ", map.sizes(), " ",
              map.scalar_type());
  return {map.size(0), map.size(1), map.size(2), map.size(3)};
}

inline const Number* data(const Tensor& map) { return reinterpret_cast<const Number*>(map.const_data_ptr<Kept>()); }
inline Number* writable(Tensor& map) { return reinterpret_cast<Number*>(map.mutable_data_ptr<Kept>()); }

// One float for each channel, padded to whole blocks.
inline std::vector<float> padded(const Tensor& values, const Size& size) {
  const Tensor flat = values.to(at::kFloat).contiguous();
  std::vector<float> out(size.lanes(), 0.0f);
  std::copy_n(flat.const_data_ptr<float>(), size.channels, out.begin());
  return out;
}

// Calls work(first, last, part) on shares of `count` things, one share a thread.
template <typename Work>
inline void shared_out(int64_t count, const Work& work) {
  const int64_t threads = std::min<int64_t>(at::get_num_threads(), count);
  at::parallel_for(0, threads, 1, [&](int64_t from, int64_t to) {
    for (int64_t part = from; part < to; ++part) work(count * part / threads, count * (part + 1) / threads, part);
  });
}

// Adds up what threads found: sums[k][channel], doubles, from floats that each work call adds to its own part.
struct Sums {
  int64_t kinds, lanes;
  std::vector<std::vector<double>> parts;
  Sums(int64_t kinds, int64_t lanes)
      : kinds(kinds), lanes(lanes), parts(at::get_num_threads(), std::vector<double>(kinds * lanes, 0.0)) {}
  void add(int64_t part, const std::vector<float>& found) {
    for (int64_t i = 0; i < kinds * lanes; ++i) parts[part][i] += found[i];
  }
  double at(int64_t kind, int64_t channel) const {
    double total = 0;
    for (const auto& part : parts) total += part[kind * lanes + channel];
    return total;
  }
};

constexpr int64_t CHUNK = 512;  // rows summed in float32 before they are added to a double

// A table (N, C) of floats with rows padded to whole blocks.
inline std::vector<float> padded_table(const Tensor& table, const Size& size) {
  const Tensor flat = table.to(at::kFloat).reshape({size.count, size.channels}).contiguous();
  std::vector<float> out(size.count * size.lanes(), 0.0f);
  for (int64_t n = 0; n < size.count; ++n) {
    std::copy_n(flat.const_data_ptr<float>() + n * size.channels, size.channels, out.begin() + n * size.lanes());
  }
  return out;
}

inline Tensor as_table(const std::vector<float>& padded, const Size& size) {
  Tensor out = at::empty({size.count, size.channels}, at::kFloat);
  for (int64_t n = 0; n < size.count; ++n) {
    std::copy_n(padded.begin() + n * size.lanes(), size.channels, out.data_ptr<float>() + n * size.channels);
  }
  return out;
}

}  // namespace mobilepose
