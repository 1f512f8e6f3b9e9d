// Attention of rows of decoding on the CPU, in one pass over the keys: what a row gets is computed by the same operations whatever
// rows stand beside it. P groups, G rows of each, B = P·G, H heads, K key-value heads, R = H / K, d head size, N keys of all
// prompts, C room for own keys.
#pragma once

#include <ATen/ATen.h>
#include <ATen/TensorIterator.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__)
#define VR1_CLONES __attribute__((target_clones("avx512f", "avx2,fma", "default")))
#else
#define VR1_CLONES
#endif
#define VR1_INLINE inline __attribute__((always_inline))

namespace vr1 {

// How many keys are scored before their values are weighed.
constexpr int64_t kBlock = 64;

// e^x for x ≤ 0 by Cephes' polynomial, without a branch, so that it is computed for many at once; 0 where it is below 1e-38.
VR1_INLINE float exponential(float x) {
  const float kept = x < -87.0f ? -87.0f : x;
  const float n = std::floor(kept * 1.44269504f + 0.5f);
  const float r = kept - n * 0.693359375f + n * 2.12194440e-4f;
  float y = 1.9875691500e-4f;
  y = y * r + 1.3981999507e-3f;
  y = y * r + 8.3334519073e-3f;
  y = y * r + 4.1665795894e-2f;
  y = y * r + 1.6666665459e-1f;
  y = y * r + 5.0000001201e-1f;
  y = y * r * r + r + 1.0f;
  const int32_t bits = (static_cast<int32_t>(n) + 127) << 23;
  float power;
  std::memcpy(&power, &bits, sizeof power);
  return x < -87.0f ? 0.0f : y * power;
}

VR1_INLINE double exponential(double x) { return std::exp(x); }

// What queries have got from the keys so far: the largest score, the sum of weights, the sum of weighed values.
template <class A>
struct Sums {
  A *query, *top, *weight, *value;  // [n, d], [n], [n], [n, d]
};

// `count` tokens of a head, each so many numbers behind the one before.
template <class T>
struct Span {
  const T *key, *value;
  int64_t key_stride, value_stride, count;
};

template <class A, int64_t W>
VR1_INLINE void weigh(A *sum, const A *weights, const A *values, int64_t stride, int64_t count) {
  A part[W];
  for (int64_t j = 0; j < W; ++j) part[j] = sum[j];
  for (int64_t t = 0; t < count; ++t) {
    for (int64_t j = 0; j < W; ++j) part[j] += weights[t] * values[t * stride + j];
  }
  for (int64_t j = 0; j < W; ++j) sum[j] = part[j];
}

template <class A>
VR1_INLINE A dot(const A *a, const A *b, int64_t d) {
  A sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t j = 0; j < d; ++j) sum += a[j] * b[j];
  return sum;
}

// One block of keys and values for `n` queries.
template <class A>
VR1_INLINE void block(const Sums<A> &sums, int64_t n, int64_t d, const Span<A> &span) {
  const auto [keys, values, stride, value_stride, count] = span;
  A scores[kBlock];
  for (int64_t i = 0; i < n; ++i) {
    const A *query = sums.query + i * d;
    A *value = sums.value + i * d;
    A top = sums.top[i];
    for (int64_t t = 0; t < count; ++t) scores[t] = dot(query, keys + t * stride, d);
#pragma omp simd reduction(max : top)
    for (int64_t t = 0; t < count; ++t) top = std::max(top, scores[t]);
    A weight = 0;
#pragma omp simd reduction(+ : weight)
    for (int64_t t = 0; t < count; ++t) {
      scores[t] = exponential(scores[t] - top);
      weight += scores[t];
    }
    if (top > sums.top[i]) {
      const A kept = sums.weight[i] > 0 ? exponential(sums.top[i] - top) : A(0);
      sums.weight[i] *= kept;
      sums.top[i] = top;
      for (int64_t j = 0; j < d; ++j) value[j] *= kept;
    }
    sums.weight[i] += weight;
    int64_t j = 0;
    for (; j + 64 <= d; j += 64) weigh<A, 64>(value + j, scores, values + j, value_stride, count);
    for (; j + 16 <= d; j += 16) weigh<A, 16>(value + j, scores, values + j, value_stride, count);
    for (; j < d; ++j) weigh<A, 1>(value + j, scores, values + j, value_stride, count);
  }
}

VR1_CLONES static void block_of(const Sums<float> &sums, int64_t n, int64_t d, const Span<float> &span) { block(sums, n, d, span); }

VR1_CLONES static void block_of(const Sums<double> &sums, int64_t n, int64_t d, const Span<double> &span) {
  block(sums, n, d, span);
}

