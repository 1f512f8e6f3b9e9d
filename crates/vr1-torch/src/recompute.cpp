// A piece of the autograd graph that keeps its inputs alone: its backward runs the piece again, with gradients.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cstdlib>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "message.h"

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

// The generators that random operations of a device draw from.
struct Random {
  at::Tensor cpu, cuda;
};

// A generator is a handle; its lock and its state are not to be had of a const one.
at::Tensor state_of(at::Generator generator) {
  std::lock_guard<std::mutex> lock(generator.mutex());
  return generator.get_state();
}

void set_state(at::Generator generator, const at::Tensor &state) {
  std::lock_guard<std::mutex> lock(generator.mutex());
  generator.set_state(state);
}

Random random_of(at::Device device) {
  return {state_of(at::detail::getDefaultCPUGenerator()),
          device.is_cuda() ? state_of(at::globalContext().defaultGenerator(device)) : at::Tensor()};
}

void set_random(at::Device device, const Random &random) {
  set_state(at::detail::getDefaultCPUGenerator(), random.cpu);
  if (device.is_cuda()) set_state(at::globalContext().defaultGenerator(device), random.cuda);
}

bool same(const Random &a, const Random &b) {
  return at::equal(a.cpu, b.cpu) && (!a.cuda.defined() || at::equal(a.cuda, b.cuda));
}

// Random operations draw once more what they drew from `random` on, and then go on from where they were.
struct Replayed {
  at::Device device;
  Random before;
  Replayed(at::Device device, const Random &random) : device(device), before(random_of(device)) { set_random(device, random); }
  ~Replayed() { set_random(device, before); }
};

}  // namespace

extern "C" {

// A closure of Rust's: `run` gives a message that `forget` frees, or nullptr and an output of its own; so does `ended`, which is told that
// a backward pass is through what was run again, or has broken off.
struct vr1_work {
  void *closure;
  char *(*run)(void *closure, const at::Tensor *const *inputs, size_t count, at::Tensor **output);
  char *(*ended)(void *closure, bool whole);
  void (*forget)(char *message);
  void (*drop)(void *closure);
};

}

namespace {

struct Work : torch::CustomClassHolder {
  vr1_work work;
  at::Device device;
  std::optional<Random> random;
  at::Tensor output;
  std::mutex one_at_a_time;

  Work(const vr1_work &work, at::Device device) : work(work), device(device), random(random_of(device)) {}
  ~Work() override { work.drop(work.closure); }

  at::Tensor run(const variable_list &inputs) {
    std::lock_guard<std::mutex> lock(one_at_a_time);
    std::vector<const at::Tensor *> pointers;
    for (const auto &input : inputs) pointers.push_back(&input);
    at::Tensor *made = nullptr;
    check(work.run(work.closure, pointers.data(), pointers.size(), &made));
    const std::unique_ptr<at::Tensor> owned(made);
    return *owned;
  }

  void check(char *message) const {
    if (message == nullptr) return;
    const std::string text(message);
    work.forget(message);
    TORCH_CHECK(false, text);
  }

  void ended() const { check(work.ended(work.closure, true)); }

  // What is wrong is known already.
  void broke_off() const {
    if (char *message = work.ended(work.closure, false)) work.forget(message);
  }

  // Nothing is to be drawn once more where nothing was drawn.
  void forget_random() {
    if (random && same(*random, random_of(device))) random.reset();
  }
};

// Tells the work that a backward pass has broken off, unless it came to its end.
struct Ending {
  const Work &work;
  bool whole = false;
  ~Ending() {
    if (!whole) work.broke_off();
  }
};

struct Recomputed : torch::autograd::Function<Recomputed> {
  // `anchor` collects gradients, so that the node is in the graph where no input does and what they are multiplied by does.
  static Variable forward(AutogradContext *context, at::TensorList inputs, const Variable &anchor,
                          const c10::intrusive_ptr<Work> &work) {
    context->save_for_backward(inputs.vec());
    context->saved_data["work"] = c10::IValue::make_capsule(work);
    context->set_materialize_grads(false);
    return std::move(work->output);
  }

  static variable_list backward(AutogradContext *context, variable_list gradients) {
    TORCH_CHECK(!at::GradMode::is_enabled(), "what is recomputed has no second derivative");
    auto inputs = context->get_saved_variables();
    // One more for the anchor, and for the work.
    variable_list out(inputs.size() + 2);
    if (!gradients[0].defined()) return out;
    for (size_t i = 0; i < inputs.size(); ++i) inputs[i] = inputs[i].detach().requires_grad_(context->needs_input_grad(i));
    const auto work = c10::static_intrusive_pointer_cast<Work>(context->saved_data["work"].toCapsule());
    Ending ending{*work};
    at::Tensor output;
    {
      std::optional<Replayed> replayed;
      if (work->random) replayed.emplace(work->device, *work->random);
      const at::AutoGradMode collected(true);
      output = work->run(inputs);
    }
    torch::autograd::backward({output}, {gradients[0]});
    for (size_t i = 0; i < inputs.size(); ++i) out[i] = inputs[i].grad();
    output.reset();
    ending.whole = true;
    work->ended();
    return out;
  }
};

}  // namespace

extern "C" {

// Takes the closure over, whatever happens.
char *vr1_recomputed(const at::Tensor *const *tensors, size_t count, const vr1_work *closure, at::Tensor **out) {
  return vr1::message_of([&] {
    const auto work = c10::make_intrusive<Work>(*closure, tensors[0]->device());
    variable_list inputs;
    for (size_t i = 0; i < count; ++i) inputs.push_back(*tensors[i]);
    at::Tensor output;
    if (!at::GradMode::is_enabled()) {
      *out = new at::Tensor(work->run(inputs));
      return;
    }
    // With gradients collected: the output shows whether anything in the work collects any, and what is drawn in training alone is
    // drawn now as it will be then.
    output = work->run(inputs);
    work->forget_random();
    if (!output.requires_grad()) {
      *out = new at::Tensor(std::move(output));
      return;
    }
    work->output = output.detach();
    output.reset();
    const auto anchor = at::empty({0}, tensors[0]->options().dtype(at::kFloat)).requires_grad_(true);
    *out = new at::Tensor(Recomputed::apply(at::TensorList(inputs), anchor, work));
  });
}
}
