// The gated product inside an MLP, as one node of the autograd graph that keeps its two inputs alone.
#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "message.h"

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

struct SiluProduct : torch::autograd::Function<SiluProduct> {
  static variable_list forward(AutogradContext *context, const Variable &gate, const Variable &up) {
    context->save_for_backward({gate, up});
    context->set_materialize_grads(false);
    return {at::silu(gate).mul_(up)};
  }

  static variable_list backward(AutogradContext *context, variable_list gradients) {
    TORCH_CHECK(!at::GradMode::is_enabled(), "silu_product has no second derivative");
    const auto &gradient = gradients[0];
    if (!gradient.defined()) return {{}, {}};
    const auto saved = context->get_saved_variables();
    const auto &gate = saved[0], &up = saved[1];
    variable_list out(2);
    if (context->needs_input_grad(0)) out[0] = at::silu_backward(at::mul(gradient, up), gate);
    if (context->needs_input_grad(1)) out[1] = at::silu(gate).mul_(gradient);
    return out;
  }
};

}  // namespace

extern "C" {

char *vr1_silu_product(const at::Tensor *gate, const at::Tensor *up, at::Tensor **out) {
  return vr1::message_of([&] { *out = new at::Tensor(SiluProduct::apply(*gate, *up)[0]); });
}
}
