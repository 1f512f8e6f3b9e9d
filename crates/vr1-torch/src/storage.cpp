// The memory under tensors given back and taken again, while tensors and whoever holds them stay.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <c10/core/Allocator.h>
#include <c10/core/DeviceGuard.h>

#include "message.h"

extern "C" {

// What tells one memory from another; nullptr where a tensor has none.
const void *vr1_storage_of(const at::Tensor *tensor) {
  return tensor->defined() && tensor->has_storage() ? tensor->storage().unsafeGetStorageImpl() : nullptr;
}

// Whether the numbers are there.
bool vr1_storage_is_there(const at::Tensor *tensor) { return tensor->storage().data() != nullptr; }

// Views know the memory by its size, which stays: only what lies there goes.
char *vr1_storage_free(const at::Tensor *tensor) {
  return vr1::message_of([&] {
    auto *storage = tensor->storage().unsafeGetStorageImpl();
    storage->set_data_ptr_noswap(at::DataPtr(nullptr, storage->device()));
  });
}

char *vr1_storage_fill(const at::Tensor *tensor) {
  return vr1::message_of([&] {
    auto *storage = tensor->storage().unsafeGetStorageImpl();
    const auto device = storage->device();
    const c10::DeviceGuard guard(device);
    storage->set_data_ptr_noswap(c10::GetAllocator(device.type())->allocate(storage->nbytes()));
  });
}

// All of it as bytes: a tensor of its own, so that who writes through it is no change that a backward pass would refuse.
char *vr1_storage_bytes(const at::Tensor *tensor, at::Tensor **out) {
  return vr1::message_of([&] {
    const auto storage = tensor->storage();
    auto bytes = at::empty({0}, tensor->options().dtype(at::kByte).requires_grad(false));
    bytes.set_(storage, 0, {static_cast<int64_t>(storage.nbytes())});
    *out = new at::Tensor(std::move(bytes));
  });
}
}
