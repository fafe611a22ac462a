// Depthwise convolutions of 3×3 and 5×5 pixels. `ahead` moves the windows right and down: TensorFlow's "same" padding of
// maps of even sizes has 1 with a stride of 2.

#pragma once

#include "planes.h"

namespace mobilepose {

template <int64_t kernel>
inline Floats window(Plane& plane, int64_t y, int64_t x, const Floats* weights) {
  Floats sum = zero();
  for (int64_t i = 0; i < kernel; ++i) {
    const float* row = plane.at(y + i, x);
    for (int64_t j = 0; j < kernel; ++j) {
      sum = multiply_add(read(row + j * LANES), weights[i * kernel + j], sum);
    }
  }
  return sum;
}

template <int64_t kernel>
inline Tensor depthwise(const Tensor& x, const Tensor& weight, int64_t stride, int64_t ahead) {
  const Size size = size_of(x);
  const int64_t rim = kernel / 2, height = (size.height - 1 - ahead) / stride + 1,
                width = (size.width - 1 - ahead) / stride + 1;
  Tensor y =
      at::empty({size.count, size.channels, height, width}, x.options().memory_format(at::MemoryFormat::ChannelsLast));
  const std::vector<float> taps = taps_first(weight, size);
  const Number* from = data(x);
  Number* to = writable(y);
  shared_out(size.count, [&](int64_t first, int64_t last, int64_t) {
    Plane plane(size.height + 2 * rim, size.width + 2 * rim);
    for (int64_t n = first; n < last; ++n) {
      for (int64_t c = 0; c < size.channels; c += LANES) {
        plane.fill(from + n * size.pixels() * size.channels, size, c, rim);
        Floats weights[kernel * kernel];
        for (int64_t tap = 0; tap < kernel * kernel; ++tap)
          weights[tap] = read(&taps[tap * size.lanes() + c]);
        Number* out = to + n * height * width * size.channels + c;
        for (int64_t oy = 0; oy < height; ++oy) {
          for (int64_t ox = 0; ox < width; ++ox) {
            store(out + (oy * width + ox) * size.channels,
                  window<kernel>(plane, oy * stride + ahead, ox * stride + ahead, weights), size.channels - c);
          }
        }
      }
    }
  });
  return y;
}

template <int64_t kernel>
inline std::tuple<Tensor, Tensor> depthwise_gradients(const Tensor& gradient, const Tensor& x, const Tensor& weight,
                                                      int64_t stride, int64_t ahead) {
  const Size size = size_of(x), small = size_of(gradient);
  const int64_t rim = kernel / 2, tap_count = kernel * kernel, lanes = size.lanes();
  Tensor dx = at::empty_like(x);
  const std::vector<float> taps = taps_first(weight, size);
  const Number *from = data(x), *pull = data(gradient);
  Number* to = writable(dx);
  Sums sums(tap_count, lanes);
  shared_out(size.count, [&](int64_t first, int64_t last, int64_t part) {
    Plane seen(size.height + 2 * rim, size.width + 2 * rim), wanted(seen.height + stride, seen.width + stride);
    std::vector<float> found(tap_count * lanes);
    for (int64_t n = first; n < last; ++n) {
      for (int64_t c = 0; c < size.channels; c += LANES) {
        seen.fill(from + n * size.pixels() * size.channels, size, c, rim);
        wanted.fill(pull + n * small.pixels() * size.channels, small, c, rim + ahead, stride);
        Floats weights[tap_count], slopes[tap_count];
        for (int64_t tap = 0; tap < tap_count; ++tap) {
          weights[tap_count - 1 - tap] = read(&taps[tap * lanes + c]);
          slopes[tap] = zero();
        }
        for (int64_t oy = 0; oy < small.height; ++oy) {
          for (int64_t ox = 0; ox < small.width; ++ox) {
            const Floats g = read(wanted.at(oy * stride + rim + ahead, ox * stride + rim + ahead));
            for (int64_t i = 0; i < kernel; ++i) {
              const float* row = seen.at(oy * stride + ahead + i, ox * stride + ahead);
              for (int64_t j = 0; j < kernel; ++j) {
                slopes[i * kernel + j] = multiply_add(read(row + j * LANES), g, slopes[i * kernel + j]);
              }
            }
          }
        }
        for (int64_t tap = 0; tap < tap_count; ++tap) write(&found[tap * lanes + c], slopes[tap]);
        Number* out = to + n * size.pixels() * size.channels + c;
        for (int64_t y = 0; y < size.height; ++y) {
          for (int64_t x = 0; x < size.width; ++x) {
            store(out + (y * size.width + x) * size.channels, window<kernel>(wanted, y, x, weights), size.channels - c);
          }
        }
      }
      sums.add(part, found);
    }
  });
  Tensor dweight = at::empty({size.channels, 1, kernel, kernel}, at::kFloat);
  for (int64_t c = 0; c < size.channels; ++c) {
    for (int64_t tap = 0; tap < tap_count; ++tap) {
      dweight.data_ptr<float>()[c * tap_count + tap] = static_cast<float>(sums.at(tap, c));
    }
  }
  return {dx, dweight};
}

inline Tensor depthwise_forward(const Tensor& x, const Tensor& weight, int64_t stride, int64_t ahead) {
  TORCH_CHECK(weight.size(3) == 3 || weight.size(3) == 5, "kernels of 3 or 5 pixels only");
  return weight.size(3) == 3 ? depthwise<3>(x, weight, stride, ahead) : depthwise<5>(x, weight, stride, ahead);
}

// Gradients of x and of the weights.
inline std::tuple<Tensor, Tensor> depthwise_backward(const Tensor& gradient, const Tensor& x, const Tensor& weight,
                                                     int64_t stride, int64_t ahead) {
  return weight.size(3) == 3 ? depthwise_gradients<3>(gradient, x, weight, stride, ahead)
                             : depthwise_gradients<5>(gradient, x, weight, stride, ahead);
}

}  // namespace mobilepose
