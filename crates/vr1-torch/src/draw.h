// A token for each row on the CPU, in one pass over its logits and another over one stretch of them. B rows, V vocabulary.
#pragma once

#include "rows.h"

namespace vr1 {

// How many logits are summed before the sum is added to that of the row.
constexpr int64_t kStretch = 256;

inline uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// Sums over a stretch, relative to the largest logit of the row: of e^x, of x e^x, and of e^(x / temperature) over what may be drawn.
struct StretchSums {
  float weight, weighed, drawn;
};

VR1_CLONES static float largest(const float *x, int64_t count) {
  float top = -std::numeric_limits<float>::infinity();
#pragma omp simd reduction(max : top)
  for (int64_t i = 0; i < count; ++i) top = std::max(top, x[i]);
  return top;
}

// `drawn` gets the weights that are drawn by.
VR1_CLONES static StretchSums sums_of(const float *x, float *drawn, int64_t count, float top, float reachable_top, float by) {
  float weight = 0, weighed = 0, sum = 0;
#pragma omp simd reduction(+ : weight, weighed)
  for (int64_t i = 0; i < count; ++i) {
    const float below = std::max(x[i] - top, -87.0f);
    const float e = exponential(below);
    weight += e;
    weighed += e * below;
  }
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < count; ++i) {
    drawn[i] = exponential(std::min((x[i] - reachable_top) * by, 0.0f));
    sum += drawn[i];
  }
  return {weight, weighed, sum};
}

struct DrawCall {
  const at::Tensor &logits, &unreachable, &states, &positions;  // `unreachable` may be undefined
  double temperature;
  const at::Tensor &ids, &logprobs, &drawn, &entropies;
};

// Of one row `x` of f32, in which `hidden` says what is not drawn.
inline void draw_row(const DrawCall &c, int64_t row, const float *x, int64_t vocabulary, const bool *hidden) {
  const float top = largest(x, vocabulary);
  float reachable_top = -std::numeric_limits<float>::infinity();
  int64_t likeliest = -1;
  for (int64_t i = 0; i < vocabulary; ++i) {
    if ((!hidden || !hidden[i]) && (likeliest < 0 || x[i] > reachable_top)) {
      reachable_top = x[i];
      likeliest = i;
    }
  }
  TORCH_CHECK(likeliest >= 0, "every token is unreachable");
  const bool certain = c.temperature == 0;
  const float by = certain ? 1.0f : static_cast<float>(1 / c.temperature);
  const int64_t stretches = (vocabulary + kStretch - 1) / kStretch;
  std::vector<double> sums(stretches);
  std::vector<float> weights(vocabulary);
  double weight = 0, weighed = 0, total = 0;
  for (int64_t s = 0; s < stretches; ++s) {
    const int64_t start = s * kStretch, count = std::min(kStretch, vocabulary - start);
    auto part = sums_of(x + start, weights.data() + start, count, top, reachable_top, by);
    if (hidden) {
      part.drawn = 0;
      for (int64_t i = start; i < start + count; ++i) part.drawn += hidden[i] ? (weights[i] = 0) : weights[i];
    }
    weight += part.weight, weighed += part.weighed;
    total += sums[s] = part.drawn;
  }
  int64_t id = likeliest;
  if (!certain) {
    const auto bits = mix(mix(static_cast<uint64_t>(c.states.const_data_ptr<int64_t>()[row])) ^
                          static_cast<uint64_t>(c.positions.const_data_ptr<int64_t>()[c.positions.numel() > 1 ? row : 0]));
    double left = static_cast<double>(bits >> 11) / static_cast<double>(uint64_t{1} << 53) * total;
    int64_t s = 0;
    while (s + 1 < stretches && left >= sums[s]) left -= sums[s++];
    // Rounding can leave a target that no sum exceeds: then it is the last that has a weight.
    const int64_t end = std::min((s + 1) * kStretch, vocabulary);
    int64_t last = -1, i = s * kStretch;
    for (; i < end; ++i) {
      if (weights[i] > 0) last = i;
      if (left < weights[i]) break;
      left -= weights[i];
    }
    if (i == end) {
      for (i = end - 1; i > 0 && !(weights[i] > 0); --i) {
      }
      if (last >= 0) i = last;
    }
    id = i;
  }
  const double of_model = std::log(weight);
  c.ids.data_ptr<int64_t>()[row] = id;
  c.logprobs.data_ptr<float>()[row] = static_cast<float>(x[id] - top - of_model);
  c.drawn.data_ptr<float>()[row] = certain ? 0.0f : static_cast<float>((x[id] - reachable_top) * by - std::log(total));
  c.entropies.data_ptr<float>()[row] = static_cast<float>(of_model - weighed / weight);
}

template <class T>
void draw(const DrawCall &c) {
  const int64_t rows = c.logits.size(0), vocabulary = c.logits.size(1);
  const bool *hidden = c.unreachable.defined() ? c.unreachable.const_data_ptr<bool>() : nullptr;
  const T *logits = c.logits.const_data_ptr<T>();
  each(rows, rows * vocabulary < (1 << 14), [&](int64_t row) {
    const T *x = logits + row * vocabulary;
    if constexpr (std::is_same_v<T, float>) {
      draw_row(c, row, x, vocabulary, hidden);
    } else {
      const std::vector<float> wide(x, x + vocabulary);
      draw_row(c, row, wide.data(), vocabulary, hidden);
    }
  });
}

}  // namespace vr1
