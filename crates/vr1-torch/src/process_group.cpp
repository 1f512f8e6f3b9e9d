// c10d's store over TCP, and its collectives over Gloo and NCCL, all of which libtorch holds.
#include <ATen/core/Tensor.h>

#include <dlfcn.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <new>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#define USE_C10D_GLOO
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "message.h"

namespace {

using std::chrono::milliseconds;
using StorePointer = c10::intrusive_ptr<c10d::Store>;
using GroupPointer = c10::intrusive_ptr<c10d::Backend>;

std::vector<uint8_t> bytes(const uint8_t *data, size_t count) { return {data, data + count}; }

// c10d notes the start of every collective in a record of the whole process, a part of it outside of its lock: groups of several threads
// start one after the other.
std::mutex starting;

template <class Start>
void finish(const Start &start) {
  c10::intrusive_ptr<c10d::Work> work;
  {
    const std::lock_guard<std::mutex> lock(starting);
    work = start();
  }
  work->wait();
}

// The interfaces that GLOO_SOCKET_IFNAME names, as for PyTorch; the loopback where the store is there, for all are on one machine then.
// Otherwise the address `own`, where others reach this process by it.
std::vector<std::shared_ptr<::gloo::transport::Device>> devices(const std::string &host, const std::string &own = {}) {
  using Gloo = c10d::ProcessGroupGloo;
  std::vector<std::shared_ptr<::gloo::transport::Device>> out;
  if (const char *names = std::getenv("GLOO_SOCKET_IFNAME")) {
    std::istringstream list(names);
    for (std::string name; std::getline(list, name, ',');)
      if (!name.empty()) out.push_back(Gloo::createDeviceForInterface(name));
  }
  if (out.empty() && (host == "127.0.0.1" || host == "localhost")) out.push_back(Gloo::createDeviceForHostname("127.0.0.1"));
  if (out.empty() && !own.empty()) out.push_back(Gloo::createDeviceForHostname(own));
  if (out.empty()) out.push_back(Gloo::createDefaultDevice());
  return out;
}

using Flag = std::shared_ptr<std::atomic<bool>>;

void go_on(const Flag &stopped) { TORCH_CHECK(!*stopped, "it was given up"); }

// A store whose waits end when somebody gives up. What a group waits for while it is made are others' keys.
class Watched : public c10d::Store {
 public:
  Watched(StorePointer store, Flag stopped, milliseconds timeout)
      : c10d::Store(timeout), store_(std::move(store)), stopped_(std::move(stopped)) {}

  c10::intrusive_ptr<c10d::Store> clone() override { return c10::make_intrusive<Watched>(store_->clone(), stopped_, timeout_); }
  void set(const std::string &key, const std::vector<uint8_t> &value) override { store_->set(key, value); }
  std::vector<uint8_t> compareSet(const std::string &key, const std::vector<uint8_t> &expected,
                                  const std::vector<uint8_t> &desired) override {
    return store_->compareSet(key, expected, desired);
  }
  std::vector<uint8_t> get(const std::string &key) override {
    wait({key});
    return store_->get(key);
  }
  int64_t add(const std::string &key, int64_t value) override { return store_->add(key, value); }
  bool deleteKey(const std::string &key) override { return store_->deleteKey(key); }
  bool check(const std::vector<std::string> &keys) override { return store_->check(keys); }
  int64_t getNumKeys() override { return store_->getNumKeys(); }
  bool hasExtendedApi() const override { return store_->hasExtendedApi(); }
  void append(const std::string &key, const std::vector<uint8_t> &value) override { store_->append(key, value); }
  void multiSet(const std::vector<std::string> &keys, const std::vector<std::vector<uint8_t>> &values) override {
    store_->multiSet(keys, values);
  }
  std::vector<std::vector<uint8_t>> multiGet(const std::vector<std::string> &keys) override {
    wait(keys);
    return store_->multiGet(keys);
  }
  void wait(const std::vector<std::string> &keys) override { wait(keys, timeout_); }
  void wait(const std::vector<std::string> &keys, const milliseconds &timeout) override {
    const auto end = std::chrono::steady_clock::now() + timeout;
    while (!store_->check(keys)) {
      go_on(stopped_);
      TORCH_CHECK(std::chrono::steady_clock::now() < end, "not all ranks came within ", timeout.count() / 1000.0, " s");
      std::this_thread::sleep_for(milliseconds(5));
    }
  }

