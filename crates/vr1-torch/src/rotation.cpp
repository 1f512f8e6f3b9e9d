// The rotation of queries and keys, as one node of the autograd graph. T tokens, H heads, d head size.
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

// In one pass over f32 or f64; `turn` is 1, or -1 for the way back.
template <class T>
void rotate_rows(const T *x, int64_t x_row, int64_t x_head, const T *cos, const T *sin, T *out, int64_t start, int64_t end,
                 int64_t heads, int64_t d, T turn) {
  const int64_t half = d / 2;
  for (int64_t row = start; row < end; ++row) {
    const T *c = cos + row * d, *s = sin + row * d;
    for (int64_t head = 0; head < heads; ++head) {
      const T *a = x + row * x_row + head * x_head, *b = a + half;
      T *to = out + (row * heads + head) * d;
      for (int64_t i = 0; i < half; ++i) {
        to[i] = a[i] * c[i] - turn * (b[i] * s[i]);
        to[i + half] = b[i] * c[i + half] + turn * (a[i] * s[i + half]);
      }
    }
  }
}

// [T, H, d], the numbers of a head side by side.
at::Tensor flattened(const at::Tensor &x) {
  const int64_t heads = x.size(-2), d = x.size(-1), rows = heads * d == 0 ? 0 : x.numel() / (heads * d);
  const auto flat = x.reshape({rows, heads, d});
  return flat.stride(2) == 1 ? flat : flat.contiguous();
}

at::Tensor rotated_on_cpu(const at::Tensor &x, const at::Tensor &cos, const at::Tensor &sin, float turn) {
  const auto flat = flattened(x);
  const int64_t rows = flat.size(0), heads = flat.size(1), d = flat.size(2);
  const auto factors = std::make_pair(cos.contiguous(), sin.contiguous());
  auto out = at::empty(x.sizes(), x.options());
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "rotate", [&] {
    const auto *c = factors.first.const_data_ptr<scalar_t>(), *s = factors.second.const_data_ptr<scalar_t>();
    const auto *from = flat.const_data_ptr<scalar_t>();
    auto *to = out.mutable_data_ptr<scalar_t>();
    vr1::parallel(rows, 16, [&](int64_t start, int64_t end) {
      rotate_rows<scalar_t>(from, flat.stride(0), flat.stride(1), c, s, to, start, end, heads, d, turn);
    });
  });
  return out;
}

// The same by libtorch's operations, each rounded to the wider kind.
at::Tensor rotated_by_operators(const at::Tensor &x, const at::Tensor &cos, const at::Tensor &sin, float turn) {
  const auto halves = x.chunk(2, -1);
  const auto turned = at::mul(at::cat({halves[1].neg(), halves[0]}, -1), sin);
  return at::mul(x, cos).add_(turned, turn).to(x.scalar_type());
}

at::Tensor rotated(const at::Tensor &x, const at::Tensor &cos, const at::Tensor &sin, float turn, vr1::Own own) {
  if (own && x.is_cuda()) {
    const auto flat = flattened(x);
    const auto made = vr1::by_own(own, {&flat, &cos, &sin}, turn, 1);
    if (!made.empty()) return made[0].view(x.sizes());
  }
  const auto kind = x.scalar_type();
  const bool plain = x.is_cpu() && cos.scalar_type() == kind && (kind == at::kFloat || kind == at::kDouble);
  return (plain ? rotated_on_cpu : rotated_by_operators)(x, cos, sin, turn);
}

struct Rotate : torch::autograd::Function<Rotate> {
  static variable_list forward(AutogradContext *context, const Variable &x, const at::Tensor &cos, const at::Tensor &sin,
                               vr1::Own own) {
    context->save_for_backward({cos, sin});
    context->saved_data["own"] = reinterpret_cast<int64_t>(own);
    context->set_materialize_grads(false);
    return {rotated(x, cos, sin, 1, own)};
  }

  static variable_list backward(AutogradContext *context, variable_list gradients) {
    TORCH_CHECK(!at::GradMode::is_enabled(), "rotate has no second derivative");
    if (!gradients[0].defined()) return {{}, {}, {}, {}};
    const auto saved = context->get_saved_variables();
    const auto own = reinterpret_cast<vr1::Own>(context->saved_data["own"].toInt());
    return {rotated(gradients[0], saved[0], saved[1], -1, own), {}, {}, {}};
  }
};

}  // namespace

extern "C" {

char *vr1_rotate(const at::Tensor *x, const at::Tensor *cos, const at::Tensor *sin, vr1::Own own, at::Tensor **out) {
  return vr1::message_of([&] { *out = new at::Tensor(Rotate::apply(*x, *cos, *sin, own)[0]); });
}
}
