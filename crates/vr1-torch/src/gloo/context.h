// libtorch holds Gloo and exports `c10d::ProcessGroupGloo`, whose header wants Gloo's own headers; those that libtorch is published with
// lack them. What c10d's header needs to compile are names: it holds all of Gloo by pointer, so no layout depends on what is said here,
// and nothing here is defined. What is called are `Context`'s two functions, which libtorch exports. A libtorch that comes with Gloo's headers is compiled with those.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace gloo {

class Context {
 public:
  void setTimeout(std::chrono::milliseconds timeout);
  void closeConnections();
};

namespace transport {

class UnboundBuffer {
 public:
  virtual ~UnboundBuffer();
};

}  // namespace transport
}  // namespace gloo
