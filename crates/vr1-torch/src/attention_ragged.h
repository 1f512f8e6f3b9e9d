// Attention of groups on a GPU, by the fused kernel that reads cumulative lengths: one call for all segments, one for the suffixes
// of all groups over their prefixes. N tokens, H heads, K key-value heads, d head size.
#pragma once

#include "attention_kernels.h"
#include "attention_plan.h"

namespace vr1 {

// Whether the fused kernel of CUDA takes these.
inline bool fused_on_cuda(const at::Tensor &query) {
  const auto kind = query.scalar_type();
  const int64_t d = query.size(-1);
  return query.is_cuda() && (kind == at::kBFloat16 || kind == at::kHalf) && d % 8 == 0 && d <= 256;
}

// Which tokens of a tensor: a slice, or those of an index.
struct Tokens {
  Segment slice;
  at::Tensor index;

  at::Tensor of(const at::Tensor &x, int64_t dim = 0) const {
    return index.defined() ? x.index_select(dim, index) : x.narrow(dim, slice.start, slice.length);
  }
  void add_to(const at::Tensor &x, const at::Tensor &part) const {
    if (index.defined()) {
      x.index_add_(0, index, part);
    } else {
      x.narrow(0, slice.start, slice.length).add_(part);
    }
  }
  void copy_to(const at::Tensor &x, const at::Tensor &part, int64_t dim = 0) const {
    if (index.defined()) {
      x.index_copy_(dim, index, part);
    } else {
      x.narrow(dim, slice.start, slice.length).copy_(part);
    }
  }
};

struct Call {
  const at::Tensor &query_ends, &key_ends;
  int64_t longest_query, longest_key;
  Mask mask;
};

// A length is a bound, and one of 1 would choose a kernel that lays its log-sum-exp out in another way.
inline int64_t bound(int64_t longest) { return std::max<int64_t>(longest, 2); }

// Output [n, H, d] and log-sum-exp [H, n].
inline Partial call(const at::Tensor &query, const at::Tensor &key, const at::Tensor &value, const Call &c) {
  auto result = at::_flash_attention_forward(query, key, value, c.query_ends, c.key_ends, bound(c.longest_query),
                                             bound(c.longest_key), 0.0, c.mask == Mask::Causal, false);
  const auto &lse = std::get<1>(result);
  TORCH_CHECK(lse.dim() == 2 && lse.size(0) == query.size(1) && lse.size(1) == query.size(0),
              "the log-sum-exp of ragged attention is ", lse.sizes(), " for queries ", query.sizes());
  return {std::get<0>(result), lse};
}

inline Gradients call_backward(const at::Tensor &gradient, const at::Tensor &query, const at::Tensor &key, const at::Tensor &value,
                               const Partial &merged, const Call &c) {
  // Without dropout the state of the generator is not read.
  const auto options = query.options().dtype(at::kUInt64);
  auto [for_query, for_key, for_value] = at::_flash_attention_backward(
      gradient, query, key, value, merged.out, merged.lse.contiguous(), c.query_ends, c.key_ends, bound(c.longest_query),
      bound(c.longest_key), 0.0, c.mask == Mask::Causal, at::empty({2}, options), at::empty({}, options));
  return {std::move(for_query), std::move(for_key), std::move(for_value)};
}

struct Calls {
  Call own, over_prefix;
  Tokens prefixes, suffixes;
};

inline Calls calls(Plan &plan, const at::Device &device) {
  const auto &ragged = plan.ragged(device);
  const auto group = plan.groups().empty() ? Group{} : plan.groups().front();
  return {{ragged.segments, ragged.segments, ragged.longest, ragged.longest, Mask::Causal},
          {ragged.suffixes, ragged.prefixes, ragged.longest_suffixes, ragged.longest_prefix, Mask::None},
          {group.prefix, ragged.prefix_tokens},
          {group.suffixes, ragged.suffix_tokens}};
}

// Output [N, H, d] and log-sum-exp [H, N].
inline Partial ragged(const at::Tensor &query, const at::Tensor &key, const at::Tensor &value, Plan &plan) {
  const auto c = calls(plan, query.device());
  auto out = call(query, key, value, c.own);
  if (plan.groups().empty()) return out;
  const auto other = call(c.suffixes.of(query), c.prefixes.of(key), c.prefixes.of(value), c.over_prefix);
  const Partial whole{c.suffixes.of(out.out).transpose(0, 1), c.suffixes.of(out.lse, 1)};  // [H, n, d], [H, n]
  merge(whole, {other.out.transpose(0, 1), other.lse});
  if (c.suffixes.index.defined()) {
    c.suffixes.copy_to(out.out, whole.out.transpose(0, 1));
    c.suffixes.copy_to(out.lse, whole.lse, 1);
  }
  return out;
}

inline Gradients ragged_backward(const at::Tensor &gradient, const at::Tensor &query, const at::Tensor &key, const at::Tensor &value,
                                 const Partial &merged, Plan &plan) {
  const auto c = calls(plan, query.device());
  auto out = call_backward(gradient, query, key, value, merged, c.own);
  if (plan.groups().empty()) return out;
  const Partial whole{c.suffixes.of(merged.out), c.suffixes.of(merged.lse, 1)};
  const auto part = call_backward(c.suffixes.of(gradient), c.suffixes.of(query), c.prefixes.of(key), c.prefixes.of(value), whole,
                                  c.over_prefix);
  c.suffixes.add_to(out.query, part.query);
  c.prefixes.add_to(out.key, part.key);
  c.prefixes.add_to(out.value, part.value);
  return out;
}

}  // namespace vr1
