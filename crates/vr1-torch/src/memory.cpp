// What the memory of a GPU holds, by the interface that libtorch's allocators of devices share.
#include <c10/core/CachingDeviceAllocator.h>

#include "message.h"

extern "C" {

struct vr1_memory {
  uint64_t free, total, used, peak;
};

char *vr1_cuda_memory(int64_t device, vr1_memory *memory) {
  return vr1::message_of([&] {
    auto *allocator = c10::getDeviceAllocator(c10::kCUDA);
    const auto index = static_cast<c10::DeviceIndex>(device);
    const auto [free, total] = allocator->getMemoryInfo(index);
    *memory = {free, total, 0, 0};
    if (!allocator->initialized()) return;
    const auto stats = allocator->getDeviceStats(index);
    const auto bytes = [](const auto &list) { return list[0]; };  // of all pools together
    const auto used = bytes(stats.allocated_bytes);
    // What the allocator keeps and nobody uses is free too.
    memory->free += static_cast<uint64_t>(bytes(stats.reserved_bytes).current - used.current);
    memory->used = static_cast<uint64_t>(used.current);
    memory->peak = static_cast<uint64_t>(used.peak);
  });
}
}
