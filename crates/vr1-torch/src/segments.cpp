// Attention within segments that lie side by side, by the kernel of CUDA that reads cumulative lengths, as one node of the autograd
// graph. N tokens, H heads, d head size.
#include <torch/csrc/autograd/custom_function.h>

#include "attention_ragged.h"
#include "message.h"

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;
using vr1::Call;
using vr1::laid_out;
using vr1::Mask;

struct SegmentAttention : torch::autograd::Function<SegmentAttention> {
  static variable_list forward(AutogradContext *context, const Variable &query, const Variable &key, const Variable &value,
                               const at::Tensor &ends, int64_t longest) {
    const auto out = vr1::call(laid_out(query), laid_out(key), laid_out(value), Call{ends, ends, longest, longest, Mask::None});
    context->save_for_backward({query, key, value, out.out, out.lse, ends});
    context->saved_data["longest"] = longest;
    context->set_materialize_grads(false);
    return {out.out};
  }

  static variable_list backward(AutogradContext *context, variable_list gradients) {
    TORCH_CHECK(!at::GradMode::is_enabled(), "segment_attention has no second derivative");
    if (!gradients[0].defined()) return {{}, {}, {}, {}, {}};
    const auto saved = context->get_saved_variables();
    const auto &ends = saved[5];
    const int64_t longest = context->saved_data["longest"].toInt();
    auto out = vr1::call_backward(gradients[0].contiguous(), laid_out(saved[0]), laid_out(saved[1]), laid_out(saved[2]),
                                  {saved[3], saved[4]}, Call{ends, ends, longest, longest, Mask::None});
    return {out.query, out.key, out.value, {}, {}};
  }
};

}  // namespace

extern "C" {

bool vr1_takes_segments(const at::Tensor *query) { return vr1::fused_on_cuda(*query); }

char *vr1_segment_attention(const at::Tensor *query, const at::Tensor *key, const at::Tensor *value, const at::Tensor *ends,
                            int64_t longest, at::Tensor **out) {
  return vr1::message_of(
      [&] { *out = new at::Tensor(SegmentAttention::apply(*query, *key, *value, *ends, longest)[0]); });
}
}
