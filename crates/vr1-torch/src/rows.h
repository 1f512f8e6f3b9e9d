// Attention of rows of decoding on the CPU, in one pass over the keys: what a row gets is computed by the same operations whatever
// rows stand beside it. P groups, G rows of each, B = P·G, H heads, K key-value heads, R = H / K, d head size, N keys of all
// prompts, C room for own keys.
#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "parallel.h"

#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__)
#define VR1_CLONES __attribute__((target_clones("avx512f", "arch=haswell", "default")))
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

// Numbers that are computed at once.
template <class A>
struct Pack {
  typedef A type __attribute__((vector_size(64)));
  static constexpr int64_t size = 64 / sizeof(A);
};

template <class A>
VR1_INLINE typename Pack<A>::type load(const A *x) {
  typename Pack<A>::type pack;
  __builtin_memcpy(&pack, x, sizeof pack);
  return pack;
}

// Adds to `Q` rows of `V` packs, `sum_stride` apart, Σ_t a[t] · b[t], where a row's `a[t]` are `a_step` apart, and rows of `a` `a_stride`.
template <class A, int64_t Q, int64_t V>
VR1_INLINE void add_products(A *sum, int64_t sum_stride, const A *a, int64_t a_stride, const A *b, int64_t b_stride, int64_t count) {
  using P = typename Pack<A>::type;
  P part[Q][V];
#pragma GCC unroll 8
  for (int64_t q = 0; q < Q; ++q) {
#pragma GCC unroll 8
    for (int64_t v = 0; v < V; ++v) part[q][v] = load(sum + q * sum_stride + v * Pack<A>::size);
  }
  for (int64_t t = 0; t < count; ++t) {
    P other[V];
#pragma GCC unroll 8
    for (int64_t v = 0; v < V; ++v) other[v] = load(b + t * b_stride + v * Pack<A>::size);
#pragma GCC unroll 8
    for (int64_t q = 0; q < Q; ++q) {
      const A x = a[q * a_stride + t];
#pragma GCC unroll 8
      for (int64_t v = 0; v < V; ++v) part[q][v] += x * other[v];
    }
  }
#pragma GCC unroll 8
  for (int64_t q = 0; q < Q; ++q) {
#pragma GCC unroll 8
    for (int64_t v = 0; v < V; ++v) __builtin_memcpy(sum + q * sum_stride + v * Pack<A>::size, &part[q][v], sizeof(P));
  }
}

// The same over `width` numbers of each of `Q` rows.
template <class A, int64_t Q>
VR1_INLINE void add_rows(A *sum, int64_t sum_stride, const A *a, int64_t a_stride, const A *b, int64_t b_stride, int64_t count,
                         int64_t width) {
  constexpr int64_t pack = Pack<A>::size;
  int64_t j = 0;
  for (; j + 4 * pack <= width; j += 4 * pack) {
    add_products<A, Q, 4>(sum + j, sum_stride, a, a_stride, b + j, b_stride, count);
  }
  for (; j + pack <= width; j += pack) add_products<A, Q, 1>(sum + j, sum_stride, a, a_stride, b + j, b_stride, count);
  for (; j < width; ++j) {
    for (int64_t q = 0; q < Q; ++q) {
      A part = sum[q * sum_stride + j];
      for (int64_t t = 0; t < count; ++t) part += a[q * a_stride + t] * b[t * b_stride + j];
      sum[q * sum_stride + j] = part;
    }
  }
}

template <class A>
VR1_INLINE A dot(const A *a, const A *b, int64_t d) {
  A sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t j = 0; j < d; ++j) sum += a[j] * b[j];
  return sum;
}

// The same for many at once; the compiler makes no such of a loop.
VR1_INLINE Pack<float>::type exponential(Pack<float>::type x) {
  using P = Pack<float>::type;
  typedef int32_t I __attribute__((vector_size(64)));
  const P least = P{} - 87.0f;
  const I below = x < least;
  const P kept = below ? least : x;
  const P n = (kept * 1.44269504f + 12582912.0f) - 12582912.0f;  // to the nearest whole number
  const P r = kept - n * 0.693359375f + n * 2.12194440e-4f;
  P y = P{} + 1.9875691500e-4f;
  y = y * r + 1.3981999507e-3f;
  y = y * r + 8.3334519073e-3f;
  y = y * r + 4.1665795894e-2f;
  y = y * r + 1.6666665459e-1f;
  y = y * r + 5.0000001201e-1f;
  y = y * r * r + r + 1.0f;
  const I bits = (__builtin_convertvector(n, I) + 127) << 23;
  P power;
  __builtin_memcpy(&power, &bits, sizeof power);
  return below ? P{} : y * power;
}

VR1_INLINE Pack<double>::type exponential(Pack<double>::type x) {
  for (int64_t i = 0; i < Pack<double>::size; ++i) x[i] = std::exp(x[i]);
  return x;
}

// The largest of a block's scores.
template <class A>
VR1_INLINE A largest_of(const A *x) {
  auto most = load(x);
  for (int64_t t = Pack<A>::size; t < kBlock; t += Pack<A>::size) {
    const auto other = load(x + t);
    most = most > other ? most : other;
  }
  A top = most[0];
  for (int64_t i = 1; i < Pack<A>::size; ++i) top = std::max<A>(top, most[i]);
  return top;
}

// A block's scores made into weights, and their sum.
template <class A>
VR1_INLINE A weights_of(A *x, A top) {
  typename Pack<A>::type sum = {};
  for (int64_t t = 0; t < kBlock; t += Pack<A>::size) {
    const auto weights = exponential(load(x + t) - top);
    __builtin_memcpy(x + t, &weights, sizeof weights);
    sum += weights;
  }
  A whole = 0;
  for (int64_t i = 0; i < Pack<A>::size; ++i) whole += sum[i];
  return whole;
}

