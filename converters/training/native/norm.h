// BatchNorm, a shortcut and an activation.

#pragma once

#include "activations.h"

namespace mobilepose {

// Of each channel the sums of a and of a · b, where both(row, channel) gives some of each.
template <typename Both>
inline Sums moments(const Size& size, const Both& both) {
  const int64_t lanes = size.lanes();
  Sums sums(2, lanes);
  shared_out(size.rows(), [&](int64_t first, int64_t last, int64_t part) {
    std::vector<float> found(2 * lanes);
    for (int64_t start = first; start < last; start += CHUNK) {
      std::fill(found.begin(), found.end(), 0.0f);
      for (int64_t row = start; row < std::min(start + CHUNK, last); ++row) {
        for (int64_t c = 0; c < size.channels; c += LANES) {
          const auto [a, b] = both(row, c);
          float *sum = found.data() + c, *product = sum + lanes;
          write(sum, read(sum) + a);
          write(product, multiply_add(a, b, read(product)));
        }
      }
      sums.add(part, found);
    }
  });
  return sums;
}

// A BatchNorm with known statistics: what a channel is multiplied with, and what is added.
inline std::pair<std::vector<float>, std::vector<float>> affine(const std::vector<float>& gain,
                                                                const std::vector<float>& offset, const float* mean,
                                                                const float* inverse, const Size& size) {
  std::vector<float> scale(size.lanes(), 0.0f), shift(size.lanes(), 0.0f);
  for (int64_t c = 0; c < size.channels; ++c) {
    scale[c] = gain[c] * inverse[c];
    shift[c] = offset[c] - mean[c] * scale[c];
  }
  return {scale, shift};
}

template <int64_t activation>
inline void normalise(const Number* x, const Number* shortcut, Number* y, const Size& size, const float* scale,
                      const float* shift) {
  shared_out(size.rows(), [&](int64_t first, int64_t last, int64_t) {
    for (int64_t row = first; row < last; ++row) {
      for (int64_t c = 0; c < size.channels; c += LANES) {
        const int64_t at = row * size.channels + c, left = size.channels - c;
        Floats z = multiply_add(load(x + at, left), read(scale + c), read(shift + c));
        if (shortcut) z = z + load(shortcut + at, left);
        store(y + at, activate<activation>(z), left);
      }
    }
  });
}

// y = activation(BatchNorm(x) + shortcut), and the statistics (2, C): mean and 1/deviation. Moves the running ones.
inline std::tuple<Tensor, Tensor> norm_forward(const Tensor& x, const Tensor& weight, const Tensor& bias,
                                               Tensor running_mean, Tensor running_var, double momentum, double epsilon,
                                               int64_t activation, const std::optional<Tensor>& shortcut) {
  const Size size = size_of(x);
  if (shortcut) TORCH_CHECK(size_of(*shortcut).rows() == size.rows() && shortcut->sizes() == x.sizes(), "other shape");
  const Number* from = data(x);
  const Sums sums = moments(size, [&](int64_t row, int64_t c) -> std::tuple<Floats, Floats> {
    const Floats value = load(from + row * size.channels + c, size.channels - c);
    return {value, value};
  });
  Tensor statistics = at::empty({2, size.channels}, at::kFloat);
  float *mean = statistics.data_ptr<float>(), *inverse = mean + size.channels;
  float *mean_kept = running_mean.data_ptr<float>(), *var_kept = running_var.data_ptr<float>();
  const double rows = static_cast<double>(size.rows());
  for (int64_t c = 0; c < size.channels; ++c) {
    const double average = sums.at(0, c) / rows;
    const double variance = std::max(sums.at(1, c) / rows - average * average, 0.0);
    mean[c] = static_cast<float>(average);
    inverse[c] = static_cast<float>(1.0 / std::sqrt(variance + epsilon));
    mean_kept[c] += static_cast<float>(momentum) * (mean[c] - mean_kept[c]);
    const float unbiased = static_cast<float>(variance * rows / std::max(rows - 1, 1.0));
    var_kept[c] += static_cast<float>(momentum) * (unbiased - var_kept[c]);
  }
  const auto [scale, shift] = affine(padded(weight, size), padded(bias, size), mean, inverse, size);
  const float *factor = scale.data(), *constant = shift.data();
  Tensor y = at::empty_like(x);
  const Number* beside = shortcut ? data(*shortcut) : nullptr;
  with_activation(activation, [&](auto kind) { normalise<kind()>(from, beside, writable(y), size, factor, constant); });
  return {y, statistics};
}

template <int64_t activation>
inline void norm_gradients(const Number* gradient, const Number* x, const Number* shortcut, Number* dx,
                           Number* dshortcut, const Size& size, const std::vector<float>& gain,
                           const std::vector<float>& offset, const float* mean, const float* inverse, float* dweight,
                           float* dbias) {
  const int64_t lanes = size.lanes();
  const auto factors = affine(gain, offset, mean, inverse, size);
  const auto &scale = factors.first, &shift = factors.second;
  // The gradient in front of the activation, and x.
  const auto both = [&](int64_t row, int64_t c) -> std::tuple<Floats, Floats> {
    const int64_t at = row * size.channels + c, left = size.channels - c;
    const Floats value = load(x + at, left);
    Floats z = multiply_add(value, read(&scale[c]), read(&shift[c]));
    if (shortcut) z = z + load(shortcut + at, left);
    return {through<activation>(load(gradient + at, left), z), value};
  };
  const Sums sums = moments(size, both);
  // dx = scale · (g - mean(g) - x̂ · mean(g · x̂)), which is linear in g and x: scale · g + slope · x + constant.
  std::vector<float> slope(lanes, 0.0f), constant(lanes, 0.0f);
  const double rows = static_cast<double>(size.rows());
  for (int64_t c = 0; c < size.channels; ++c) {
    const double sum = sums.at(0, c), product = inverse[c] * (sums.at(1, c) - mean[c] * sum);
    dbias[c] = static_cast<float>(sum);
    dweight[c] = static_cast<float>(product);
    slope[c] = static_cast<float>(-scale[c] * inverse[c] * product / rows);
    constant[c] = static_cast<float>(-scale[c] * sum / rows - slope[c] * mean[c]);
  }
  shared_out(size.rows(), [&](int64_t first, int64_t last, int64_t) {
    for (int64_t row = first; row < last; ++row) {
      for (int64_t c = 0; c < size.channels; c += LANES) {
        const int64_t at = row * size.channels + c, left = size.channels - c;
        const auto [g, value] = both(row, c);
        const Floats rest = multiply_add(value, read(&slope[c]), read(&constant[c]));
        store(dx + at, multiply_add(g, read(&scale[c]), rest), left);
        if (dshortcut) store(dshortcut + at, g, left);
      }
    }
  });
}

// Gradients of x, weight, bias and shortcut; without an activation the shortcut's is the output's, and not made anew.
inline std::tuple<Tensor, Tensor, Tensor, std::optional<Tensor>> norm_backward(const Tensor& gradient, const Tensor& x,
                                                                               const Tensor& weight, const Tensor& bias,
                                                                               const Tensor& statistics,
                                                                               int64_t activation,
                                                                               const std::optional<Tensor>& shortcut) {
  const Size size = size_of(x);
  TORCH_CHECK(size_of(gradient).rows() == size.rows() && gradient.sizes() == x.sizes(), "other shape");
  Tensor dx = at::empty_like(x);
  Tensor dweight = at::empty({size.channels}, at::kFloat), dbias = at::empty_like(dweight);
  std::optional<Tensor> dshortcut;
  if (shortcut) dshortcut = activation == NONE ? gradient : at::empty_like(x);
  const bool own = shortcut && activation != NONE;
  const float *mean = statistics.const_data_ptr<float>(), *inverse = mean + size.channels;
  with_activation(activation, [&](auto kind) {
    norm_gradients<kind()>(data(gradient), data(x), own ? data(*shortcut) : nullptr, writable(dx),
                           own ? writable(*dshortcut) : nullptr, size, padded(weight, size), padded(bias, size), mean,
                           inverse, dweight.data_ptr<float>(), dbias.data_ptr<float>());
  });
  return {dx, dweight, dbias, dshortcut};
}

}  // namespace mobilepose