template <class T, class A>
void attend_span(const Sums<A> &sums, int64_t n, int64_t d, const Span<T> &span, A *scratch) {
  for (int64_t start = 0; start < span.count; start += kBlock) {
    const Span<T> part{span.key + start * span.key_stride, span.value + start * span.value_stride, span.key_stride,
                       span.value_stride, std::min(kBlock, span.count - start)};
    if constexpr (std::is_same_v<T, A>) {
      block_of(sums, n, d, part);
    } else {
      A *keys = scratch, *values = scratch + kBlock * d;
      for (int64_t t = 0; t < part.count; ++t) {
        for (int64_t j = 0; j < d; ++j) keys[t * d + j] = static_cast<A>(part.key[t * part.key_stride + j]);
        for (int64_t j = 0; j < d; ++j) values[t * d + j] = static_cast<A>(part.value[t * part.value_stride + j]);
      }
      block_of(sums, n, d, Span<A>{keys, values, d, d, part.count});
    }
  }
}

// Calls `work` for 0 .. count on libtorch's threads, or on this one where it is little.
template <class Work>
void each(int64_t count, bool little, const Work &work) {
  auto numbers = at::arange(count, at::kLong);
  auto iterator = at::TensorIterator::nullary_op(numbers);
  iterator.for_each(
      [&](char **data, const int64_t *strides, int64_t n) {
        for (int64_t i = 0; i < n; ++i) work(*reinterpret_cast<int64_t *>(data[0] + i * strides[0]));
      },
      little ? count + 1 : 1);
}

struct RowsCall {
  const at::Tensor &query, &key, &value, &starts, &lengths, &own_key, &own_value, &own_lengths;
  int64_t longest;  // no length of `lengths` exceeds it
};

inline void check(const RowsCall &c) {
  const int64_t all = c.key.size(0), room = c.own_key.size(1);
  const auto *starts = c.starts.const_data_ptr<int32_t>(), *lengths = c.lengths.const_data_ptr<int32_t>();
  for (int64_t p = 0; p < c.lengths.size(0); ++p) {
    const int64_t start = starts[p], length = lengths[p];
    TORCH_CHECK(start >= 0 && length >= 0 && start <= all - length && length <= c.longest, "group ", p,
                " has a prefix of ", length, " keys from ", start, " on, of ", all, ", and of at most ", c.longest);
  }
  const auto *own = c.own_lengths.const_data_ptr<int32_t>();
  for (int64_t b = 0; b < c.own_lengths.size(0); ++b) {
    TORCH_CHECK(own[b] >= 0 && own[b] <= room, "row ", b, " sees ", own[b], " of ", room, " keys");
  }
}

template <class T, class A>
at::Tensor rows_on_cpu(const RowsCall &c) {
  check(c);
  const int64_t rows = c.query.size(0), heads = c.query.size(1), d = c.query.size(2), shared = c.key.size(1);
  const int64_t groups = c.lengths.size(0), group = rows / groups, repeat = heads / shared, n = group * repeat;
  auto out = at::empty_like(c.query);
  const auto *query = c.query.const_data_ptr<T>();
  auto *result = out.template data_ptr<T>();
  const auto *starts = c.starts.const_data_ptr<int32_t>(), *lengths = c.lengths.const_data_ptr<int32_t>();
  const auto *own_lengths = c.own_lengths.const_data_ptr<int32_t>();
  const auto scale = static_cast<A>(1 / std::sqrt(static_cast<double>(d)));
  int64_t pairs = 0;
  for (int64_t p = 0; p < groups; ++p) pairs += static_cast<int64_t>(lengths[p]) * group;
  for (int64_t b = 0; b < rows; ++b) pairs += own_lengths[b];
  each(groups * shared, pairs * heads * d < (1 << 16), [&](int64_t task) {
    const int64_t p = task / shared, k = task % shared;
    std::vector<A> memory(2 * n * d + 2 * n + 2 * kBlock * d, A(0));
    Sums<A> all{memory.data(), memory.data() + 2 * n * d, memory.data() + 2 * n * d + n, memory.data() + n * d};
    A *scratch = memory.data() + 2 * n * d + 2 * n;
    std::fill_n(all.top, n, -std::numeric_limits<A>::infinity());
    const auto place = [&](int64_t i) { return (((p * group + i / repeat) * heads) + k * repeat + i % repeat) * d; };
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j < d; ++j) all.query[i * d + j] = static_cast<A>(query[place(i) + j]) * scale;
    }
    const auto span = [&](const at::Tensor &key, const at::Tensor &value, int64_t first, int64_t count) {
      const auto head = [&](const at::Tensor &x) { return x.const_data_ptr<T>() + first * x.stride(0) + k * x.stride(-2); };
      return Span<T>{head(key), head(value), key.stride(-3), value.stride(-3), count};
    };
    attend_span(all, n, d, span(c.key, c.value, starts[p], lengths[p]), scratch);
    for (int64_t g = 0; g < group; ++g) {
      const int64_t b = p * group + g, i = g * repeat;
      const Sums<A> own{all.query + i * d, all.top + i, all.weight + i, all.value + i * d};
      attend_span(own, repeat, d, span(c.own_key, c.own_value, b, own_lengths[b]), scratch);
    }
    for (int64_t i = 0; i < n; ++i) {
      const A by = all.weight[i] > 0 ? 1 / all.weight[i] : A(0);
      for (int64_t j = 0; j < d; ++j) result[place(i) + j] = static_cast<T>(all.value[i * d + j] * by);
    }
  });
  return out;
}

}  // namespace vr1