 private:
  StorePointer store_;
  Flag stopped_;
};

// Gloo whose connections can be closed under what is under way, which ends it for all others.
class Closing : public c10d::ProcessGroupGloo {
 public:
  using c10d::ProcessGroupGloo::ProcessGroupGloo;
  void close() {
    for (const auto &context : contexts_) context->closeConnections();
  }
};

// c10d::ProcessGroupNCCL of libtorch 2.11. libtorch_cuda is loaded when a GPU is asked for, and its headers want CUDA's and NCCL's, so
// that it is made by the constructors that its library exports; it goes by its virtual functions from then on.
class Nccl {
 public:
  static GroupPointer open(StorePointer store, int rank, int size, milliseconds timeout) {
    using Options = c10d::Backend::Options;
    using OptionsPointer = c10::intrusive_ptr<Options>;
    auto options = made<Options>("_ZN4c10d16ProcessGroupNCCL7OptionsC1Eb", false);
    options->timeout = timeout;
    return made<c10d::Backend>(
        "_ZN4c10d16ProcessGroupNCCLC1EN3c1013intrusive_ptrINS_5StoreENS1_6detail34intrusive_target_default_null_typeIS3_EEEEii"
        "NS2_INS0_7OptionsENS5_IS8_EEEE",
        std::move(store), rank, size, OptionsPointer(std::move(options)));
  }

 private:
  static constexpr size_t kRoom = 1 << 15;  // of which the group takes 1,112 bytes, its options 248

  template <class Base, class... Arguments>
  static c10::intrusive_ptr<Base> made(const char *constructor, Arguments... arguments) {
    static void *library = dlopen("libtorch_cuda.so", RTLD_NOLOAD | RTLD_NOW);
    void *symbol = library ? dlsym(library, constructor) : nullptr;
    TORCH_CHECK(symbol, "this libtorch has no NCCL");
    void *room = ::operator new(kRoom);
    try {
      reinterpret_cast<void (*)(void *, Arguments...)>(symbol)(room, std::move(arguments)...);
    } catch (...) {
      ::operator delete(room);
      throw;
    }
    return c10::intrusive_ptr<Base>::unsafe_steal_from_new(static_cast<Base *>(room));
  }
};

}  // namespace

