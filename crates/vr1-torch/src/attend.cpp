// Attention without gradients that tells its log-sum-exp. B batch, T queries, S keys, H heads, K key-value heads, R = H / K, d head size.
#include <ATen/ATen.h>

#include <vector>

#include "attention_kernels.h"
#include "attention_ragged.h"
#include "message.h"
#include "rows.h"

namespace {

using vr1::laid_out;
using vr1::Partial;
using vr1::Path;

constexpr double kHidden = -std::numeric_limits<double>::infinity();

// Products of [B, K, ..] in the kind of accumulation. `b` is not copied: where its two leading dimensions cannot be seen as one,
// it is a product a head.
at::Tensor product(const at::Tensor &a, const at::Tensor &b) {
  const auto kind = vr1::accumulation(a.scalar_type());
  const auto bmm = [&](const at::Tensor &x, const at::Tensor &y) {
    if (x.scalar_type() == kind) return at::bmm(x, y);
    return x.is_cuda() ? at::bmm(x, y, kind) : at::bmm(x.to(kind), y.to(kind));
  };
  const int64_t batch = b.size(0), heads = b.size(1);
  if (batch == 1 || heads == 1 || b.stride(0) == heads * b.stride(1)) {
    return bmm(a.flatten(0, 1), b.flatten(0, 1)).unflatten(0, {batch, heads});
  }
  std::vector<at::Tensor> parts;
  for (int64_t head = 0; head < heads; ++head) parts.push_back(bmm(a.select(1, head), b.select(1, head)));
  return at::stack(parts, 1);
}

// [B, K, n, d] over [B, K, S, d].
Partial plain(const at::Tensor &query, const at::Tensor &key, const at::Tensor &value, const std::optional<at::Tensor> &mask) {
  auto scores = product(query, key.transpose(2, 3)).div_(std::sqrt(static_cast<double>(query.size(3))));
  if (mask) scores.add_(*mask);
  const auto lse = scores.logsumexp(-1);
  const auto p = scores.sub_(lse.masked_fill(lse == kHidden, 0).unsqueeze(-1)).exp_();
  return {product(p.to(value.scalar_type()), value).to(query.scalar_type()), lse};
}

Partial fused(const at::Tensor &query, const at::Tensor &key, const at::Tensor &value, const std::optional<at::Tensor> &mask) {
  auto [out, lse] = at::_scaled_dot_product_flash_attention_for_cpu(query, key, value, 0.0, false, mask);
  // The kernel says 0 where a query sees no key.
  if (mask) lse.masked_fill_((*mask == kHidden).all(-1), kHidden);
  return {out, lse};
}

// [B, T, H, d] over [B, S, K, d], to [B, T, H, d] and [B, H, T].
Partial attend(const at::Tensor &query, const at::Tensor &key, const at::Tensor &value, std::optional<at::Tensor> mask, Path path) {
  const int64_t batch = query.size(0), length = query.size(1), heads = key.size(2), d = query.size(3);
  const int64_t rows = query.size(2) / heads;
  const auto kind = vr1::accumulation(query.scalar_type());
  if (key.size(1) == 0 || query.numel() == 0) {
    const auto lse = at::full({batch, query.size(2), length}, kHidden, query.options().dtype(kind));
    return {at::zeros_like(query), lse};
  }
  const auto k = laid_out(key), v = laid_out(value);
  if (!mask && path == Path::Fused && vr1::fused_on_cuda(query)) {
    auto result = at::_flash_attention_forward(laid_out(query), k, v, {}, {}, length, k.size(1), 0.0, false, false);
    return {std::get<0>(result), std::get<1>(result)};
  }
  // The heads that share keys are queries of one head: [B, K, T·R, d].
  const auto q = query.unflatten(2, {heads, rows}).transpose(1, 2).reshape({batch, heads, length * rows, d});
  if (mask) {
    if (mask->scalar_type() != query.scalar_type()) mask = mask->to(kind);
    if (mask->size(2) > 1) mask = mask->unsqueeze(3).expand({-1, -1, -1, rows, -1}).flatten(2, 3);
    if (mask->stride(3) != 1) mask = mask->contiguous();
  }
  const bool on_cpu = path == Path::Fused && !query.is_cuda();
  const auto [out, lse] = (on_cpu ? fused : plain)(q, k.transpose(1, 2), v.transpose(1, 2), mask);
  return {out.unflatten(2, {length, rows}).transpose(1, 2).reshape({batch, length, heads * rows, d}),
          lse.unflatten(2, {length, rows}).transpose(2, 3).reshape({batch, heads * rows, length})};
}

// Tokens over themselves up to each, [B, T, H, d] and [B, H, T].
Partial attend_causally(const at::Tensor &query, const at::Tensor &key, const at::Tensor &value, Path path) {
  const int64_t batch = query.size(0), length = query.size(1), heads = key.size(2);
  const auto k = laid_out(key), v = laid_out(value);
  if (query.numel() == 0) return attend(query, k, v, std::nullopt, path);
  if (path == Path::Fused && vr1::fused_on_cuda(query)) {
    auto result = at::_flash_attention_forward(laid_out(query), k, v, {}, {}, length, length, 0.0, true, false);
    return {std::get<0>(result), std::get<1>(result)};
  }
  if (query.is_cuda()) path = Path::Plain;
  const auto by_head = [&](const at::Tensor &x) {  // [B·K, R | 1, T, d]
    return x.unflatten(2, {heads, -1}).permute({0, 2, 3, 1, 4}).flatten(0, 1);
  };
  const auto part = vr1::attention(by_head(query), by_head(k), by_head(v), vr1::Mask::Causal, path);
  return {part.out.unflatten(0, {batch, heads}).flatten(1, 2).transpose(1, 2).contiguous(),
          part.lse.unflatten(0, {batch, heads}).flatten(1, 2).contiguous()};
}

// Rows on a GPU: the queries of a group over its prompt, each row over its own keys, merged.
at::Tensor rows_on_cuda(const vr1::RowsCall &c, Path path) {
  const int64_t rows = c.query.size(0), heads = c.query.size(1), d = c.query.size(2), groups = c.lengths.size(0);
  const int64_t room = c.own_key.size(1), group = rows / groups, all = c.key.size(0);
  if (path == Path::Fused && vr1::fused_on_cuda(c.query) && all * room > 0) {
    const auto call = [&](const at::Tensor &key, const at::Tensor &value, const at::Tensor &starts, const at::Tensor &lengths,
                          int64_t queries, int64_t longest) {
      const auto ends = at::arange(lengths.size(0) + 1, starts.options()).mul_(queries);
      auto result = at::_flash_attention_forward(c.query, key, value, ends, starts, vr1::bound(queries), vr1::bound(longest), 0.0,
                                                 false, false, std::nullopt, std::nullopt, std::nullopt, lengths);
      // Where there is no key, the kernel says infinity.
      const auto &lse = std::get<1>(result);
      lse.masked_fill_(lse == -kHidden, kHidden);
      return Partial{std::get<0>(result).transpose(0, 1), lse};  // [H, B, d], [H, B]
    };
    const auto starts = at::cat({c.starts, at::full({1}, all, c.starts.options())});
    const auto places = at::arange(rows + 1, c.starts.options()).mul_(room);
    const auto prompt = call(c.key, c.value, starts, c.lengths, group, std::min(c.longest, all));
    vr1::merge(prompt, call(c.own_key.flatten(0, 1), c.own_value.flatten(0, 1), places, c.own_lengths, 1, room));
    return prompt.out.transpose(0, 1);
  }
  // What is not seen is masked: the shapes of what runs do not depend on what the lengths hold.
  const auto mask = [&](int64_t keys, const at::Tensor &starts, const at::Tensor &lengths) {
    const auto place = at::arange(keys, starts.options());
    const auto first = starts.unsqueeze(1);
    const auto seen = place.ge(first).logical_and_(place.lt(first + lengths.unsqueeze(1)));
    const auto hidden = at::zeros({lengths.size(0), keys}, c.query.options()).masked_fill_(seen.logical_not(), kHidden);
    return hidden.view({-1, 1, 1, keys});
  };
  const auto each = [&](const at::Tensor &x) { return x.unsqueeze(0).expand({groups, -1, -1, -1}); };
  const auto together = c.query.view({groups, group, heads, d});
  const auto none = at::zeros({rows}, c.starts.options());
  const auto prompt = attend(together, each(c.key), each(c.value), mask(all, c.starts, c.lengths), path);
  const auto own = attend(c.query.unsqueeze(1), c.own_key, c.own_value, mask(room, none, c.own_lengths), path);
  const Partial merged{prompt.out.flatten(0, 1).contiguous(), prompt.lse.transpose(1, 2).flatten(0, 1).contiguous()};
  vr1::merge(merged, {own.out.squeeze(1), own.lse.squeeze(2)});  // [B, H, d], [B, H]
  return merged.out;
}

at::Tensor rows_of(const vr1::RowsCall &c, Path path) {
  if (path == Path::Plain || c.query.is_cuda()) return rows_on_cuda(c, path);
  switch (c.query.scalar_type()) {
    case at::kDouble: return vr1::rows_on_cpu<double, double>(c);
    case at::kFloat: return vr1::rows_on_cpu<float, float>(c);
    case at::kBFloat16: return vr1::rows_on_cpu<at::BFloat16, float>(c);
    default: return vr1::rows_on_cpu<at::Half, float>(c);
  }
}

}  // namespace

