// Attention that also tells its log-sum-exp, so that results over parts of the keys can be merged, and its gradients given the
// merged result. B batch, R queries' heads a key-value head, n queries, L keys, d head size.
#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace vr1 {

enum class Mask { None, Causal };

// What computes the attention.
enum class Path : int64_t { Fused = 0, Plain = 1 };

struct Partial {
  at::Tensor out, lse;  // [B, R, n, d] and, in the kind of accumulation, [B, R, n]
};

struct Gradients {
  at::Tensor query, key, value;  // [B, R, n, d] and, in the kind of accumulation, [B, L, d]
};

// The kind that softmax and sums are computed in.
inline at::ScalarType accumulation(at::ScalarType kind) { return kind == at::kDouble ? at::kDouble : at::kFloat; }

// The numbers of a head side by side, as the fused kernels read them.
inline at::Tensor laid_out(const at::Tensor &x) { return x.stride(-1) == 1 ? x : x.contiguous(); }

// The scores a plain computation holds at a time.
constexpr int64_t kScores = int64_t{1} << 22;

// Scores of the queries `start .. start + count` over the keys they may see, [B, R·count, L'], in the kind of accumulation.
inline at::Tensor plain_scores(const at::Tensor &query, const at::Tensor &key, Mask mask, int64_t start) {
  const int64_t rows = query.size(1), count = query.size(2), keys = key.size(1);
  auto scores = at::bmm(query.reshape({query.size(0), rows * count, query.size(3)}), key.transpose(1, 2));
  scores.div_(std::sqrt(static_cast<double>(query.size(3))));
  if (mask == Mask::Causal) {
    const auto hidden = at::ones({count, keys}, scores.options().dtype(at::kBool)).triu(start + 1);
    scores.view({-1, rows, count, keys}).masked_fill_(hidden, -std::numeric_limits<double>::infinity());
  }
  return scores;
}

// Calls `part(start, count, keys)` for stretches of the queries whose scores fit.
template <class Part>
void in_stretches(const at::Tensor &query, int64_t keys, Mask mask, const Part &part) {
  const int64_t queries = query.size(2);
  const int64_t stretch = std::max<int64_t>(1, kScores / (query.size(0) * query.size(1) * keys));
  for (int64_t start = 0; start < queries; start += stretch) {
    const int64_t count = std::min(stretch, queries - start);
    part(start, count, mask == Mask::Causal ? start + count : keys);
  }
}

inline Partial plain(const at::Tensor &query, const at::Tensor &key, const at::Tensor &value, Mask mask) {
  const auto kind = accumulation(query.scalar_type());
  const auto k = key.squeeze(1).to(kind), v = value.squeeze(1).to(kind);
  auto out = at::empty(query.sizes(), query.options());
  auto lse = at::empty({query.size(0), query.size(1), query.size(2)}, query.options().dtype(kind));
  in_stretches(query, k.size(1), mask, [&](int64_t start, int64_t count, int64_t keys) {
    const auto q = query.narrow(2, start, count).to(kind);
    auto scores = plain_scores(q, k.narrow(1, 0, keys), mask, start);
    const auto normalizer = scores.logsumexp(-1, true);
    const auto p = scores.sub_(normalizer).exp_();
    out.narrow(2, start, count).copy_(at::bmm(p, v.narrow(1, 0, keys)).view(q.sizes()));
    lse.narrow(2, start, count).copy_(normalizer.view({q.size(0), q.size(1), count}));
  });
  return {out, lse};
}

inline Gradients plain_backward(const at::Tensor &gradient, const at::Tensor &query, const at::Tensor &key,
                                const at::Tensor &value, const Partial &merged, Mask mask) {
  const auto kind = accumulation(query.scalar_type());
  const auto k = key.squeeze(1).to(kind), v = value.squeeze(1).to(kind);
  Gradients out{at::empty(query.sizes(), query.options()), at::zeros_like(k), at::zeros_like(v)};
  const double scale = 1 / std::sqrt(static_cast<double>(query.size(3)));
  in_stretches(query, k.size(1), mask, [&](int64_t start, int64_t count, int64_t keys) {
    const auto part = [&](const at::Tensor &x) { return x.narrow(2, start, count).to(kind); };
    const auto rows = [&](const at::Tensor &x) { return x.reshape({x.size(0), x.size(1) * count, -1}); };
    const auto q = part(query), g = part(gradient);
    const auto k_part = k.narrow(1, 0, keys), v_part = v.narrow(1, 0, keys);
    const auto p = plain_scores(q, k_part, mask, start).sub_(rows(part(merged.lse))).exp_();
    const auto d = (g * part(merged.out)).sum(-1);
    const auto ds = at::bmm(rows(g), v_part.transpose(1, 2)).sub_(rows(d)).mul_(p).mul_(scale);
    out.query.narrow(2, start, count).copy_(at::bmm(ds, k_part).view(q.sizes()));
    out.key.narrow(1, 0, keys).add_(at::bmm(ds.transpose(1, 2), rows(q)));
    out.value.narrow(1, 0, keys).add_(at::bmm(p.transpose(1, 2), rows(g)));
  });
  return out;
}

// The fused kernel of the CPU, to which keys and values of a head are given as often as it has queries' heads, with a stride of 0.
inline at::Tensor for_heads(const at::Tensor &x, int64_t heads) { return x.expand({-1, heads, -1, -1}); }

inline Partial attention(const at::Tensor &query, const at::Tensor &key, const at::Tensor &value, Mask mask, Path path) {
  if (path == Path::Plain) return plain(query, key, value, mask);
  const int64_t heads = query.size(1);
  auto [out, lse] = at::_scaled_dot_product_flash_attention_for_cpu(query, for_heads(key, heads), for_heads(value, heads), 0.0,
                                                                    mask == Mask::Causal);
  return {std::move(out), std::move(lse)};
}

// Exact for the part of the keys that `key` and `value` are, where `merged` is the result over all of them.
inline Gradients attention_backward(const at::Tensor &gradient, const at::Tensor &query, const at::Tensor &key,
                                    const at::Tensor &value, const Partial &merged, Mask mask, Path path) {
  if (path == Path::Plain) return plain_backward(gradient, query, key, value, merged, mask);
  const int64_t heads = query.size(1);
  auto [for_query, for_key, for_value] = at::_scaled_dot_product_flash_attention_for_cpu_backward(
      gradient, query, for_heads(key, heads), for_heads(value, heads), merged.out, merged.lse, 0.0, mask == Mask::Causal);
  const auto summed = [&](const at::Tensor &x) { return x.sum(1, false, accumulation(query.scalar_type())); };
  return {std::move(for_query), summed(for_key), summed(for_value)};
}

// Merges `other` into `into`, where both are over the same queries: out [.., d], lse [..].
inline void merge(const Partial &into, const Partial &other) {
  const auto kind = into.lse.scalar_type();
  // The share of `other`; where neither saw a key, none.
  const auto share = at::sigmoid(other.lse - into.lse)
                         .masked_fill_(other.lse == -std::numeric_limits<double>::infinity(), 0)
                         .unsqueeze(-1);
  if (into.out.scalar_type() == kind) {
    into.out.lerp_(other.out, share);
  } else {
    into.out.copy_(at::lerp(into.out.to(kind), other.out.to(kind), share));
  }
  into.lse.copy_(at::logaddexp(into.lse, other.lse));
}

}  // namespace vr1
