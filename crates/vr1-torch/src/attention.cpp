// Attention of groups of sequences that share a prefix, as one node of the autograd graph. Its backward gives each part of the keys
// its gradient by the merged output and log-sum-exp, so that nothing but these two is kept beside the inputs.
#include <torch/csrc/autograd/custom_function.h>

#include "attention_dense.h"
#include "attention_ragged.h"
#include "message.h"

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;
using vr1::Partial;
using vr1::Path;
using vr1::Plan;

// The kernels read heads and tokens at any distance, but not overlapping, and the numbers of a head side by side.
at::Tensor heads_laid_out(const at::Tensor &x) {
  const int64_t d = x.size(2);
  return x.stride(2) == 1 && x.stride(1) >= d && x.stride(0) >= d ? x : x.contiguous();
}

struct SharedPrefixAttention : torch::autograd::Function<SharedPrefixAttention> {
  static variable_list forward(AutogradContext *context, const Variable &query, const Variable &key, const Variable &value,
                               const c10::intrusive_ptr<Plan> &plan, Path path) {
    if (query.is_cuda() && !vr1::fused_on_cuda(query)) path = Path::Plain;
    const auto q = heads_laid_out(query), k = heads_laid_out(key), v = heads_laid_out(value);
    const bool in_one = query.is_cuda() && path == Path::Fused;
    const auto out = in_one ? vr1::ragged(q, k, v, *plan) : vr1::dense(q, k, v, *plan, path);
    context->save_for_backward({query, key, value, out.out, out.lse});
    context->saved_data["plan"] = c10::IValue::make_capsule(plan);
    context->saved_data["path"] = static_cast<int64_t>(path);
    context->set_materialize_grads(false);
    return {out.out};
  }

  static variable_list backward(AutogradContext *context, variable_list gradients) {
    TORCH_CHECK(!at::GradMode::is_enabled(), "shared_prefix_attention has no second derivative");
    if (!gradients[0].defined()) return {{}, {}, {}, {}, {}};
    const auto saved = context->get_saved_variables();
    const auto q = heads_laid_out(saved[0]), k = heads_laid_out(saved[1]), v = heads_laid_out(saved[2]);
    const Partial merged{saved[3], saved[4]};
    const auto plan = c10::static_intrusive_pointer_cast<Plan>(context->saved_data["plan"].toCapsule());
    const auto path = static_cast<Path>(context->saved_data["path"].toInt());
    const bool in_one = q.is_cuda() && path == Path::Fused;
    const auto gradient = gradients[0].contiguous();
    auto out = in_one ? vr1::ragged_backward(gradient, q, k, v, merged, *plan)
                      : vr1::dense_backward(gradient, q, k, v, merged, *plan, path);
    const auto wanted = [&](size_t input, at::Tensor &x) { return context->needs_input_grad(input) ? x : at::Tensor(); };
    return {wanted(0, out.query), wanted(1, out.key), wanted(2, out.value), {}, {}};
  }
};

}  // namespace

extern "C" {

// The plan is given back to `vr1_groups_drop`.
char *vr1_groups_new(const int64_t *prefixes, const int64_t *counts, size_t groups, const int64_t *suffixes, Plan **plan) {
  return vr1::message_of([&] {
    *plan = c10::make_intrusive<Plan>(prefixes, counts, groups, suffixes).release();
  });
}

void vr1_groups_drop(Plan *plan) { c10::intrusive_ptr<Plan>::reclaim(plan); }

char *vr1_shared_prefix_attention(const at::Tensor *query, const at::Tensor *key, const at::Tensor *value, Plan *plan, int64_t path,
                                  at::Tensor **out) {
  return vr1::message_of([&] {
    const auto shared = c10::intrusive_ptr<Plan>::reclaim_copy(plan);
    *out = new at::Tensor(SharedPrefixAttention::apply(*query, *key, *value, shared, static_cast<Path>(path))[0]);
  });
}
}
