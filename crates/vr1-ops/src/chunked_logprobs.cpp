// Token log-probabilities and entropies from hidden states and the output matrix, as one node of the autograd graph whose
// backward computes the logits of a chunk again instead of keeping them. N tokens, C tokens of a chunk, D width, V vocabulary.
#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <exception>

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

// Logits of a chunk over the temperature, [C, V], in f32 (f64 stays).
at::Tensor logits_of(const at::Tensor &hidden, const at::Tensor &matrix, double temperature) {
  auto logits = at::mm(hidden, matrix.t());
  logits = logits.scalar_type() == at::kDouble ? logits : logits.to(at::kFloat);
  return temperature == 1.0 ? logits : logits.div_(temperature);
}

struct ChunkedLogprobs : torch::autograd::Function<ChunkedLogprobs> {
  static variable_list forward(AutogradContext *context, const Variable &hidden, const Variable &matrix,
                               const at::Tensor &targets, double temperature, int64_t chunk) {
    const int64_t tokens = hidden.size(0);
    const auto kind = hidden.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    const auto options = hidden.options().dtype(kind).requires_grad(false);
    auto logprobs = at::empty({tokens}, options), entropies = at::empty({tokens}, options);
    auto normalizers = at::empty({tokens}, options);  // log Σ exp z
    for (int64_t start = 0; start < tokens; start += chunk) {
      const int64_t size = std::min(chunk, tokens - start);
      auto z = logits_of(hidden.narrow(0, start, size), matrix, temperature);
      const auto highest = z.amax(-1, true);  // [C, 1]
      z.sub_(highest);
      const auto picked = z.gather(-1, targets.narrow(0, start, size).unsqueeze(-1)).squeeze(-1);
      auto p = z.exp();
      const auto sum = p.sum(-1);
      const auto normalizer = sum.log();
      logprobs.narrow(0, start, size).copy_(picked - normalizer);
      entropies.narrow(0, start, size).copy_(normalizer - p.mul_(z).sum(-1) / sum);
      normalizers.narrow(0, start, size).copy_(normalizer + highest.squeeze(-1));
    }
    context->save_for_backward({hidden, matrix, targets, entropies, normalizers});
    context->saved_data["temperature"] = temperature;
    context->saved_data["chunk"] = chunk;
    context->set_materialize_grads(false);
    return {logprobs, entropies};
  }

  // d logprob/dz_v = [v = target] − p_v,   d entropy/dz_v = −p_v (log p_v + entropy)
  static variable_list backward(AutogradContext *context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const auto &hidden = saved[0], &matrix = saved[1], &targets = saved[2], &entropies = saved[3], &normalizers = saved[4];
    const double temperature = context->saved_data["temperature"].toDouble();
    const int64_t chunk = context->saved_data["chunk"].toInt(), tokens = hidden.size(0);
    const bool to_hidden = context->needs_input_grad(0), to_matrix = context->needs_input_grad(1);
    at::Tensor hidden_gradient, matrix_gradient;
    if (to_hidden) hidden_gradient = at::empty_like(hidden);
    if (to_matrix) matrix_gradient = at::zeros(matrix.sizes(), normalizers.options());
    for (int64_t start = 0; start < tokens; start += chunk) {
      const int64_t size = std::min(chunk, tokens - start);
      const auto part = [&](const at::Tensor &tensor) { return tensor.narrow(0, start, size); };
      const auto column = [&](const at::Tensor &tensor) { return part(tensor).unsqueeze(-1); };  // [C, 1]
      auto z = logits_of(part(hidden), matrix, temperature);
      z.sub_(column(normalizers));  // log p
      if (gradients[1].defined()) {
        const auto p = z.exp();
        z.add_(column(entropies)).mul_(-column(gradients[1]));
        if (gradients[0].defined()) z.sub_(column(gradients[0]));
        z.mul_(p);
      } else {
        z.exp_().mul_(-column(gradients[0]));
      }
      if (gradients[0].defined()) z.scatter_add_(-1, column(targets), column(gradients[0]));
      if (temperature != 1.0) z.div_(temperature);
      const auto narrow = z.to(matrix.scalar_type());
      if (to_hidden) part(hidden_gradient).copy_(at::mm(narrow, matrix));
      if (to_matrix) {
        if (matrix.scalar_type() == matrix_gradient.scalar_type()) {
          matrix_gradient.addmm_(narrow.t(), part(hidden));
        } else {
          matrix_gradient.add_(at::mm(narrow.t(), part(hidden)));
        }
      }
    }
    if (to_matrix) matrix_gradient = matrix_gradient.to(matrix.scalar_type());
    return {hidden_gradient, matrix_gradient, {}, {}, {}};
  }
};

}  // namespace

extern "C" {

// Returns nullptr on success, or a message that the caller frees with `free`.
char *vr1_ops_chunked_logprobs(const at::Tensor *hidden, const at::Tensor *matrix, const at::Tensor *targets,
                               double temperature, int64_t chunk, at::Tensor **logprobs, at::Tensor **entropies) {
  try {
    auto outputs = ChunkedLogprobs::apply(*hidden, *matrix, *targets, temperature, chunk);
    *logprobs = new at::Tensor(outputs[0]);
    *entropies = new at::Tensor(outputs[1]);
    return nullptr;
  } catch (const std::exception &error) {
    return strdup(error.what());
  }
}

void vr1_ops_free(char *message) { free(message); }
}
