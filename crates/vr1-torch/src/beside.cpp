// A tensor as it is, through which another gets a gradient of its own.
#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "message.h"

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

struct Beside : torch::autograd::Function<Beside> {
  static variable_list forward(AutogradContext *context, const Variable &x, const Variable &, const at::Tensor &gradient) {
    // Not saved as a variable: it is written to between here and the backward pass.
    context->saved_data["gradient"] = gradient;
    context->set_materialize_grads(false);
    return {x.view_as(x)};
  }

  static variable_list backward(AutogradContext *context, variable_list gradients) {
    return {gradients[0], context->saved_data["gradient"].toTensor().clone(), {}};
  }
};

}  // namespace

extern "C" {

char *vr1_beside(const at::Tensor *x, const at::Tensor *other, const at::Tensor *gradient, at::Tensor **out) {
  return vr1::message_of([&] { *out = new at::Tensor(Beside::apply(*x, *other, *gradient)[0]); });
}
}