extern "C" {

struct vr1_store {
  StorePointer store;
  std::string host;
  uint16_t port;
};

struct vr1_group {
  GroupPointer host;
  GroupPointer cards;  // or nothing

  // Who speaks for what lies there.
  const GroupPointer &of(const at::Tensor &tensor) const { return tensor.is_cuda() ? cards : host; }
};

// A connection to the store at host:port, which this process holds itself where `holds` is not 0, at any port for port 0; keys are behind
// `prefix`, if that is not empty.
char *vr1_store_open(const char *host, uint16_t port, int holds, const char *prefix, uint64_t timeout_ms, vr1_store **out) {
  return vr1::message_of([&] {
    c10d::TCPStoreOptions options;
    options.port = port;
    options.isServer = holds != 0;
    options.waitWorkers = false;
    options.timeout = milliseconds(timeout_ms);
    auto tcp = c10::make_intrusive<c10d::TCPStore>(host, options);
    const uint16_t bound = tcp->getPort();
    StorePointer store = std::move(tcp);
    if (*prefix) store = c10::make_intrusive<c10d::PrefixStore>(prefix, std::move(store));
    *out = new vr1_store{std::move(store), host, bound};
  });
}

void vr1_store_close(vr1_store *store) { delete store; }

// What ends waits of a broadcast from another thread.
struct vr1_stop {
  Flag flag;
};

vr1_stop *vr1_stop_new() { return new vr1_stop{std::make_shared<std::atomic<bool>>(false)}; }
void vr1_stop_set(vr1_stop *stop) { *stop->flag = true; }
int vr1_stop_is_set(const vr1_stop *stop) { return *stop->flag ? 1 : 0; }
void vr1_stop_free(vr1_stop *stop) { delete stop; }

struct vr1_broadcast {
  GroupPointer group;
  Closing *gloo;  // or nothing
  Flag stopped;
};

// As rank of a group that PyTorch's `_new_process_group_helper` makes of `PrefixStore(name, store)`: behind its name again, and the kind of device.
char *vr1_broadcast_open(vr1_store *store, const vr1_stop *stop, const char *name, int cards, const char *own, int rank, int size,
                         uint64_t timeout_ms, vr1_broadcast **out) {
  return vr1::message_of([&] {
    const milliseconds timeout(timeout_ms);
    const std::string behind = std::string(name) + "/" + name + "//" + (cards ? "cuda/" : "cpu/");
    StorePointer watched = c10::make_intrusive<Watched>(store->store, stop->flag, timeout);
    StorePointer under = c10::make_intrusive<c10d::PrefixStore>(behind, std::move(watched));
    if (cards) {
      *out = new vr1_broadcast{Nccl::open(std::move(under), rank, size, timeout), nullptr, stop->flag};
      return;
    }
    auto options = c10d::ProcessGroupGloo::Options::create(timeout);
    options->devices = devices(store->host, own);
    options->threads = static_cast<int>(options->devices.size()) * 2;
    auto gloo = c10::make_intrusive<Closing>(under, rank, size, options);
    auto *closing = gloo.get();
    *out = new vr1_broadcast{std::move(gloo), closing, stop->flag};
  });
}

// Rank 0's numbers of `tensor` are all ranks' when this comes back.
char *vr1_broadcast_from_first(vr1_broadcast *broadcast, at::Tensor *tensor) {
  return vr1::message_of([&] {
    std::vector<at::Tensor> tensors{*tensor};
    c10::intrusive_ptr<c10d::Work> work;
    {
      const std::lock_guard<std::mutex> lock(starting);
      work = broadcast->group->broadcast(tensors, c10d::BroadcastOptions());
    }
    auto pause = std::chrono::microseconds(20);
    while (!work->isCompleted()) {
      if (*broadcast->stopped) {
        if (broadcast->gloo) broadcast->gloo->close();
        else broadcast->group->abort();
        go_on(broadcast->stopped);
      }
      std::this_thread::sleep_for(pause);
      pause = std::min(2 * pause, std::chrono::microseconds(1000));
    }
    work->wait();
  });
}

void vr1_broadcast_close(vr1_broadcast *broadcast) {
  if (!broadcast->gloo) std::free(vr1::message_of([&] { broadcast->group->shutdown(); }));
  delete broadcast;
}

// The port at which the store that this process holds is reached.
uint16_t vr1_store_port(const vr1_store *store) { return store->port; }

char *vr1_store_set(vr1_store *store, const char *key, const uint8_t *data, size_t count) {
  return vr1::message_of([&] { store->store->set(key, bytes(data, count)); });
}

// Whether there is a value: 1 or 0.
char *vr1_store_has(vr1_store *store, const char *key, int *found) {
  return vr1::message_of([&] { *found = store->store->check({key}) ? 1 : 0; });
}

// The value of a key that is there, of malloc.
char *vr1_store_get(vr1_store *store, const char *key, uint8_t **data, size_t *count) {
  return vr1::message_of([&] {
    const auto value = store->store->get(key);
    *data = static_cast<uint8_t *>(std::malloc(value.size() + 1));
    if (*data == nullptr) throw std::bad_alloc();
    std::copy(value.begin(), value.end(), *data);
    *count = value.size();
  });
}

void vr1_bytes_free(uint8_t *data) { std::free(data); }

// All `size` ranks come together within the first time limit; a collective may take the second.
char *vr1_group_open(vr1_store *store, int rank, int size, uint64_t meeting_ms, uint64_t timeout_ms, vr1_group **out) {
  return vr1::message_of([&] {
    auto options = c10d::ProcessGroupGloo::Options::create(milliseconds(meeting_ms));
    options->devices = devices(store->host);
    options->threads = static_cast<int>(options->devices.size()) * 2;
    auto under = c10::make_intrusive<c10d::PrefixStore>("gloo", store->store);
    GroupPointer backend = c10::make_intrusive<c10d::ProcessGroupGloo>(under, rank, size, options);
    backend->setTimeout(milliseconds(timeout_ms));
    *out = new vr1_group{std::move(backend), {}};
  });
}

// What lies on cards goes by NCCL from now on. A collective may take the time limit.
char *vr1_group_add_cards(vr1_group *group, vr1_store *store, uint64_t timeout_ms) {
  return vr1::message_of([&] {
    auto under = c10::make_intrusive<c10d::PrefixStore>("nccl", store->store);
    group->cards = Nccl::open(std::move(under), group->host->getRank(), group->host->getSize(), milliseconds(timeout_ms));
  });
}

// Another time limit for what lies on cards.
char *vr1_group_set_timeout(vr1_group *group, uint64_t timeout_ms) {
  return vr1::message_of([&] { group->cards->setTimeout(milliseconds(timeout_ms)); });
}

void vr1_group_close(vr1_group *group) {
  if (group->cards) std::free(vr1::message_of([&] { group->cards->shutdown(); }));
  delete group;
}

// Every rank gives the r-th of `input`'s parts to rank r: `given[r]` numbers, and gets `taken[r]` from it.
char *vr1_group_all_to_all(vr1_group *group, at::Tensor *input, at::Tensor *output, const int64_t *given, const int64_t *taken,
                           size_t ranks) {
  return vr1::message_of([&] {
    std::vector<int64_t> out(taken, taken + ranks), in(given, given + ranks);
    finish([&] { return group->of(*input)->alltoall_base(*output, *input, out, in); });
  });
}

// Every rank gives `input` to all, on cards: `output` has them in the order of ranks, of `counts` numbers.
char *vr1_group_give_all(vr1_group *group, at::Tensor *input, at::Tensor *output, const int64_t *counts, size_t ranks) {
  return vr1::message_of([&] {
    std::vector<at::Tensor> given(ranks, *input), taken = output->split_with_sizes(at::IntArrayRef(counts, ranks));
    finish([&] { return group->cards->alltoall(taken, given); });
  });
}

// Every rank gives `input` to all: `output` has them in the order of ranks.
char *vr1_group_all_gather(vr1_group *group, at::Tensor *input, at::Tensor *output) {
  return vr1::message_of([&] { finish([&] { return group->host->_allgather_base(*output, *input); }); });
}

char *vr1_group_barrier(vr1_group *group) {
  return vr1::message_of([&] { finish([&] { return group->host->barrier(); }); });
}
}
