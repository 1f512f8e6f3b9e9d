// Sampling on the CPU.
#include <ATen/core/grad_mode.h>

#include "draw.h"
#include "message.h"

extern "C" {

// Logits, states, positions; `unreachable` may be nullptr. Ids, log-probabilities, those drawn by, entropies.
char *vr1_draw(const at::Tensor *const *tensors, const at::Tensor *unreachable, double temperature, at::Tensor **out) {
  return vr1::message_of([&] {
    at::NoGradGuard no_grad;
    const auto logits = tensors[0]->contiguous(), states = tensors[1]->contiguous(), positions = tensors[2]->contiguous();
    const auto hidden = unreachable ? unreachable->contiguous() : at::Tensor();
    const auto rows = logits.size(0);
    const auto list = [&](at::ScalarType kind) { return at::empty({rows}, at::TensorOptions().dtype(kind)); };
    const auto ids = list(at::kLong), logprobs = list(at::kFloat), drawn = list(at::kFloat), entropies = list(at::kFloat);
    const vr1::DrawCall call{logits, hidden, states, positions, temperature, ids, logprobs, drawn, entropies};
    switch (logits.scalar_type()) {
      case at::kFloat: vr1::draw<float>(call); break;
      case at::kBFloat16: vr1::draw<at::BFloat16>(call); break;
      default: vr1::draw<at::Half>(call); break;
    }
    const at::Tensor all[] = {ids, logprobs, drawn, entropies};
    for (size_t i = 0; i < 4; ++i) out[i] = new at::Tensor(all[i]);
  });
}
}
