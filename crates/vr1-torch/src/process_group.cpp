// c10d's store over TCP, and its collectives over Gloo and NCCL, all of which libtorch holds.
#include <ATen/core/Tensor.h>

#include <dlfcn.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <new>
#include <sstream>
#include <string>
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
std::vector<std::shared_ptr<::gloo::transport::Device>> devices(const std::string &host) {
  using Gloo = c10d::ProcessGroupGloo;
  std::vector<std::shared_ptr<::gloo::transport::Device>> out;
  if (const char *names = std::getenv("GLOO_SOCKET_IFNAME")) {
    std::istringstream list(names);
    for (std::string name; std::getline(list, name, ',');)
      if (!name.empty()) out.push_back(Gloo::createDeviceForInterface(name));
  }
  if (out.empty() && (host == "127.0.0.1" || host == "localhost")) out.push_back(Gloo::createDeviceForHostname("127.0.0.1"));
  if (out.empty()) out.push_back(Gloo::createDefaultDevice());
  return out;
}

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
};

struct vr1_group {
  GroupPointer host;
  GroupPointer cards;  // or nothing

  // Who speaks for what lies there.
  const GroupPointer &of(const at::Tensor &tensor) const { return tensor.is_cuda() ? cards : host; }
};

// A connection to the store at host:port, which this process holds itself where `holds` is not 0; keys are behind `prefix`.
char *vr1_store_open(const char *host, uint16_t port, int holds, const char *prefix, uint64_t timeout_ms, vr1_store **out) {
  return vr1::message_of([&] {
    c10d::TCPStoreOptions options;
    options.port = port;
    options.isServer = holds != 0;
    options.waitWorkers = false;
    options.timeout = milliseconds(timeout_ms);
    StorePointer tcp = c10::make_intrusive<c10d::TCPStore>(host, options);
    *out = new vr1_store{c10::make_intrusive<c10d::PrefixStore>(prefix, std::move(tcp)), host};
  });
}

void vr1_store_close(vr1_store *store) { delete store; }

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
