// Operations over lists of tensors, which a GPU runs in few launches.
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_copy.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adamw.h>

#include <optional>
#include <vector>

#include "adamw.h"
#include "message.h"

namespace {

std::vector<at::Tensor> list(at::Tensor *const *tensors, size_t count) {
  std::vector<at::Tensor> out;
  out.reserve(count);
  for (size_t i = 0; i < count; ++i) out.push_back(*tensors[i]);
  return out;
}

}  // namespace

extern "C" {

char *vr1_foreach_norm(size_t count, at::Tensor *const *tensors, at::Tensor **norms) {
  return vr1::message_of([&] {
    at::NoGradGuard no_grad;
    auto out = at::_foreach_norm(list(tensors, count), 2, at::kFloat);
    for (size_t i = 0; i < count; ++i) norms[i] = new at::Tensor(std::move(out[i]));
  });
}

char *vr1_foreach_scale(size_t count, at::Tensor *const *tensors, double factor) {
  return vr1::message_of([&] {
    at::NoGradGuard no_grad;
    at::_foreach_mul_(list(tensors, count), factor);
  });
}

char *vr1_foreach_shift(size_t count, at::Tensor *const *tensors, double addend) {
  return vr1::message_of([&] {
    at::NoGradGuard no_grad;
    at::_foreach_add_(list(tensors, count), addend);
  });
}

char *vr1_foreach_copy(size_t count, at::Tensor *const *to, at::Tensor *const *from) {
  return vr1::message_of([&] {
    at::NoGradGuard no_grad;
    at::_foreach_copy_(list(to, count), list(from, count));
  });
}

char *vr1_fused_adamw(size_t count, at::Tensor *const *parameters, at::Tensor *const *gradients, at::Tensor *const *exp_avgs,
                      at::Tensor *const *exp_avg_sqs, at::Tensor *const *steps, const vr1_adamw *hyper) {
  return vr1::message_of([&] {
    at::NoGradGuard no_grad;
    const auto g = list(gradients, count), s = list(steps, count);
    auto p = list(parameters, count), m = list(exp_avgs, count), v = list(exp_avg_sqs, count);
    at::_fused_adamw_(p, g, m, v, {}, s, hyper->learning_rate, hyper->beta1, hyper->beta2, hyper->weight_decay, hyper->epsilon,
                      /*amsgrad=*/false, /*maximize=*/false, /*grad_scale=*/std::nullopt, /*found_inf=*/std::nullopt);
  });
}
}
