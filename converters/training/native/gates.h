// Gates, one an image and channel, and the average that they are made from.

#pragma once

#include "activations.h"

namespace mobilepose {

// Mean over the pixels, (N, C) float32.
inline Tensor pool_forward(const Tensor& x) {
  const Size size = size_of(x);
  const Number* from = data(x);
  std::vector<float> means(size.count * size.lanes(), 0.0f);
  const Floats share = all(1.0f / size.pixels());
  shared_out(size.count, [&](int64_t first, int64_t last, int64_t) {
    for (int64_t n = first; n < last; ++n) {
      float* mean = means.data() + n * size.lanes();
      for (int64_t p = 0; p < size.pixels(); ++p) {
        const Number* pixel = from + (n * size.pixels() + p) * size.channels;
        for (int64_t c = 0; c < size.channels; c += LANES) {
          const Floats value = load(pixel + c, size.channels - c);
          write(mean + c, multiply_add(value, share, read(mean + c)));
        }
      }
    }
  });
  return as_table(means, size);
}

template <int64_t activation>
inline void gate(const Number* x, Number* y, const Size& size, const std::vector<float>& gates) {
  shared_out(size.rows(), [&](int64_t first, int64_t last, int64_t) {
    for (int64_t row = first; row < last; ++row) {
      const float* open = gates.data() + row / size.pixels() * size.lanes();
      for (int64_t c = 0; c < size.channels; c += LANES) {
        const int64_t at = row * size.channels + c, left = size.channels - c;
        store(y + at, activate<activation>(load(x + at, left) * read(open + c)), left);
      }
    }
  });
}

inline Tensor gate_forward(const Tensor& x, const Tensor& gates, int64_t activation) {
  const Size size = size_of(x);
  Tensor y = at::empty_like(x);
  const std::vector<float> table = padded_table(gates, size);
  with_activation(activation, [&](auto kind) { gate<kind()>(data(x), writable(y), size, table); });
  return y;
}

template <int64_t activation>
inline void gate_gradients(const Number* gradient, const Number* x, Number* dx, const Size& size,
                           const std::vector<float>& gates, std::vector<float>& dgates) {
  shared_out(size.count, [&](int64_t first, int64_t last, int64_t) {
    for (int64_t row = first * size.pixels(); row < last * size.pixels(); ++row) {
      const int64_t table = row / size.pixels() * size.lanes();
      for (int64_t c = 0; c < size.channels; c += LANES) {
        const int64_t at = row * size.channels + c, left = size.channels - c;
        const Floats value = load(x + at, left), open = read(&gates[table + c]);
        const Floats g = through<activation>(load(gradient + at, left), value * open);
        store(dx + at, g * open, left);
        float* sum = &dgates[table + c];
        write(sum, multiply_add(g, value, read(sum)));
      }
    }
  });
}

// Gradients of x and of the gates (N, C).
inline std::tuple<Tensor, Tensor> gate_backward(const Tensor& gradient, const Tensor& x, const Tensor& gates,
                                                int64_t activation) {
  const Size size = size_of(x);
  TORCH_CHECK(size_of(gradient).rows() == size.rows() && gradient.sizes() == x.sizes(), "other shape");
  Tensor dx = at::empty_like(x);
  const std::vector<float> table = padded_table(gates, size);
  std::vector<float> dgates(table.size(), 0.0f);
  with_activation(activation, [&](auto kind) {
    gate_gradients<kind()>(data(gradient), data(x), writable(dx), size, table, dgates);
  });
  return {dx, as_table(dgates, size)};
}

}  // namespace mobilepose
