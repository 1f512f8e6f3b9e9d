// What a kernel of ours makes of tensors on a GPU, in a node of the autograd graph.
#pragma once

#include <ATen/ATen.h>

#include <memory>
#include <vector>

namespace vr1 {

// Rust's: `count` tensors and a number in, `made` tensors of their own out. False where it does not take these.
using Own = bool (*)(const at::Tensor *const *in, size_t count, double number, at::Tensor **out, size_t made);

// Nothing where libtorch's operators are to do it.
inline std::vector<at::Tensor> by_own(Own own, std::initializer_list<const at::Tensor *> in, double number, size_t made) {
  std::vector<at::Tensor> out;
  if (!own || !(*in.begin())->is_cuda()) return out;
  std::vector<at::Tensor *> pointers(made);
  if (!own(in.begin(), in.size(), number, pointers.data(), made)) return out;
  for (at::Tensor *pointer : pointers) out.push_back(std::move(*std::unique_ptr<at::Tensor>(pointer)));
  return out;
}

}  // namespace vr1
