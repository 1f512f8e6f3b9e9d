// A layer of a decoder for a token a row, on the CPU in f32: the operations between two products are one pass each. P groups, G rows
// of each, B = P·G, D hidden, F inside the feed-forward layer, H heads, K key-value heads, d head size, C room of a row.
#pragma once

#include <ATen/ATen.h>
#include <ATen/ops/mm.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "few_rows.h"
#include "rows.h"

namespace vr1 {

// What a layer is made of and what its tokens see, as the Rust side lays it out. Biases may be nullptr.
struct Layer {
  const at::Tensor *norm, *qkv, *qkv_bias, *output, *output_bias, *mlp_norm, *gate_up, *gate_up_bias, *down, *down_bias;
  const at::Tensor *cos, *sin, *keys, *values, *starts, *lengths, *own_keys, *own_values, *own_lengths, *places;
  int64_t longest, heads, shared, d;
  double epsilon, mlp_epsilon;
};

// silu(gate) · up, in the place of `gate`.
VR1_CLONES static void gate_row(float *gate, const float *up, int64_t count) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) {
    const float x = gate[i], e = exponential(-std::fabs(x));
    gate[i] = x * (x < 0 ? e : 1.0f) / (1.0f + e) * up[i];
  }
}

// x += y + bias, and to `normed` the root-mean-square norm of x.
VR1_CLONES static void add_norm_row(float *x, const float *y, const float *bias, const float *weight, double epsilon, float *normed,
                                    int64_t size) {
  float squares = 0;
  if (y) {
#pragma omp simd
    for (int64_t i = 0; i < size; ++i) x[i] += y[i];
  }
  if (bias) {
#pragma omp simd
    for (int64_t i = 0; i < size; ++i) x[i] += bias[i];
  }
  if (!normed) return;
#pragma omp simd reduction(+ : squares)
  for (int64_t i = 0; i < size; ++i) squares += x[i] * x[i];
  const auto by = static_cast<float>(1 / std::sqrt(static_cast<double>(squares) / static_cast<double>(size) + epsilon));
#pragma omp simd
  for (int64_t i = 0; i < size; ++i) normed[i] = x[i] * by * weight[i];
}

// A head of `d` numbers and its bias, rotated.
VR1_CLONES static void rotate_head(const float *x, const float *bias, const float *cos, const float *sin, float *to, int64_t d) {
  const int64_t half = d / 2;
#pragma omp simd
  for (int64_t i = 0; i < half; ++i) {
    const float a = x[i] + (bias ? bias[i] : 0.0f), b = x[i + half] + (bias ? bias[i + half] : 0.0f);
    to[i] = a * cos[i] - b * sin[i];
    to[i + half] = b * cos[i + half] + a * sin[i + half];
  }
}

class DecodeLayer {
 public:
  DecodeLayer(const at::Tensor &x, const Layer &layer)
      : layer_(layer), x_(x.clone()), normed_(at::empty_like(x)), rows_(x.size(0)), hidden_(x.size(1)) {}

  // What the stream `x` is behind the layer.
  at::Tensor run() {
    settle(at::Tensor(), nullptr, layer_.norm, layer_.epsilon);
    const auto seen = attend(product(normed_, *layer_.qkv));
    settle(product(seen, *layer_.output), layer_.output_bias, layer_.mlp_norm, layer_.mlp_epsilon);
    settle(product(gated(), *layer_.down), layer_.down_bias, nullptr, 0);
    return x_;
  }

 private:
  static const float *pointer(const at::Tensor *x) { return x ? x->const_data_ptr<float>() : nullptr; }

  // Adds to the stream, and norms it for what comes next.
  void settle(const at::Tensor &added, const at::Tensor *added_bias, const at::Tensor *norm, double epsilon) {
    auto *x = x_.mutable_data_ptr<float>(), *normed = norm ? normed_.mutable_data_ptr<float>() : nullptr;
    const float *y = added.defined() ? pointer(&added) : nullptr, *bias = pointer(added_bias), *weight = pointer(norm);
    parallel(rows_, std::max<int64_t>(1, (1 << 14) / hidden_), [&](int64_t from, int64_t to) {
      for (int64_t row = from; row < to; ++row) {
        const int64_t at = row * hidden_;
        add_norm_row(x + at, y ? y + at : nullptr, bias, weight, epsilon, normed ? normed + at : nullptr, hidden_);
      }
    });
  }

