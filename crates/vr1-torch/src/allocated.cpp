// What libtorch allocates and frees in some work, its backward passes included, as it is told to a profiler.
#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include <atomic>
#include <memory>

#include "message.h"

namespace {

struct Counter : c10::MemoryReportingInfoBase {
  std::atomic<int64_t> held{0}, most{0};

  void reportMemoryUsage(void *, int64_t size, size_t, size_t, c10::Device) override {
    const int64_t now = held.fetch_add(size) + size;
    int64_t known = most.load();
    while (now > known && !most.compare_exchange_weak(known, now)) {
    }
  }

  bool memoryProfilingEnabled() const override { return true; }
};

struct Counting {
  std::shared_ptr<Counter> counter = std::make_shared<Counter>();
  c10::DebugInfoGuard guard{c10::DebugInfoKind::PROFILER_STATE, counter};
};

}  // namespace

extern "C" {

char *vr1_counting_begin(Counting **counting) {
  return vr1::message_of([&] { *counting = new Counting(); });
}

void vr1_counting_end(Counting *counting, int64_t *held, int64_t *most) {
  *held = counting->counter->held;
  *most = counting->counter->most;
  delete counting;
}
}
