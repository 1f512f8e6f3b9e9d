// What an AdamW step goes by, as the Rust side lays it out.
#pragma once

struct vr1_adamw {
  double learning_rate, beta1, beta2, weight_decay, epsilon;
};
