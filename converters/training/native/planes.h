// One block of channels as floats, which a kernel slides over; and its weights.

#pragma once

#include "maps.h"

namespace mobilepose {

// One block of channels of one image as floats, with a rim of zeros; `step` leaves zeros between the pixels too.
struct Plane {
  int64_t height, width;
  std::vector<float> values;
  Plane(int64_t height, int64_t width) : height(height), width(width), values(height * width * LANES, 0.0f) {}
  float* at(int64_t y, int64_t x) { return values.data() + (y * width + x) * LANES; }
  void fill(const Number* image, const Size& size, int64_t c, int64_t rim, int64_t step = 1) {
    for (int64_t y = 0; y < size.height; ++y) {
      for (int64_t x = 0; x < size.width; ++x) {
        const Floats value = load(image + (y * size.width + x) * size.channels + c, size.channels - c);
        write(at(y * step + rim, x * step + rim), value);
      }
    }
  }
};

// Weights (C, 1, kernel, kernel) as (kernel · kernel, lanes).
inline std::vector<float> taps_first(const Tensor& weight, const Size& size) {
  const Tensor flat = weight.to(at::kFloat).reshape({weight.size(0), -1}).contiguous();
  const int64_t taps = flat.size(1), lanes = size.lanes();
  std::vector<float> out(taps * lanes, 0.0f);
  const float* from = flat.const_data_ptr<float>();
  for (int64_t c = 0; c < size.channels; ++c) {
    for (int64_t tap = 0; tap < taps; ++tap) out[tap * lanes + c] = from[c * taps + tap];
  }
  return out;
}

}  // namespace mobilepose
