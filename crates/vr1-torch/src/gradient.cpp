// The slot of a leaf where its gradient lies, which tch can read alone.
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

#include <utility>

extern "C" {

// nullptr where there is none.
at::Tensor *vr1_take_gradient(const at::Tensor *tensor) {
  if (!tensor->defined() || !tensor->unsafeGetTensorImpl()->grad().defined()) return nullptr;
  auto &slot = tensor->unsafeGetTensorImpl()->mutable_grad();
  auto *out = new at::Tensor(std::move(slot));
  slot = at::Tensor();
  return out;
}

// The gradient fits the tensor, or is nullptr.
void vr1_put_gradient(const at::Tensor *tensor, const at::Tensor *gradient) {
  if (tensor->defined()) tensor->unsafeGetTensorImpl()->mutable_grad() = gradient ? *gradient : at::Tensor();
}

bool vr1_gradients_collected() { return at::GradMode::is_enabled(); }

void vr1_collect_gradients(bool collect) { at::GradMode::set_enabled(collect); }
}
