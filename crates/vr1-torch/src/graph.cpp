// CUDA graphs: what is launched on a stream, recorded once and replayed without the host. libtorch_cuda is loaded when a GPU is asked
// for, and its headers want CUDA's, so that its class is reached by the names that its library exports.
#include <c10/core/impl/VirtualGuardImpl.h>

#include <dlfcn.h>

#include <cstring>
#include <map>
#include <memory>
#include <utility>

#include "message.h"

namespace {

// at::cuda::CUDAGraph of libtorch 2.11.
class Graph {
 public:
  explicit Graph(c10::Device device) : device_(device) {
    function<void (*)(void *, bool)>("_ZN2at4cuda9CUDAGraphC1Eb")(storage_, false);
  }
  Graph(const Graph &) = delete;
  ~Graph() { function<void (*)(void *)>("_ZN2at4cuda9CUDAGraphD1Ev")(storage_); }

  // From here on the stream's work is recorded and not done; other threads may do what they like.
  void begin() {
    using Pool = std::pair<unsigned long long, unsigned long long>;
    constexpr int kThreadLocal = 1;
    function<void (*)(void *, Pool, int)>("_ZN2at4cuda9CUDAGraph13capture_beginESt4pairIyyE21cudaStreamCaptureMode")(
        storage_, Pool{0, 0}, kThreadLocal);
  }
  void end() { function<void (*)(void *)>("_ZN2at4cuda9CUDAGraph11capture_endEv")(storage_); }
  void replay() { function<void (*)(void *)>("_ZN2at4cuda9CUDAGraph6replayEv")(storage_); }
  c10::Device device() const { return device_; }

 private:
  template <class F>
  static F function(const char *name) {
    static void *library = dlopen("libtorch_cuda.so", RTLD_NOLOAD | RTLD_NOW);
    void *symbol = library ? dlsym(library, name) : nullptr;
    TORCH_CHECK(symbol, "this libtorch has no ", name);
    return reinterpret_cast<F>(symbol);
  }

  c10::Device device_;
  alignas(64) unsigned char storage_[4096] = {};  // of which the class takes about 200
};

// The stream that is recorded on, one a device: each keeps working memory of cuBLAS.
c10::Stream side_stream(c10::Device device) {
  static thread_local std::map<c10::DeviceIndex, c10::Stream> streams;
  const auto found = streams.find(device.index());
  if (found != streams.end()) return found->second;
  const auto stream = c10::impl::VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device);
  streams.emplace(device.index(), stream);
  return stream;
}

}  // namespace

extern "C" {

struct vr1_stream {
  int64_t id, device, kind;
};

// Work goes to the side stream from now on, behind all that was launched before. `before` is the stream until now.
char *vr1_graph_enter(int64_t device, vr1_stream *before) {
  return vr1::message_of([&] {
    const c10::Device cuda(c10::kCUDA, static_cast<c10::DeviceIndex>(device));
    const c10::impl::VirtualGuardImpl guard(c10::kCUDA);
    guard.synchronizeDevice(cuda.index());
    const auto stream = guard.exchangeStream(side_stream(cuda));
    *before = {stream.id(), stream.device_index(), static_cast<int64_t>(stream.device_type())};
  });
}

char *vr1_graph_leave(const vr1_stream *before) {
  return vr1::message_of([&] {
    const auto stream = c10::Stream::unpack3(before->id, static_cast<c10::DeviceIndex>(before->device),
                                             static_cast<c10::DeviceType>(before->kind));
    const c10::impl::VirtualGuardImpl guard(c10::kCUDA);
    guard.synchronizeDevice(stream.device_index());
    guard.exchangeStream(stream);
  });
}

char *vr1_graph_begin(int64_t device, void **graph) {
  return vr1::message_of([&] {
    auto made = std::make_unique<Graph>(c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(device)));
    made->begin();
    *graph = made.release();
  });
}

char *vr1_graph_end(void *graph) {
  return vr1::message_of([&] { static_cast<Graph *>(graph)->end(); });
}

char *vr1_graph_replay(void *graph) {
  return vr1::message_of([&] { static_cast<Graph *>(graph)->replay(); });
}

// What was launched may still be running.
void vr1_graph_free(void *graph) {
  auto *owned = static_cast<Graph *>(graph);
  char *message = vr1::message_of([&] {
    c10::impl::VirtualGuardImpl(c10::kCUDA).synchronizeDevice(owned->device().index());
    delete owned;
  });
  std::free(message);
}
}
