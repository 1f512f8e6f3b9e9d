// The rotation of queries and keys, as one node of the autograd graph. T tokens, H heads, d head size.
#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <ATen/OpMathType.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include "message.h"

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

// `turn` is 1, or -1 for the way back. Products are rounded to `Product` before they are added, as tensors of that kind would be.
template <class T, class Product>
void rotate_rows(const T *x, int64_t x_row, int64_t x_head, const Product *cos, const Product *sin, T *out, int64_t start,
                 int64_t end, int64_t heads, int64_t d, float turn) {
  using Wide = at::opmath_type<Product>;
  const int64_t half = d / 2;
  for (int64_t row = start; row < end; ++row) {
    const Product *c = cos + row * d, *s = sin + row * d;
    for (int64_t head = 0; head < heads; ++head) {
      const T *a = x + row * x_row + head * x_head, *b = a + half;
      T *to = out + (row * heads + head) * d;
      for (int64_t i = 0; i < half; ++i) {
        const auto part = [](T value, Product factor) {
          return static_cast<Wide>(static_cast<Product>(static_cast<Wide>(value) * static_cast<Wide>(factor)));
        };
        const Wide first = part(a[i], c[i]) - turn * part(b[i], s[i]);
        const Wide second = part(b[i], c[i + half]) + turn * part(a[i], s[i + half]);
        to[i] = static_cast<T>(static_cast<Product>(first));
        to[i + half] = static_cast<T>(static_cast<Product>(second));
      }
    }
  }
}

// `cos` and `sin` are in the wider kind of both.
at::Tensor on_cpu(const at::Tensor &x, const at::Tensor &cos, const at::Tensor &sin, float turn) {
  const int64_t heads = x.size(-2), d = x.size(-1), rows = heads * d == 0 ? 0 : x.numel() / (heads * d);
  auto flat = x.reshape({rows, heads, d});
  if (flat.stride(2) != 1) flat = flat.contiguous();
  auto out = at::empty(x.sizes(), x.options());
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, x.scalar_type(), "rotate", [&] {
    using T = scalar_t;
    AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, cos.scalar_type(), "rotate", [&] {
      const auto *c = cos.const_data_ptr<scalar_t>(), *s = sin.const_data_ptr<scalar_t>();
      const auto *from = flat.const_data_ptr<T>();
      auto *to = out.mutable_data_ptr<T>();
      at::parallel_for(0, rows, 16, [&](int64_t start, int64_t end) {
        rotate_rows<T, scalar_t>(from, flat.stride(0), flat.stride(1), c, s, to, start, end, heads, d, turn);
      });
    });
  });
  return out;
}

// The same by libtorch's operations.
at::Tensor composed(const at::Tensor &x, const at::Tensor &cos, const at::Tensor &sin, float turn) {
  const int64_t half = x.size(-1) / 2;
  auto out = at::mul(x, cos);
  const auto other = at::mul(x.roll(half, -1), sin);
  out.narrow(-1, 0, half).sub_(other.narrow(-1, 0, half), turn);
  out.narrow(-1, half, half).add_(other.narrow(-1, half, half), turn);
  return out.to(x.scalar_type());
}

at::Tensor rotated(const at::Tensor &x, const at::Tensor &cos, const at::Tensor &sin, float turn) {
  if (!x.is_cpu()) return composed(x, cos, sin, turn);
  const auto kind = at::promote_types(x.scalar_type(), cos.scalar_type());
  const auto wide = [&](const at::Tensor &factor) { return factor.to(kind).contiguous(); };
  return on_cpu(x, wide(cos), wide(sin), turn);
}

struct Rotate : torch::autograd::Function<Rotate> {
  static variable_list forward(AutogradContext *context, const Variable &x, const at::Tensor &cos, const at::Tensor &sin) {
    context->save_for_backward({cos, sin});
    context->set_materialize_grads(false);
    return {rotated(x, cos, sin, 1)};
  }

  static variable_list backward(AutogradContext *context, variable_list gradients) {
    TORCH_CHECK(!at::GradMode::is_enabled(), "rotate has no second derivative");
    if (!gradients[0].defined()) return {{}, {}, {}};
    const auto saved = context->get_saved_variables();
    return {rotated(gradients[0], saved[0], saved[1], -1), {}, {}};
  }
};

}  // namespace

extern "C" {

char *vr1_rotate(const at::Tensor *x, const at::Tensor *cos, const at::Tensor *sin, at::Tensor **out) {
  return vr1::message_of([&] { *out = new at::Tensor(Rotate::apply(*x, *cos, *sin)[0]); });
}
}
