// Token log-probabilities, entropies and means over the vocabulary from hidden states and the output matrix, as one node of the
// autograd graph whose backward computes the logits of a chunk again instead of keeping them. N tokens, C tokens of a chunk, D width,
// V vocabulary, U unreachable tokens.
#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <limits>

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

// sum += zᵀ·hidden, with products and sums in f32 (f64 stays): a sum rounded to the kind of half-precision hidden states after each
// chunk would be another one for another chunk. z [C, V], its copy `narrow` in the kind of hidden [C, D], sum [V, D].
void add_outer(at::Tensor &sum, const at::Tensor &z, const at::Tensor &narrow, const at::Tensor &hidden) {
  if (!hidden.is_cuda() || hidden.scalar_type() == z.scalar_type()) {
    sum.addmm_(z.t(), hidden.to(z.scalar_type()));
    return;
  }
  // A GPU multiplies halves into f32, for as many rows at a time as a buffer of the chunk has room for.
  const int64_t vocab = z.size(1), step = std::max<int64_t>(1, z.numel() / std::max<int64_t>(1, hidden.size(1)));
  for (int64_t start = 0; start < vocab; start += step) {
    const int64_t size = std::min(step, vocab - start);
    sum.narrow(0, start, size).add_(at::mm(narrow.narrow(1, start, size).t(), hidden, at::kFloat));
  }
}

struct ChunkedLogprobs : torch::autograd::Function<ChunkedLogprobs> {
  // Log-probabilities, entropies, whether no token is likelier, and, if asked for, means of log p over the V − U tokens; [N] each.
  // `unreachable` [U] names no token twice, and no target.
  static variable_list forward(AutogradContext *context, const Variable &hidden, const Variable &matrix,
                               const at::Tensor &targets, const at::Tensor &unreachable, double temperature, int64_t chunk,
                               bool with_means) {
    const int64_t tokens = hidden.size(0);
    const double reachable = static_cast<double>(matrix.size(0) - unreachable.numel());
    const bool all = unreachable.numel() == 0;
    const auto kind = hidden.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    const auto options = hidden.options().dtype(kind).requires_grad(false);
    auto logprobs = at::empty({tokens}, options), entropies = at::empty({tokens}, options);
    auto likeliest = at::empty({tokens}, options.dtype(at::kBool));
    auto means = at::empty({with_means ? tokens : 0}, options);
    auto normalizers = at::empty({tokens}, options);  // log Σ exp z
    for (int64_t start = 0; start < tokens; start += chunk) {
      const int64_t size = std::min(chunk, tokens - start);
      auto z = logits_of(hidden.narrow(0, start, size), matrix, temperature);
      if (!all) z.index_fill_(-1, unreachable, -std::numeric_limits<double>::infinity());
      const auto highest = z.amax(-1, true);  // [C, 1]
      z.sub_(highest);
      const auto picked = z.gather(-1, targets.narrow(0, start, size).unsqueeze(-1)).squeeze(-1);
      auto p = z.exp();
      if (!all) z.index_fill_(-1, unreachable, 0.0);  // 0·(−∞) and a sum with −∞ in it are no numbers
      const auto sum = p.sum(-1);
      const auto normalizer = sum.log();
      logprobs.narrow(0, start, size).copy_(picked - normalizer);
      entropies.narrow(0, start, size).copy_(normalizer - p.mul_(z).sum(-1) / sum);
      likeliest.narrow(0, start, size).copy_(picked.eq(0));
      if (with_means) means.narrow(0, start, size).copy_(z.sum(-1) / reachable - normalizer);
      normalizers.narrow(0, start, size).copy_(normalizer + highest.squeeze(-1));
    }
    context->save_for_backward({hidden, matrix, targets, unreachable, entropies, normalizers});
    context->saved_data["temperature"] = temperature;
    context->saved_data["chunk"] = chunk;
    context->set_materialize_grads(false);
    context->mark_non_differentiable({likeliest});
    if (with_means) return {logprobs, entropies, likeliest, means};
    return {logprobs, entropies, likeliest};
  }

