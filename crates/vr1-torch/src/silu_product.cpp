// The gated product inside an MLP, as one node of the autograd graph that keeps its two inputs alone.
#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <torch/csrc/autograd/custom_function.h>

#include <utility>

#include "message.h"
#include "own.h"
#include "parallel.h"

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

// Both gradients in one pass over f32 or f64, `up`'s where the sigmoid of the gate was.
template <class T>
void gradients(const T *gradient, const T *gate, const T *up, T *sigmoid, T *for_gate, int64_t start, int64_t end) {
  for (int64_t i = start; i < end; ++i) {
    const T s = sigmoid[i], g = gradient[i], x = gate[i];
    for_gate[i] = g * up[i] * s * (1 + x * (1 - s));
    sigmoid[i] = g * x * s;
  }
}

std::pair<at::Tensor, at::Tensor> on_cpu(const at::Tensor &gradient, const at::Tensor &gate, const at::Tensor &up) {
  const auto g = gradient.contiguous(), x = gate.contiguous(), y = up.contiguous();
  auto for_up = at::sigmoid(x), for_gate = at::empty_like(x);
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "silu_product", [&] {
    const auto *from = g.const_data_ptr<scalar_t>(), *opens = x.const_data_ptr<scalar_t>(), *other = y.const_data_ptr<scalar_t>();
    auto *sigmoid = for_up.mutable_data_ptr<scalar_t>(), *to = for_gate.mutable_data_ptr<scalar_t>();
    vr1::parallel(x.numel(), 1 << 14, [&](int64_t start, int64_t end) {
      gradients<scalar_t>(from, opens, other, sigmoid, to, start, end);
    });
  });
  return {for_gate, for_up};
}

struct SiluProduct : torch::autograd::Function<SiluProduct> {
  static variable_list forward(AutogradContext *context, const Variable &gate, const Variable &up, vr1::Own own) {
    context->save_for_backward({gate, up});
    context->saved_data["own"] = reinterpret_cast<int64_t>(own);
    context->set_materialize_grads(false);
    const auto made = vr1::by_own(own, {&gate, &up}, 0, 1);
    return {made.empty() ? at::silu(gate).mul_(up) : made[0]};
  }

  static variable_list backward(AutogradContext *context, variable_list gradients) {
    TORCH_CHECK(!at::GradMode::is_enabled(), "silu_product has no second derivative");
    const auto &gradient = gradients[0];
    if (!gradient.defined()) return {{}, {}, {}};
    const auto saved = context->get_saved_variables();
    const auto &gate = saved[0], &up = saved[1];
    const auto kind = gate.scalar_type();
    const bool first = context->needs_input_grad(0), second = context->needs_input_grad(1);
    const auto wanted = [](bool is, const at::Tensor &x) { return is ? x : at::Tensor(); };
    if (gate.is_cpu() && (kind == at::kFloat || kind == at::kDouble)) {
      const auto [for_gate, for_up] = on_cpu(gradient, gate, up);
      return {wanted(first, for_gate), wanted(second, for_up), {}};
    }
    const auto own = reinterpret_cast<vr1::Own>(context->saved_data["own"].toInt());
    const auto made = vr1::by_own(own, {&gradient, &gate, &up}, 0, 2);
    if (!made.empty()) return {wanted(first, made[0]), wanted(second, made[1]), {}};
    variable_list out(3);
    if (first) out[0] = at::silu_backward(at::mul(gradient, up), gate);
    if (second) out[1] = at::silu(gate).mul_(gradient);
    return out;
  }
};

}  // namespace

extern "C" {

char *vr1_silu_product(const at::Tensor *gate, const at::Tensor *up, vr1::Own own, at::Tensor **out) {
  return vr1::message_of([&] { *out = new at::Tensor(SiluProduct::apply(*gate, *up, own)[0]); });
}
}
