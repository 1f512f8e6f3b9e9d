// Linear layers over so few rows that libtorch's products, made for many, do not read the matrix at the memory's speed. CPU only.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "few_rows.h"
#include "message.h"
#include "parallel.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define VR1_FEW_ROWS
#endif

#ifdef VR1_FEW_ROWS
namespace {

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,fma")
namespace avx512 {
#define WIDTH 16
#include "few_rows_kernel.h"
#undef WIDTH
}  // namespace avx512
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx2,fma")
namespace avx2 {
#define WIDTH 8
#include "few_rows_kernel.h"
#undef WIDTH
}  // namespace avx2
#pragma GCC pop_options

enum class Instructions { None, Avx2, Avx512 };

Instructions instructions() {
  static const auto known = [] {
    const auto all = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                     __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    const auto some = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    return all && some ? Instructions::Avx512 : some ? Instructions::Avx2 : Instructions::None;
  }();
  return known;
}

template <class W>
void product(const float *x, const W *w, float *y, int64_t rows, int64_t inputs, int64_t outputs) {
  const bool wide = instructions() == Instructions::Avx512;
  vr1::parallel(outputs, vr1::few_rows_grain(inputs), [&](int64_t from, int64_t to) {
    (wide ? avx512::product<W> : avx2::product<W>)(x, w, y, rows, inputs, outputs, from, to);
  });
}

// Where libtorch's own products are slower, as measured; of small matrices, which stay near, it makes more.
bool few(const at::Tensor &x, const at::Tensor &weight) {
  if (instructions() == Instructions::None || !x.is_cpu() || !weight.is_contiguous() || x.numel() == 0 || weight.numel() == 0) {
    return false;
  }
  if (weight.numel() < 1 << 16) return false;
  const int64_t rows = x.numel() / x.size(-1);
  if (weight.scalar_type() == at::kFloat) return rows >= 2 && rows <= 16;
  return weight.scalar_type() == at::kBFloat16 && rows <= 32 && !__builtin_cpu_supports("avx512bf16");
}

at::Tensor few_rows(const at::Tensor &x, const at::Tensor &weight, const std::optional<at::Tensor> &bias) {
  const int64_t inputs = weight.size(1), outputs = weight.size(0), rows = x.numel() / inputs;
  const auto flat = x.reshape({rows, inputs}).to(at::kFloat).contiguous();
  auto y = at::empty({rows, outputs}, flat.options());
  const auto *from = flat.const_data_ptr<float>();
  auto *to = y.mutable_data_ptr<float>();
  if (weight.scalar_type() == at::kFloat) {
    product(from, weight.const_data_ptr<float>(), to, rows, inputs, outputs);
  } else {
    product(from, reinterpret_cast<const uint16_t *>(weight.const_data_ptr<at::BFloat16>()), to, rows, inputs, outputs);
  }
  if (bias) y.add_(*bias);
  auto size = x.sizes().vec();
  size.back() = outputs;
  return y.to(weight.scalar_type()).view(size);
}

}  // namespace
#endif

namespace vr1 {

#ifdef VR1_FEW_ROWS
bool takes_few_rows(int64_t rows) { return rows >= 1 && rows <= 16 && instructions() != Instructions::None; }

void few_rows(const float *x, const float *w, float *y, int64_t rows, int64_t inputs, int64_t outputs, int64_t from, int64_t to) {
  (instructions() == Instructions::Avx512 ? avx512::product<float> : avx2::product<float>)(x, w, y, rows, inputs, outputs, from, to);
}
#else
bool takes_few_rows(int64_t) { return false; }

void few_rows(const float *, const float *, float *, int64_t, int64_t, int64_t, int64_t, int64_t) {}
#endif

}  // namespace vr1

extern "C" {

// `bias` may be nullptr.
char *vr1_linear(const at::Tensor *x, const at::Tensor *weight, const at::Tensor *bias, at::Tensor **out) {
  return vr1::message_of([&] {
    const auto added = bias ? std::optional<at::Tensor>(*bias) : std::nullopt;
#ifdef VR1_FEW_ROWS
    const auto collected = [&](const at::Tensor &t) { return t.requires_grad(); };
    const bool recorded = at::GradMode::is_enabled() && (collected(*x) || collected(*weight) || (added && collected(*added)));
    if (!recorded && few(*x, *weight)) {
      *out = new at::Tensor(few_rows(*x, *weight, added));
      return;
    }
#endif
    *out = new at::Tensor(at::linear(*x, *weight, added));
  });
}
}
