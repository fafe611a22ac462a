// Global Context (LPN Fig. 2d): the attention's average, and the end of the block it stands in.

#pragma once

#include "activations.h"

namespace mobilepose {

inline float dot(const Number* pixel, const float* with, int64_t channels) {
  Floats sum = zero();
  for (int64_t c = 0; c < channels; c += LANES) {
    sum = multiply_add(load(pixel + c, channels - c), read(with + c), sum);
  }
  return total(sum);
}

// The map's average under softmax(x · weight) over its pixels: (N, C), and the attention (N, H · W).
inline std::tuple<Tensor, Tensor> context_forward(const Tensor& x, const Tensor& weight) {
  const Size size = size_of(x);
  const std::vector<float> with = padded(weight.flatten(), size);
  Tensor attention = at::empty({size.count, size.pixels()}, at::kFloat);
  std::vector<float> context(size.count * size.lanes(), 0.0f);
  const Number* from = data(x);
  float* seen = attention.data_ptr<float>();
  shared_out(size.count, [&](int64_t first, int64_t last, int64_t) {
    for (int64_t n = first; n < last; ++n) {
      const Number* image = from + n * size.pixels() * size.channels;
      float *mask = seen + n * size.pixels(), *out = context.data() + n * size.lanes();
      float most = -std::numeric_limits<float>::infinity(), total = 0;
      for (int64_t p = 0; p < size.pixels(); ++p) {
        mask[p] = dot(image + p * size.channels, with.data(), size.channels);
        most = std::max(most, mask[p]);
      }
      for (int64_t p = 0; p < size.pixels(); ++p) total += mask[p] = std::exp(mask[p] - most);
      for (int64_t p = 0; p < size.pixels(); ++p) {
        mask[p] /= total;
        const Floats share = all(mask[p]);
        for (int64_t c = 0; c < size.channels; c += LANES) {
          const Floats value = load(image + p * size.channels + c, size.channels - c);
          write(out + c, multiply_add(value, share, read(out + c)));
        }
      }
    }
  });
  return {as_table(context, size), attention};
}

// Gradients of x and of the weight (C).
inline std::tuple<Tensor, Tensor> context_backward(const Tensor& gradient, const Tensor& x, const Tensor& weight,
                                                   const Tensor& attention) {
  const Size size = size_of(x);
  const std::vector<float> with = padded(weight.flatten(), size), pull = padded_table(gradient, size);
  Tensor dx = at::empty_like(x);
  const Number* from = data(x);
  Number* to = writable(dx);
  const float* seen = attention.const_data_ptr<float>();
  Sums sums(1, size.lanes());
  shared_out(size.count, [&](int64_t first, int64_t last, int64_t part) {
    std::vector<float> slopes(size.pixels()), found(size.lanes());
    for (int64_t n = first; n < last; ++n) {
      const Number* image = from + n * size.pixels() * size.channels;
      const float *mask = seen + n * size.pixels(), *wanted = pull.data() + n * size.lanes();
      float mean = 0;
      for (int64_t p = 0; p < size.pixels(); ++p) {
        slopes[p] = dot(image + p * size.channels, wanted, size.channels);
        mean += mask[p] * slopes[p];
      }
      std::fill(found.begin(), found.end(), 0.0f);
      for (int64_t p = 0; p < size.pixels(); ++p) {
        const Floats share = all(mask[p]), slope = all(mask[p] * (slopes[p] - mean));
        for (int64_t c = 0; c < size.channels; c += LANES) {
          const int64_t at = p * size.channels + c, left = size.channels - c;
          const Floats direct = share * read(wanted + c);
          store(to + n * size.pixels() * size.channels + at, multiply_add(slope, read(&with[c]), direct),
                left);
          write(&found[c], multiply_add(slope, load(image + at, left), read(&found[c])));
        }
      }
      sums.add(part, found);
    }
  });
  Tensor dweight = at::empty({size.channels}, at::kFloat);
  for (int64_t c = 0; c < size.channels; ++c) dweight.data_ptr<float>()[c] = static_cast<float>(sums.at(0, c));
  return {dx, dweight};
}

// relu(x + added + shortcut), `added` (N, C) going to every pixel.
inline Tensor join_forward(const Tensor& x, const Tensor& added, const Tensor& shortcut) {
  const Size size = size_of(x);
  TORCH_CHECK(size_of(shortcut).rows() == size.rows() && shortcut.sizes() == x.sizes(), "other shape");
  const std::vector<float> table = padded_table(added, size);
  Tensor y = at::empty_like(x);
  const Number *from = data(x), *beside = data(shortcut);
  Number* to = writable(y);
  shared_out(size.rows(), [&](int64_t first, int64_t last, int64_t) {
    for (int64_t row = first; row < last; ++row) {
      const float* more = table.data() + row / size.pixels() * size.lanes();
      for (int64_t c = 0; c < size.channels; c += LANES) {
        const int64_t at = row * size.channels + c, left = size.channels - c;
        const Floats sum =
            load(from + at, left) + read(more + c) + load(beside + at, left);
        store(to + at, activate<RELU>(sum), left);
      }
    }
  });
  return y;
}

// The gradient of x, which is also the shortcut's, and that of `added`.
inline std::tuple<Tensor, Tensor> join_backward(const Tensor& gradient, const Tensor& y) {
  const Size size = size_of(y);
  TORCH_CHECK(size_of(gradient).rows() == size.rows() && gradient.sizes() == y.sizes(), "other shape");
  Tensor dx = at::empty_like(y);
  std::vector<float> added(size.count * size.lanes(), 0.0f);
  const Number *from = data(gradient), *out = data(y);
  Number* to = writable(dx);
  shared_out(size.count, [&](int64_t first, int64_t last, int64_t) {
    for (int64_t row = first * size.pixels(); row < last * size.pixels(); ++row) {
      float* sum = added.data() + row / size.pixels() * size.lanes();
      for (int64_t c = 0; c < size.channels; c += LANES) {
        const int64_t at = row * size.channels + c, left = size.channels - c;
        const Floats g = through<RELU>(load(from + at, left), load(out + at, left));
        store(to + at, g, left);
        write(sum + c, read(sum + c) + g);
      }
    }
  });
  return {dx, as_table(added, size)};
}

}  // namespace mobilepose
