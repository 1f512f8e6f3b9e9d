// The approximation of GELU that CLIP was trained with, as one node of the autograd graph that keeps its input alone.
#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <torch/csrc/autograd/custom_function.h>

#include "message.h"
#include "own.h"
#include "parallel.h"

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

constexpr double kSteep = 1.702;

// In one pass over f32 or f64, where the sigmoid was.
at::Tensor on_cpu(const at::Tensor &gradient, const at::Tensor &x) {
  const auto g = gradient.contiguous(), from = x.contiguous();
  auto out = at::mul(from, kSteep).sigmoid_();
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "quick_gelu", [&] {
    const auto *above = g.const_data_ptr<scalar_t>(), *at = from.const_data_ptr<scalar_t>();
    auto *to = out.mutable_data_ptr<scalar_t>();
    vr1::parallel(from.numel(), 1 << 14, [&](int64_t start, int64_t end) {
      for (int64_t i = start; i < end; ++i) to[i] = above[i] * to[i] * (1 + static_cast<scalar_t>(kSteep) * at[i] * (1 - to[i]));
    });
  });
  return out;
}

struct QuickGelu : torch::autograd::Function<QuickGelu> {
  static variable_list forward(AutogradContext *context, const Variable &x, vr1::Own own) {
    context->save_for_backward({x});
    context->saved_data["own"] = reinterpret_cast<int64_t>(own);
    context->set_materialize_grads(false);
    const auto made = vr1::by_own(own, {&x}, 0, 1);
    return {made.empty() ? at::mul(x, kSteep).sigmoid_().mul_(x) : made[0]};
  }

  static variable_list backward(AutogradContext *context, variable_list gradients) {
    TORCH_CHECK(!at::GradMode::is_enabled(), "quick_gelu has no second derivative");
    const auto &gradient = gradients[0];
    if (!gradient.defined()) return {{}, {}};
    const auto x = context->get_saved_variables()[0];
    const auto kind = x.scalar_type();
    if (x.is_cpu() && (kind == at::kFloat || kind == at::kDouble)) return {on_cpu(gradient, x), {}};
    const auto made = vr1::by_own(reinterpret_cast<vr1::Own>(context->saved_data["own"].toInt()), {&gradient, &x}, 0, 1);
    if (!made.empty()) return {made[0], {}};
    const auto sigmoid = at::mul(x, kSteep).sigmoid_();
    return {at::mul(gradient, sigmoid).mul_(at::rsub(sigmoid, 1).mul_(x).mul_(kSteep).add_(1)), {}};
  }
};

}  // namespace

extern "C" {

char *vr1_quick_gelu(const at::Tensor *x, vr1::Own own, at::Tensor **out) {
  return vr1::message_of([&] { *out = new at::Tensor(QuickGelu::apply(*x, own)[0]); });
}
}
