// What libtorch allocates and frees in some work, its backward passes included, as it is told to a profiler, which may refuse it.
#include <c10/core/Allocator.h>
#include <c10/util/Exception.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include <atomic>
#include <memory>

#include "message.h"

namespace {

struct Counter : c10::MemoryReportingInfoBase {
  std::atomic<int64_t> held{0}, most{0};
  const int64_t limit;

  explicit Counter(int64_t limit) : limit(limit) {}

  void reportMemoryUsage(void *, int64_t size, size_t, size_t, c10::Device) override {
    const int64_t now = held.fetch_add(size) + size;
    if (size > 0 && now > limit) {
      // Who asked gets nothing that it could give back.
      held.fetch_sub(size);
      TORCH_CHECK(false, "of ", limit, " bytes you tried to allocate ", size, " bytes more than are left");
    }
    int64_t known = most.load();
    while (now > known && !most.compare_exchange_weak(known, now)) {
    }
  }

  bool memoryProfilingEnabled() const override { return true; }
};

struct Counting {
  std::shared_ptr<Counter> counter;
  c10::DebugInfoGuard guard{c10::DebugInfoKind::PROFILER_STATE, counter};

  explicit Counting(int64_t limit) : counter(std::make_shared<Counter>(limit)) {}
};

}  // namespace

extern "C" {

char *vr1_counting_begin(int64_t limit, Counting **counting) {
  return vr1::message_of([&] { *counting = new Counting(limit); });
}

void vr1_counting_end(Counting *counting, int64_t *held, int64_t *most) {
  *held = counting->counter->held;
  *most = counting->counter->most;
  delete counting;
}
}
