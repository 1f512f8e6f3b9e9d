// AdamW over numbers whose moments are held in 8 bits, a block of them after the other, in one pass over memory. CPU only.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "adamw.h"
#include "message.h"
#include "parallel.h"

#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__)
#define VR1_CLONES __attribute__((target_clones("avx512f", "arch=haswell", "default")))
#else
#define VR1_CLONES
#endif
#define VR1_INLINE inline __attribute__((always_inline))

namespace {

// Numbers that share a scale.
constexpr int64_t kBlock = 256;
constexpr int32_t kCodes = 256;

// The shares from 2⁻²⁴ to 1 by the first bits of theirs: in none of these cells there is more than one middle between two values.
constexpr int32_t kBits = 16, kFirst = 103 << 7, kCells = (127 << 7) - kFirst + 1;

// The 256 values that a code stands for, in rising order, and where the nearest is found.
struct Codebook {
  float values[kCodes];
  // Of the code `zero + k`: what is larger has a larger code; none does behind the last.
  float middles[kCodes];
  // How many middles lie below a cell.
  int32_t below[kCells];
  int32_t zero;

  Codebook(const float *given, const float *between) {
    std::copy_n(given, kCodes, values);
    zero = static_cast<int32_t>(std::lower_bound(given, given + kCodes, 0.0f) - given);
    std::fill_n(middles, kCodes, std::numeric_limits<float>::infinity());
    std::copy(between + zero, between + kCodes - 1, middles);
    int32_t k = 0;
    for (int32_t cell = 0; cell < kCells; ++cell) {
      const int32_t bits = (kFirst + cell) << kBits;
      float least;
      std::memcpy(&least, &bits, sizeof least);
      const int32_t before = k;
      while (middles[k] < least) ++k;
      TORCH_CHECK(k <= before + (cell > 0 ? 1 : 0), "the values of codes lie too near each other around ", least);
      below[cell] = k;
    }
  }

  VR1_INLINE int32_t nearest(float number, float scale) const {
    const float share = std::fabs(number) / scale;
    int32_t bits;
    std::memcpy(&bits, &share, sizeof bits);
    const int32_t cell = std::min(std::max((bits >> kBits) - kFirst, 0), kCells - 1);
    int32_t k = below[cell];
    k += share > middles[k] ? 1 : 0;
    // Without negative values, what is not 0 is never held as 0.
    const int32_t least = zero == 0 && share > 0 ? 1 : 0;
    return number < 0 ? zero - std::min(k, zero) : zero + std::max(k, least);
  }
};

// Numbers in 8 bits: their codes and a scale a block.
struct Held {
  uint8_t *codes;
  float *scales;
  const Codebook &codebook;
};

struct Step {
  float beta1, beta2, shrink, epsilon, size, root, scale;
};

VR1_INLINE void widen(const Held &held, int64_t block, float *numbers) {
  const uint8_t *codes = held.codes + block * kBlock;
  const float scale = held.scales[block], *values = held.codebook.values;
  for (int64_t i = 0; i < kBlock; ++i) numbers[i] = values[codes[i]] * scale;
}

VR1_INLINE void narrow(const Held &held, int64_t block, const float *numbers) {
  float largest = 0;
#pragma omp simd reduction(max : largest)
  for (int64_t i = 0; i < kBlock; ++i) {
    const float size = std::fabs(numbers[i]);
    largest = size > largest ? size : largest;
  }
  // A block of nothing but 0 has no largest number to divide by.
  const float by = std::max(largest, std::numeric_limits<float>::min());
  uint8_t *codes = held.codes + block * kBlock;
  const Codebook &codebook = held.codebook;
  int32_t found[kBlock];
#pragma omp simd
  for (int64_t i = 0; i < kBlock; ++i) found[i] = codebook.nearest(numbers[i], by);
  for (int64_t i = 0; i < kBlock; ++i) codes[i] = static_cast<uint8_t>(found[i]);
  held.scales[block] = largest;
}

// Blocks `from .. to` of `count` numbers.
VR1_CLONES void blocks(float *parameters, const float *gradients, const Held &means, const Held &squares, const Step &step,
                       int64_t count, int64_t from, int64_t to) {
  float m[kBlock], v[kBlock];
  for (int64_t block = from; block < to; ++block) {
    const int64_t start = block * kBlock, here = std::min(kBlock, count - start);
    widen(means, block, m);
    widen(squares, block, v);
    float *p = parameters + start;
    const float *g = gradients + start;
#pragma omp simd
    for (int64_t i = 0; i < here; ++i) {
      const float gradient = g[i] * step.scale;
      m[i] += (1 - step.beta1) * (gradient - m[i]);
      v[i] = step.beta2 * v[i] + (1 - step.beta2) * gradient * gradient;
      p[i] = p[i] * step.shrink - step.size * m[i] / (std::sqrt(v[i]) / step.root + step.epsilon);
    }
    for (int64_t i = here; i < kBlock; ++i) m[i] = v[i] = 0;
    narrow(means, block, m);
    narrow(squares, block, v);
  }
}

}  // namespace

extern "C" {

struct vr1_blockwise {
  const at::Tensor *codes, *scales, *values, *middles;
};

// `parameter` and `gradient` are contiguous and f32, codes [blocks, 256], scales [blocks], values [256], middles [255]; all on the CPU.
char *vr1_blockwise_adamw(const at::Tensor *parameter, const at::Tensor *gradient, const vr1_blockwise *mean,
                          const vr1_blockwise *square, double scale, double step, const vr1_adamw *hyper) {
  return vr1::message_of([&] {
    const auto codebook = [](const vr1_blockwise &held) {
      return Codebook(held.values->const_data_ptr<float>(), held.middles->const_data_ptr<float>());
    };
    const auto of_means = codebook(*mean), of_squares = codebook(*square);
    const auto held = [](const vr1_blockwise &held, const Codebook &codebook) {
      return Held{held.codes->mutable_data_ptr<uint8_t>(), held.scales->mutable_data_ptr<float>(), codebook};
    };
    const Held means = held(*mean, of_means), squares = held(*square, of_squares);
    Step s;
    s.beta1 = static_cast<float>(hyper->beta1);
    s.beta2 = static_cast<float>(hyper->beta2);
    s.shrink = static_cast<float>(1 - hyper->learning_rate * hyper->weight_decay);
    s.epsilon = static_cast<float>(hyper->epsilon);
    s.size = static_cast<float>(hyper->learning_rate / (1 - std::pow(hyper->beta1, step)));
    s.root = static_cast<float>(std::sqrt(1 - std::pow(hyper->beta2, step)));
    s.scale = static_cast<float>(scale);
    auto *p = parameter->mutable_data_ptr<float>();
    const auto *g = gradient->const_data_ptr<float>();
    const int64_t count = parameter->numel(), all = (count + kBlock - 1) / kBlock;
    vr1::parallel(all, 128, [&](int64_t from, int64_t to) { blocks(p, g, means, squares, s, count, from, to); });
  });
}
}
