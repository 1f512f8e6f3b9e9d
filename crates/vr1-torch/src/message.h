// What the caller of the shim is told, to be freed with vr1_free.
#pragma once

#include <c10/util/Exception.h>

#include <cstring>
#include <exception>

namespace vr1 {

// Nothing where `work` returns, else what it threw, without libtorch's stack.
template <class Work>
char *message_of(const Work &work) {
  try {
    work();
    return nullptr;
  } catch (const c10::Error &error) {
    return strdup(error.what_without_backtrace());
  } catch (const std::exception &error) {
    return strdup(error.what());
  }
}

}  // namespace vr1
