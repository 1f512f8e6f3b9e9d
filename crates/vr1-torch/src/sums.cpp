// Gradients of several backward passes, summed in f32 as they come.
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <memory>
#include <utility>

#include "message.h"

namespace {

struct Sum {
  at::Tensor value;
};

// Moves what a backward pass has put on a leaf into the sum. The first gradient is taken as it is: as long as it is the only one,
// it is exact in its own kind.
struct IntoSum : torch::autograd::PostAccumulateGradHook {
  std::shared_ptr<Sum> sum;

  explicit IntoSum(std::shared_ptr<Sum> sum) : sum(std::move(sum)) {}

  void operator()(const torch::autograd::Variable &leaf) override {
    at::NoGradGuard no_grad;
    auto &slot = leaf.unsafeGetTensorImpl()->mutable_grad();
    at::Tensor gradient = std::exchange(slot, at::Tensor());
    if (!gradient.defined()) return;
    auto &value = sum->value;
    if (!value.defined()) {
      value = std::move(gradient);
      return;
    }
    if (value.scalar_type() != at::kFloat && value.scalar_type() != at::kDouble) value = value.to(at::kFloat);
    value.add_(gradient);
  }
};

}  // namespace

extern "C" {

struct vr1_sum {
  std::shared_ptr<Sum> sum;
  at::Tensor leaf;
};

char *vr1_sum_begin(const at::Tensor *leaf, vr1_sum **out) {
  return vr1::message_of([&] {
    auto made = std::make_unique<vr1_sum>(vr1_sum{std::make_shared<Sum>(), *leaf});
    torch::autograd::impl::set_post_acc_grad_hooks(*leaf, std::make_unique<IntoSum>(made->sum));
    *out = made.release();
  });
}

// The sum, or nullptr where there is none.
at::Tensor *vr1_sum_take(vr1_sum *sum) {
  auto value = std::exchange(sum->sum->value, at::Tensor());
  return value.defined() ? new at::Tensor(std::move(value)) : nullptr;
}

void vr1_sum_end(vr1_sum *sum) {
  torch::autograd::impl::set_post_acc_grad_hooks(sum->leaf, nullptr);
  delete sum;
}
}
