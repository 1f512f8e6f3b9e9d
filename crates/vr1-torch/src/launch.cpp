// What own kernels need to know of libtorch: the stream that it launches on, and where it lies.
#include <c10/core/impl/VirtualGuardImpl.h>

#include <dlfcn.h>
#include <link.h>

#include <cstring>

#include "message.h"

extern "C" {

// The cudaStream_t that is current on a GPU.
char *vr1_current_stream(int64_t device, void **stream) {
  return vr1::message_of([&] {
    const c10::impl::VirtualGuardImpl guard(c10::kCUDA);
    const auto current = guard.getStream(c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(device)));
    *stream = guard.getStreamNativeHandle(current);
  });
}

// The file of libc10, to be freed with vr1_free.
char *vr1_library_path() {
  void *library = dlopen("libc10.so", RTLD_NOLOAD | RTLD_NOW);
  const link_map *map = nullptr;
  if (!library || dlinfo(library, RTLD_DI_LINKMAP, &map) != 0 || !map) return nullptr;
  char *path = strdup(map->l_name);
  dlclose(library);
  return path;
}
}
