// Attention of groups in dense calls: a call for each long segment, one for each bucket of short ones, one for the suffixes of a
// group over their prefix. N tokens, H heads, K key-value heads, R = H / K, d head size, S segments of a bucket, T its length.
#pragma once

#include <array>
#include <vector>

#include "attention_kernels.h"
#include "attention_plan.h"

namespace vr1 {

// [n, K·R, ..] as [K, R, n, ..]; nothing is copied.
inline at::Tensor by_head(const at::Tensor &x, int64_t heads) {
  const auto split = x.unflatten(1, {heads, x.size(1) / heads});
  return split.dim() == 4 ? split.permute({1, 2, 0, 3}) : split.permute({1, 2, 0});
}

inline at::Tensor by_head(const at::Tensor &x, const Segment &segment, int64_t heads) {
  return by_head(x.narrow(0, segment.start, segment.length), heads);
}

// [N, K·R, ..] as [N·K, R..]: the rows of a bucket.
inline at::Tensor by_row(const at::Tensor &x, int64_t heads) { return x.reshape({x.size(0) * heads, -1}); }

// Rows [N·K, R·d] as the padded segments of a bucket, [S·K, R, T, d]; with numbers of one a head, [N·K, R] as [S·K, R, T].
inline at::Tensor gather(const at::Tensor &rows, const Bucket &bucket, at::IntArrayRef head) {
  std::vector<int64_t> sizes{-1, bucket.length};
  sizes.insert(sizes.end(), head.begin(), head.end());
  return rows.index_select(0, bucket.padded).view(sizes).transpose(1, 2);
}

// The inverse: `segments` [S·K, R, T, ..] go to `rows`.
inline void scatter(const at::Tensor &rows, const at::Tensor &segments, const Bucket &bucket) {
  auto flat = segments.transpose(1, 2).reshape({-1, rows.size(1)});
  if (bucket.places.defined()) flat = flat.index_select(0, bucket.places);
  rows.index_copy_(0, bucket.rows, flat);
}

// Output [N, H, d] and its log-sum-exp [N, H].
inline Partial dense(const at::Tensor &query, const at::Tensor &key, const at::Tensor &value, Plan &plan, Path path) {
  const int64_t heads = key.size(1), d = query.size(2);
  const auto options = query.options();
  const Partial out{at::empty(query.sizes(), options),
                    at::empty({query.size(0), query.size(1)}, options.dtype(accumulation(query.scalar_type())))};
  const auto of = [&](const Segment &segment) {
    return Partial{by_head(out.out, segment, heads), by_head(out.lse, segment, heads)};
  };
  const auto attend = [&](const Segment &queries, const Segment &keys, Mask mask) {
    return attention(by_head(query, queries, heads), by_head(key, keys, heads), by_head(value, keys, heads), mask, path);
  };
  for (const auto &segment : plan.alone()) {
    const auto part = attend(segment, segment, Mask::Causal);
    of(segment).out.copy_(part.out);
    of(segment).lse.copy_(part.lse);
  }
  const auto &buckets = plan.buckets(heads, query.device());
  if (!buckets.empty()) {
    const auto q = by_row(query, heads), k = by_row(key, heads), v = by_row(value, heads);
    const std::array<int64_t, 2> own{query.size(1) / heads, d}, one{1, d};
    for (const auto &bucket : buckets) {
      const auto part = attention(gather(q, bucket, own), gather(k, bucket, one), gather(v, bucket, one), Mask::Causal, path);
      scatter(by_row(out.out, heads), part.out, bucket);
      scatter(by_row(out.lse, heads), part.lse, bucket);
    }
  }
  for (const auto &group : plan.groups()) merge(of(group.suffixes), attend(group.suffixes, group.prefix, Mask::None));
  return out;
}

// Gradients [N, H, d], [N, K, d], [N, K, d], all in the kind of the inputs.
inline Gradients dense_backward(const at::Tensor &gradient, const at::Tensor &query, const at::Tensor &key, const at::Tensor &value,
                                const Partial &merged, Plan &plan, Path path) {
  const int64_t heads = key.size(1), d = query.size(2);
  const auto kind = accumulation(query.scalar_type());
  const auto like = [&](const at::Tensor &x) { return at::empty(x.sizes(), x.options().dtype(kind)); };
  const Gradients out{at::empty(query.sizes(), query.options()), like(key), like(value)};
  const auto attend = [&](const Segment &queries, const Segment &keys, Mask mask) {
    const Partial whole{by_head(merged.out, queries, heads), by_head(merged.lse, queries, heads)};
    return attention_backward(by_head(gradient, queries, heads), by_head(query, queries, heads), by_head(key, keys, heads),
                              by_head(value, keys, heads), whole, mask, path);
  };
  // [K, L, d] is where the gradient of keys lies, [L, K, d].
  const auto of_keys = [](const at::Tensor &x, const Segment &keys) {
    return x.narrow(0, keys.start, keys.length).transpose(0, 1);
  };
  for (const auto &segment : plan.alone()) {
    const auto part = attend(segment, segment, Mask::Causal);
    by_head(out.query, segment, heads).copy_(part.query);
    of_keys(out.key, segment).copy_(part.key);
    of_keys(out.value, segment).copy_(part.value);
  }
  const auto &buckets = plan.buckets(heads, query.device());
  if (!buckets.empty()) {
    const auto rows = [&](const at::Tensor &x) { return by_row(x, heads); };
    const auto q = rows(query), k = rows(key), v = rows(value), g = rows(gradient), o = rows(merged.out), l = rows(merged.lse);
    const std::array<int64_t, 2> own{query.size(1) / heads, d}, one{1, d};
    for (const auto &bucket : buckets) {
      // A padded query is a copy of one that is none, so that no weight of it exceeds 1; its gradient is 0, and so is all it gives.
      const Partial whole{gather(o, bucket, own), gather(l, bucket, own[0])};
      auto from = g.index_select(0, bucket.padded);
      if (bucket.padding.defined()) from.index_fill_(0, bucket.padding, 0);
      const auto part = attention_backward(from.view({-1, bucket.length, own[0], d}).transpose(1, 2), gather(q, bucket, own),
                                           gather(k, bucket, one), gather(v, bucket, one), whole, Mask::Causal, path);
      scatter(rows(out.query), part.query, bucket);
      scatter(rows(out.key), part.key.unsqueeze(1), bucket);
      scatter(rows(out.value), part.value.unsqueeze(1), bucket);
    }
  }
  for (const auto &group : plan.groups()) {
    const auto part = attend(group.suffixes, group.prefix, Mask::None);
    by_head(out.query, group.suffixes, heads).add_(part.query);
    of_keys(out.key, group.prefix).add_(part.key);
    of_keys(out.value, group.prefix).add_(part.value);
  }
  return {out.query, out.key.to(key.scalar_type()), out.value.to(value.scalar_type())};
}

}  // namespace vr1
