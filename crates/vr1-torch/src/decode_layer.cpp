#include "decode_layer.h"

#include <ATen/core/grad_mode.h>

#include "message.h"

extern "C" {

// x [B, D]; shapes, kinds and devices were checked.
char *vr1_decode_layer(const at::Tensor *x, const vr1::Layer *layer, at::Tensor **out) {
  return vr1::message_of([&] {
    at::NoGradGuard no_grad;
    *out = new at::Tensor(vr1::DecodeLayer(*x, *layer).run());
  });
}
}
