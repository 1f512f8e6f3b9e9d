// c10d's store over TCP, and its collectives over Gloo, both of which libtorch holds.
#include <ATen/core/Tensor.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <mutex>
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

}  // namespace

extern "C" {

struct vr1_store {
  StorePointer store;
  std::string host;
};

struct vr1_group {
  GroupPointer backend;
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
    *out = new vr1_group{std::move(backend)};
  });
}

void vr1_group_close(vr1_group *group) { delete group; }

// Every rank gives the r-th of `input`'s parts to rank r: `given[r]` numbers, and gets `taken[r]` from it.
char *vr1_group_all_to_all(vr1_group *group, at::Tensor *input, at::Tensor *output, const int64_t *given, const int64_t *taken,
                           size_t ranks) {
  return vr1::message_of([&] {
    std::vector<int64_t> out(taken, taken + ranks), in(given, given + ranks);
    finish([&] { return group->backend->alltoall_base(*output, *input, out, in); });
  });
}

// Every rank gives `input` to all: `output` has them in the order of ranks.
char *vr1_group_all_gather(vr1_group *group, at::Tensor *input, at::Tensor *output) {
  return vr1::message_of([&] { finish([&] { return group->backend->_allgather_base(*output, *input); }); });
}

char *vr1_group_barrier(vr1_group *group) {
  return vr1::message_of([&] { finish([&] { return group->backend->barrier(); }); });
}
}