// One block of keys and values for `Q` queries; in `turned`, if there is one, the keys lie number by number, [d, kBlock].
template <class A, int64_t Q>
VR1_INLINE void some(const Sums<A> &sums, int64_t first, int64_t d, const A *turned, const Span<A> &span) {
  const int64_t count = span.count;
  A scores[Q * kBlock] = {};
  if (turned) {
    add_rows<A, Q>(scores, kBlock, sums.query + first * d, d, turned, kBlock, d, kBlock);
  } else {
    for (int64_t q = 0; q < Q; ++q) {
      for (int64_t t = 0; t < count; ++t) {
        scores[q * kBlock + t] = dot(sums.query + (first + q) * d, span.key + t * span.key_stride, d);
      }
    }
  }
  for (int64_t q = 0; q < Q; ++q) {
    A *of = scores + q * kBlock, *value = sums.value + (first + q) * d;
    A &before = sums.top[first + q];
    std::fill(of + count, of + kBlock, -std::numeric_limits<A>::infinity());
    const A top = std::max(before, largest_of(of));
    const A weight = weights_of(of, top);
    if (top > before) {
      const A kept = sums.weight[first + q] > 0 ? exponential(before - top) : A(0);
      sums.weight[first + q] *= kept;
      before = top;
      for (int64_t j = 0; j < d; ++j) value[j] *= kept;
    }
    sums.weight[first + q] += weight;
  }
  add_rows<A, Q>(sums.value + first * d, d, scores, kBlock, span.value, span.value_stride, count, d);
}

// One block of keys and values for `n` queries. The keys are turned where there is room for that.
template <class A>
VR1_INLINE void block(const Sums<A> &sums, int64_t n, int64_t d, const Span<A> &span, A *turned) {
  for (int64_t t = 0; turned && t < span.count; ++t) {
    for (int64_t j = 0; j < d; ++j) turned[j * kBlock + t] = span.key[t * span.key_stride + j];
  }
  int64_t i = 0;
  for (; i + 4 <= n; i += 4) some<A, 4>(sums, i, d, turned, span);
  for (; i < n; ++i) some<A, 1>(sums, i, d, turned, span);
}

VR1_CLONES static void block_of(const Sums<float> &sums, int64_t n, int64_t d, const Span<float> &span,
                                float *turned) {
  block(sums, n, d, span, turned);
}

VR1_CLONES static void block_of(const Sums<double> &sums, int64_t n, int64_t d, const Span<double> &span,
                                double *turned) {
  block(sums, n, d, span, turned);
}

// Whether a span's keys are worth turning: for how many queries is said by what the span is, not by who sits beside a row.
enum class Turn { Yes, No };

template <class T, class A>
void attend_span(const Sums<A> &sums, int64_t n, int64_t d, const Span<T> &span, Turn turn, A *scratch) {
  A *keys = scratch, *values = keys + kBlock * d, *turned = turn == Turn::Yes ? values + kBlock * d : nullptr;
  for (int64_t start = 0; start < span.count; start += kBlock) {
    const Span<T> part{span.key + start * span.key_stride, span.value + start * span.value_stride, span.key_stride,
                       span.value_stride, std::min(kBlock, span.count - start)};
    if constexpr (std::is_same_v<T, A>) {
      block_of(sums, n, d, part, turned);
    } else {
      for (int64_t t = 0; t < part.count; ++t) {
        for (int64_t j = 0; j < d; ++j) keys[t * d + j] = static_cast<A>(part.key[t * part.key_stride + j]);
        for (int64_t j = 0; j < d; ++j) values[t * d + j] = static_cast<A>(part.value[t * part.value_stride + j]);
      }
      block_of(sums, n, d, Span<A>{keys, values, d, d, part.count}, turned);
    }
  }
}

// Calls `work` for 0 .. count on libtorch's threads, or on this one where it is little.
template <class Work>
void each(int64_t count, bool little, const Work &work) {
  parallel(count, little ? count : 1, [&](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; ++i) work(i);
  });
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
  const auto few = repeat < 4 ? Turn::No : Turn::Yes;
  const auto scale = static_cast<A>(1 / std::sqrt(static_cast<double>(d)));
  int64_t pairs = 0;
  for (int64_t p = 0; p < groups; ++p) pairs += static_cast<int64_t>(lengths[p]) * group;
  for (int64_t b = 0; b < rows; ++b) pairs += own_lengths[b];
  each(groups * shared, pairs * heads * d < (1 << 16), [&](int64_t task) {
    const int64_t p = task / shared, k = task % shared;
    std::vector<A> memory(2 * n * d + 2 * n + 3 * kBlock * d, A(0));
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
    attend_span(all, n, d, span(c.key, c.value, starts[p], lengths[p]), Turn::Yes, scratch);
    for (int64_t g = 0; g < group; ++g) {
      const int64_t b = p * group + g, i = g * repeat;
      const Sums<A> own{all.query + i * d, all.top + i, all.weight + i, all.value + i * d};
      attend_span(own, repeat, d, span(c.own_key, c.own_value, b, own_lengths[b]), few, scratch);
    }
    for (int64_t i = 0; i < n; ++i) {
      const A by = all.weight[i] > 0 ? 1 / all.weight[i] : A(0);
      for (int64_t j = 0; j < d; ++j) result[place(i) + j] = static_cast<T>(all.value[i * d + j] * by);
    }
  });
  return out;
}

}  // namespace vr1