  static at::Tensor product(const at::Tensor &x, const at::Tensor &weight) {
    const int64_t rows = x.size(0), inputs = weight.size(1), outputs = weight.size(0);
    if (!takes_few_rows(rows)) return at::mm(x, weight.t());
    auto y = at::empty({rows, outputs}, x.options());
    const auto *from_x = x.const_data_ptr<float>(), *w = weight.const_data_ptr<float>();
    auto *to_y = y.mutable_data_ptr<float>();
    parallel(outputs, few_rows_grain(inputs),
             [&](int64_t from, int64_t to) { few_rows(from_x, w, to_y, rows, inputs, outputs, from, to); });
    return y;
  }

  // Queries rotated, keys rotated and values put into their places; what is seen of them, [B, H·d].
  at::Tensor attend(const at::Tensor &qkv) {
    const int64_t heads = layer_.heads, shared = layer_.shared, d = layer_.d, width = (heads + 2 * shared) * d;
    auto query = at::empty({rows_, heads, d}, x_.options());
    const auto *from_qkv = qkv.const_data_ptr<float>(), *bias = pointer(layer_.qkv_bias);
    const auto *cos = pointer(layer_.cos), *sin = pointer(layer_.sin);
    const auto *places = layer_.places->const_data_ptr<int32_t>();
    auto *to_query = query.mutable_data_ptr<float>(), *key = layer_.own_keys->mutable_data_ptr<float>();
    auto *value = layer_.own_values->mutable_data_ptr<float>();
    const int64_t room = layer_.own_keys->size(1);
    parallel(rows_, std::max<int64_t>(1, (1 << 14) / width), [&](int64_t from, int64_t to) {
      for (int64_t row = from; row < to; ++row) {
        const float *c = cos + row * d, *s = sin + row * d, *x = from_qkv + row * width;
        const auto of = [&](int64_t head) { return bias ? bias + head * d : nullptr; };
        for (int64_t head = 0; head < heads; ++head) rotate_head(x + head * d, of(head), c, s, to_query + (row * heads + head) * d, d);
        const int64_t place = places[row];
        if (place < 0 || place >= room) continue;  // a place outside of it takes nothing
        const int64_t at = (row * room + place) * shared * d;
        for (int64_t head = 0; head < shared; ++head) {
          rotate_head(x + (heads + head) * d, of(heads + head), c, s, key + at + head * d, d);
          const float *v = x + (heads + shared + head) * d, *b = of(heads + shared + head);
          for (int64_t i = 0; i < d; ++i) value[at + head * d + i] = v[i] + (b ? b[i] : 0.0f);
        }
      }
    });
    const RowsCall call{query,           *layer_.keys,       *layer_.values,      *layer_.starts, *layer_.lengths,
                        *layer_.own_keys, *layer_.own_values, *layer_.own_lengths, layer_.longest};
    return rows_on_cpu<float, float>(call).view({rows_, heads * d});
  }

  // act(gate) · up of the normed stream, [B, F].
  at::Tensor gated() {
    const int64_t inside = layer_.gate_up->size(0) / 2;
    auto inner = at::empty({rows_, inside}, x_.options());
    auto *to_inner = inner.mutable_data_ptr<float>();
    const float *bias = pointer(layer_.gate_up_bias), *w = pointer(layer_.gate_up), *x = pointer(&normed_);
    const bool few = takes_few_rows(rows_);
    at::Tensor both = few ? at::empty({rows_, 2 * inside}, x_.options()) : at::mm(normed_, layer_.gate_up->t());
    auto *y = both.mutable_data_ptr<float>();
    parallel(inside, few_rows_grain(2 * hidden_), [&](int64_t from, int64_t to) {
      if (few) {
        few_rows(x, w, y, rows_, hidden_, 2 * inside, from, to);
        few_rows(x, w, y, rows_, hidden_, 2 * inside, inside + from, inside + to);
      }
      for (int64_t row = 0; row < rows_; ++row) {
        float *gate = y + row * 2 * inside + from, *up = gate + inside;
        if (bias) {
          for (int64_t i = 0; i < to - from; ++i) gate[i] += bias[from + i], up[i] += bias[inside + from + i];
        }
        gate_row(gate, up, to - from);
        std::memcpy(to_inner + row * inside + from, gate, (to - from) * sizeof(float));
      }
    });
    return inner;
  }

  const Layer &layer_;
  at::Tensor x_, normed_;
  const int64_t rows_, hidden_;
};

}  // namespace vr1
