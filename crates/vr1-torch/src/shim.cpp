// The few libtorch entry points that tch does not bind. Each returns nullptr on success, or a message that the caller
// frees with vr1_free.
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_fused_adamw.h>

#include <cstdlib>
#include <optional>
#include <vector>

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

struct vr1_adamw {
  double learning_rate, beta1, beta2, weight_decay, epsilon;
};

char *vr1_fused_adamw(size_t count, at::Tensor *const *parameters, at::Tensor *const *gradients,
                      at::Tensor *const *exp_avgs, at::Tensor *const *exp_avg_sqs, at::Tensor *const *steps,
                      const vr1_adamw *hyper) {
  return vr1::message_of([&] {
    at::NoGradGuard no_grad;
    auto p = list(parameters, count), g = list(gradients, count), m = list(exp_avgs, count),
         v = list(exp_avg_sqs, count), s = list(steps, count);
    at::_fused_adamw_(p, g, m, v, {}, s, hyper->learning_rate, hyper->beta1, hyper->beta2, hyper->weight_decay,
                      hyper->epsilon, /*amsgrad=*/false, /*maximize=*/false, /*grad_scale=*/std::nullopt,
                      /*found_inf=*/std::nullopt);
  });
}

void vr1_free(char *message) { std::free(message); }

}