extern "C" {

// Queries; keys, values, starts and lengths of prefixes; keys, values and lengths of rows.
char *vr1_rows(const at::Tensor *const *tensors, int64_t longest, int64_t path, at::Tensor **out) {
  return vr1::message_of([&] {
    at::NoGradGuard no_grad;
    const auto query = tensors[0]->contiguous(), starts = tensors[3]->contiguous(), lengths = tensors[4]->contiguous();
    const auto own_lengths = tensors[7]->contiguous();
    const vr1::RowsCall call{query,       *tensors[1], *tensors[2], starts, lengths,
                             *tensors[5], *tensors[6], own_lengths, longest};
    *out = new at::Tensor(rows_of(call, static_cast<Path>(path)));
  });
}

char *vr1_attend(const at::Tensor *query, const at::Tensor *key, const at::Tensor *value, int64_t mask, int64_t path,
                 at::Tensor **out, at::Tensor **lse) {
  return vr1::message_of([&] {
    at::NoGradGuard no_grad;
    const auto chosen = static_cast<Path>(path);
    auto result = static_cast<vr1::Mask>(mask) == vr1::Mask::Causal ? attend_causally(*query, *key, *value, chosen)
                                                                    : attend(*query, *key, *value, std::nullopt, chosen);
    *out = new at::Tensor(std::move(result.out));
    *lse = new at::Tensor(std::move(result.lse));
  });
}

// Outputs [B, T, H, d], log-sum-exps [B, H, T].
char *vr1_merge_attention(const at::Tensor *out, const at::Tensor *lse, const at::Tensor *other_out, const at::Tensor *other_lse,
                          at::Tensor **merged_out, at::Tensor **merged_lse) {
  return vr1::message_of([&] {
    at::NoGradGuard no_grad;
    const Partial merged{out->clone(), lse->clone()};
    vr1::merge({merged.out.transpose(1, 2), merged.lse}, {other_out->transpose(1, 2), *other_lse});
    *merged_out = new at::Tensor(merged.out);
    *merged_lse = new at::Tensor(merged.lse);
  });
}
}
