// Work on libtorch's own threads. `at::parallel_for` is a loop of the caller alone where this is compiled: it wants the compiler's OpenMP,
// of which the process would then have two.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/TensorIterator.h>
#include <ATen/ops/arange.h>

#include <algorithm>
#include <cstdint>
#include <optional>

namespace vr1 {

// The numbers 0 .. threads, each to be seen by a thread.
struct Team {
  int64_t threads;
  at::Tensor numbers;
  at::TensorIterator iterator;

  explicit Team(int64_t threads)
      : threads(threads), numbers(at::arange(threads, at::kLong)), iterator(at::TensorIterator::nullary_op(numbers)) {}

  static Team &of(int64_t threads) {
    static thread_local std::optional<Team> known;
    if (!known || known->threads != threads) known.emplace(threads);
    return *known;
  }
};

// Calls `work` for stretches `from .. to` of 0 .. count, of `grain` or more where there are several.
template <class Work>
void parallel(int64_t count, int64_t grain, const Work &work) {
  if (count <= 0) return;
  const int64_t wanted = count / std::max<int64_t>(grain, 1), most = wanted > 1 ? at::get_num_threads() : 1;
  if (most == 1 || at::in_parallel_region()) {
    work(int64_t{0}, count);
    return;
  }
  const int64_t threads = std::min<int64_t>({most, wanted, count}), stretch = (count + threads - 1) / threads;
  Team::of(threads).iterator.for_each(
      [&](char **data, const int64_t *strides, int64_t n) {
        for (int64_t i = 0; i < n; ++i) {
          const int64_t from = *reinterpret_cast<int64_t *>(data[0] + i * strides[0]) * stretch;
          if (from < count) work(from, std::min(from + stretch, count));
        }
      },
      1);
}

}  // namespace vr1
