// Attention without gradients that tells its log-sum-exp. B batch, T queries, S keys, H heads, K key-value heads, R = H / K, d head size.
#include <ATen/ATen.h>

#include <vector>

#include "attention_kernels.h"
#include "attention_ragged.h"
#include "message.h"

namespace {

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

at::Tensor laid_out(const at::Tensor &x) { return x.stride(3) == 1 ? x : x.contiguous(); }

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

// Row b of the queries [B, T, H, d] over `lengths[b]` keys from number `starts[b]` on of all B·S keys in a row: [B, T, H, d] and
// [B, H, T]. The shapes of what runs do not depend on what the lengths hold.
Partial attend_spans(const at::Tensor &query, const at::Tensor &key, const at::Tensor &value, const at::Tensor &starts,
                     const at::Tensor &lengths, Path path) {
  const int64_t batch = query.size(0), length = query.size(1), keys = key.size(1);
  if (path == Path::Fused && vr1::fused_on_cuda(query) && batch * length * keys > 0) {
    const auto ends = at::arange(batch + 1, starts.options()).mul_(length);
    const auto rows = [](const at::Tensor &x) { return x.contiguous().flatten(0, 1); };
    auto result = at::_flash_attention_forward(rows(query), rows(key), rows(value), ends, starts, vr1::bound(length),
                                               vr1::bound(keys), 0.0, false, false, std::nullopt, std::nullopt, std::nullopt,
                                               lengths);
    const auto &lse = std::get<1>(result);  // [H, B·T]
    return {std::get<0>(result).view_as(query), lse.unflatten(1, {batch, length}).transpose(0, 1)};
  }
  const auto kind = vr1::accumulation(query.scalar_type());
  const auto place = at::arange(keys, starts.options());
  const auto first = (starts.narrow(0, 0, batch) - at::arange(batch, starts.options()).mul_(keys)).unsqueeze(1);
  const auto seen = place.ge(first).logical_and_(place.lt(first + lengths.unsqueeze(1)));
  const auto mask = at::zeros({batch, keys}, query.options().dtype(kind)).masked_fill_(seen.logical_not(), kHidden);
  return attend(query, key, value, mask.view({batch, 1, 1, keys}).to(query.scalar_type()), path);
}

}  // namespace

extern "C" {

char *vr1_attend_spans(const at::Tensor *query, const at::Tensor *key, const at::Tensor *value, const at::Tensor *starts,
                       const at::Tensor *lengths, int64_t path, at::Tensor **out, at::Tensor **lse) {
  return vr1::message_of([&] {
    at::NoGradGuard no_grad;
    auto result = attend_spans(*query, *key, *value, *starts, *lengths, static_cast<Path>(path));
    *out = new at::Tensor(std::move(result.out));
    *lse = new at::Tensor(std::move(result.lse));
  });
}

// `mask` may be nullptr.
char *vr1_attend(const at::Tensor *query, const at::Tensor *key, const at::Tensor *value, const at::Tensor *mask, int64_t path,
                 at::Tensor **out, at::Tensor **lse) {
  return vr1::message_of([&] {
    at::NoGradGuard no_grad;
    const auto seen = mask ? std::optional<at::Tensor>(*mask) : std::nullopt;
    auto result = attend(*query, *key, *value, seen, static_cast<Path>(path));
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