  // d logprob/dz_v = [v = target] − p_v,   d entropy/dz_v = −p_v (log p_v + entropy),   d mean/dz_v = 1/(V − U) − p_v;
  // 0 where v is unreachable
  static variable_list backward(AutogradContext *context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const auto &hidden = saved[0], &matrix = saved[1], &targets = saved[2], &unreachable = saved[3];
    const auto &entropies = saved[4], &normalizers = saved[5];
    const auto &of_logprobs = gradients[0], &of_entropies = gradients[1];
    const auto of_means = gradients.size() > 3 ? gradients[3] : at::Tensor();
    const double temperature = context->saved_data["temperature"].toDouble();
    const double reachable = static_cast<double>(matrix.size(0) - unreachable.numel());
    const int64_t chunk = context->saved_data["chunk"].toInt(), tokens = hidden.size(0);
    const bool to_hidden = context->needs_input_grad(0), to_matrix = context->needs_input_grad(1);
    // What −p_v is multiplied by.
    auto slope = of_logprobs;
    if (of_means.defined()) slope = slope.defined() ? slope + of_means : of_means;
    if (!slope.defined() && !of_entropies.defined()) return {{}, {}, {}, {}, {}, {}, {}};
    at::Tensor hidden_gradient, matrix_gradient;
    if (to_hidden) hidden_gradient = at::empty_like(hidden);
    if (to_matrix) matrix_gradient = at::zeros(matrix.sizes(), normalizers.options());
    for (int64_t start = 0; start < tokens; start += chunk) {
      const int64_t size = std::min(chunk, tokens - start);
      const auto part = [&](const at::Tensor &tensor) { return tensor.narrow(0, start, size); };
      const auto column = [&](const at::Tensor &tensor) { return part(tensor).unsqueeze(-1); };  // [C, 1]
      auto z = logits_of(part(hidden), matrix, temperature);
      z.sub_(column(normalizers));  // log p
      if (of_entropies.defined()) {
        const auto p = z.exp();
        z.add_(column(entropies)).mul_(-column(of_entropies));
        if (slope.defined()) z.sub_(column(slope));
        z.mul_(p);
      } else {
        z.exp_().mul_(-column(slope));
      }
      if (of_means.defined()) z.add_(column(of_means) / reachable);
      if (unreachable.numel() > 0) z.index_fill_(-1, unreachable, 0.0);
      if (of_logprobs.defined()) z.scatter_add_(-1, column(targets), column(of_logprobs));
      if (temperature != 1.0) z.div_(temperature);
      const auto narrow = z.to(matrix.scalar_type());
      if (to_hidden) part(hidden_gradient).copy_(at::mm(narrow, matrix));
      if (to_matrix) add_outer(matrix_gradient, z, narrow, part(hidden));
    }
    if (to_matrix) matrix_gradient = matrix_gradient.to(matrix.scalar_type());
    return {hidden_gradient, matrix_gradient, {}, {}, {}, {}, {}};
  }
};

}  // namespace

extern "C" {

// Writes three tensors to `outputs`, or four with the means. Returns nullptr on success, or a message that the caller frees with
// `vr1_ops_free`.
char *vr1_ops_chunked_logprobs(const at::Tensor *hidden, const at::Tensor *matrix, const at::Tensor *targets,
                               const at::Tensor *unreachable, double temperature, int64_t chunk, bool with_means,
                               at::Tensor **outputs) {
  try {
    const auto made = ChunkedLogprobs::apply(*hidden, *matrix, *targets, *unreachable, temperature, chunk, with_means);
    for (size_t i = 0; i < made.size(); ++i) outputs[i] = new at::Tensor(made[i]);
    return nullptr;
  } catch (const std::exception &error) {
    return strdup(error.what());
  }
}

void vr1_ops_free(char *message) { free(message); }
}
