// ×2 transposed convolution (kernel 4, stride 2, padding 1), one output channel a group, one or two inputs a group.
//
// Output pixel (2m + a, 2n + b) sees the inputs m - 1 + a and m + a through the kernel's rows 3 - a and 1 - a (rows 3
// and 1, or 2 and 0); columns likewise.

#pragma once

#include "planes.h"

namespace mobilepose {

constexpr int64_t TAPS = 16;

// The inputs of one block of groups: a plane for each input that a group has.
inline void fill_inputs(std::vector<Plane>& planes, const Number* image, const Size& size, int64_t group,
                        int64_t left) {
  if (planes.size() == 1) return planes[0].fill(image, size, group, 1);
  for (int64_t y = 0; y < size.height; ++y) {
    for (int64_t x = 0; x < size.width; ++x) {
      const auto [first, second] = load_pairs(image + (y * size.width + x) * size.channels + 2 * group, left);
      write(planes[0].at(y + 1, x + 1), first);
      write(planes[1].at(y + 1, x + 1), second);
    }
  }
}

// Weights (C, 1, 4, 4) as (inputs a group, 16, lanes of the groups).
inline std::vector<float> taps_by_input(const Tensor& weight, int64_t inputs, const Size& out) {
  const Tensor split = weight.reshape({out.channels, inputs, TAPS});
  std::vector<float> taps;
  for (int64_t input = 0; input < inputs; ++input) {
    const std::vector<float> part = taps_first(split.select(1, input), out);
    taps.insert(taps.end(), part.begin(), part.end());
  }
  return taps;
}

inline int64_t inputs_a_group(const Size& size, int64_t groups) {
  TORCH_CHECK(size.channels == groups || size.channels == 2 * groups, "groups have one input or two");
  TORCH_CHECK(groups % 8 == 0, "a multiple of 8 groups is needed; got ", groups);
  return size.channels / groups;
}

inline Tensor upsample_forward(const Tensor& x, const Tensor& weight, int64_t groups) {
  const Size size = size_of(x), large{size.count, groups, 2 * size.height, 2 * size.width};
  const int64_t inputs = inputs_a_group(size, groups);
  Tensor y = at::empty({large.count, large.channels, large.height, large.width},
                       x.options().memory_format(at::MemoryFormat::ChannelsLast));
  const std::vector<float> taps = taps_by_input(weight, inputs, large);
  const Number* from = data(x);
  Number* to = writable(y);
  shared_out(size.count, [&](int64_t first, int64_t last, int64_t) {
    std::vector<Plane> planes(inputs, Plane(size.height + 2, size.width + 2));
    for (int64_t n = first; n < last; ++n) {
      for (int64_t c = 0; c < groups; c += LANES) {
        fill_inputs(planes, from + n * size.pixels() * size.channels, size, c, groups - c);
        Number* out = to + n * large.pixels() * groups + c;
        for (int64_t phase = 0; phase < 4; ++phase) {
          const int64_t a = phase / 2, b = phase % 2;
          Floats weights[2][4];
          for (int64_t input = 0; input < inputs; ++input) {
            for (int64_t near = 0; near < 4; ++near) {
              const int64_t tap = (3 - a - 2 * (near / 2)) * 4 + 3 - b - 2 * (near % 2);
              weights[input][near] = read(&taps[(input * TAPS + tap) * large.lanes() + c]);
            }
          }
          for (int64_t row = 0; row < size.height; ++row) {
            for (int64_t column = 0; column < size.width; ++column) {
              Floats sum = zero();
              for (int64_t input = 0; input < inputs; ++input) {
                for (int64_t near = 0; near < 4; ++near) {
                  const float* seen = planes[input].at(row + a + near / 2, column + b + near % 2);
                  sum = multiply_add(read(seen), weights[input][near], sum);
                }
              }
              store(out + ((2 * row + a) * large.width + 2 * column + b) * groups, sum, groups - c);
            }
          }
        }
      }
    }
  });
  return y;
}

// Gradients of x and of the weights.
inline std::tuple<Tensor, Tensor> upsample_backward(const Tensor& gradient, const Tensor& x, const Tensor& weight) {
  const Size size = size_of(x), large = size_of(gradient);
  TORCH_CHECK(large.rows() == 4 * size.rows(), "other shape");
  const int64_t groups = large.channels, inputs = inputs_a_group(size, groups), lanes = large.lanes();
  Tensor dx = at::empty_like(x);
  const std::vector<float> taps = taps_by_input(weight, inputs, large);
  const Number *from = data(x), *pull = data(gradient);
  Number* to = writable(dx);
  Sums sums(inputs * TAPS, lanes);
  shared_out(size.count, [&](int64_t first, int64_t last, int64_t part) {
    std::vector<Plane> seen(inputs, Plane(size.height + 2, size.width + 2)), moved = seen;
    Plane wanted(large.height + 2, large.width + 2);
    std::vector<float> found(inputs * TAPS * lanes);
    for (int64_t n = first; n < last; ++n) {
      for (int64_t c = 0; c < groups; c += LANES) {
        fill_inputs(seen, from + n * size.pixels() * size.channels, size, c, groups - c);
        wanted.fill(pull + n * large.pixels() * groups, large, c, 1);
        for (int64_t input = 0; input < inputs; ++input) {
          const float* with = &taps[input * TAPS * lanes + c];
          Floats slopes[TAPS];
          for (auto& slope : slopes) slope = zero();
          for (int64_t row = 0; row < size.height; ++row) {
            for (int64_t column = 0; column < size.width; ++column) {
              const Floats value = read(seen[input].at(row + 1, column + 1));
              Floats sum = zero();
              for (int64_t tap = 0; tap < TAPS; ++tap) {
                const Floats g = read(wanted.at(2 * row + tap / 4, 2 * column + tap % 4));
                sum = multiply_add(g, read(with + tap * lanes), sum);
                slopes[tap] = multiply_add(g, value, slopes[tap]);
              }
              write(moved[input].at(row + 1, column + 1), sum);
            }
          }
          for (int64_t tap = 0; tap < TAPS; ++tap) {
            write(&found[(input * TAPS + tap) * lanes + c], slopes[tap]);
          }
        }
        Number* out = to + n * size.pixels() * size.channels + inputs * c;
        for (int64_t row = 0; row < size.height; ++row) {
          for (int64_t column = 0; column < size.width; ++column) {
            Number* pixel = out + (row * size.width + column) * size.channels;
            const Floats mine = read(moved[0].at(row + 1, column + 1));
            if (inputs == 1) {
              store(pixel, mine, groups - c);
            } else {
              store_pairs(pixel, mine, read(moved[1].at(row + 1, column + 1)), groups - c);
            }
          }
        }
      }
      sums.add(part, found);
    }
  });
  Tensor dweight = at::empty({size.channels, 1, 4, 4}, at::kFloat);
  for (int64_t c = 0; c < groups; ++c) {
    for (int64_t tap = 0; tap < inputs * TAPS; ++tap) {
      dweight.data_ptr<float>()[c * inputs * TAPS + tap] = static_cast<float>(sums.at(tap, c));
    }
  }
  return {dx, dweight};
}

}  // namespace mobilepose
