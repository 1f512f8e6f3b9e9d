// Products of a few rows with a matrix, WIDTH floats a vector; included once for each set of instructions, into its namespace.
// Each vector of the matrix is read once for up to eight rows, which makes it a matter of the memory's speed.

typedef float Vector __attribute__((vector_size(WIDTH * 4)));
typedef float Unaligned __attribute__((vector_size(WIDTH * 4), aligned(4)));
typedef int32_t Lanes __attribute__((vector_size(WIDTH * 4)));
typedef uint32_t Bits __attribute__((vector_size(WIDTH * 4)));
typedef uint16_t Halves __attribute__((vector_size(WIDTH * 2), aligned(2)));

inline Vector load(const float *from) { return *reinterpret_cast<const Unaligned *>(from); }

// A bf16 is the upper half of a float.
inline Vector load(const uint16_t *from) {
  return reinterpret_cast<Vector>(__builtin_convertvector(*reinterpret_cast<const Halves *>(from), Bits) << 16);
}

inline float wide(float x) { return x; }

inline float wide(uint16_t x) {
  const uint32_t bits = static_cast<uint32_t>(x) << 16;
  float out;
  std::memcpy(&out, &bits, sizeof out);
  return out;
}

// Which lanes of two vectors are added to which, where sums of `Step` lanes each become sums of twice as many.
template <int Step>
struct Pairs {
  int32_t even[WIDTH], odd[WIDTH];
  constexpr Pairs() : even(), odd() {
    for (int lane = 0; lane < WIDTH; ++lane) {
      const int second = (lane / Step) % 2, base = lane - second * Step;
      even[lane] = base + second * WIDTH;
      odd[lane] = base + Step + second * WIDTH;
    }
  }
};

template <int Step>
inline __attribute__((always_inline)) void halve(Vector *sums) {
  if constexpr (Step < WIDTH) {
    static constexpr Pairs<Step> pairs;
    Lanes even, odd;
    std::memcpy(&even, pairs.even, sizeof even);
    std::memcpy(&odd, pairs.odd, sizeof odd);
#pragma GCC unroll 16
    for (int i = 0; i < WIDTH; i += 2 * Step) {
      sums[i] = __builtin_shuffle(sums[i], sums[i + Step], even) + __builtin_shuffle(sums[i], sums[i + Step], odd);
    }
    halve<2 * Step>(sums);
  }
}

// Lane i of the result is the sum of the lanes of sums[i].
inline __attribute__((always_inline)) Vector totals(Vector *sums) {
  halve<1>(sums);
  return sums[0];
}

// A stretch of the inputs: `count` of them, the first of all or added to what is there.
struct Stretch {
  int64_t count;
  bool first;
  void put(float *y, float sum) const { *y = first ? sum : *y + sum; }
};

// M rows with WIDTH / M rows of the matrix; of both the last may be given several times, and `rows` and `outputs` count.
template <int M, class W>
inline void block(const float *const *x, int64_t rows, const W *const *w, int64_t outputs, int64_t ahead, Stretch inputs, float *y,
                  int64_t y_stride) {
  constexpr int R = WIDTH / M;
  Vector sums[WIDTH];
#pragma GCC unroll 16
  for (int i = 0; i < WIDTH; ++i) sums[i] = Vector{};
  int64_t at = 0;
  for (; at + WIDTH <= inputs.count; at += WIDTH) {
    Vector part[R];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      part[r] = load(w[r] + at);
      __builtin_prefetch(w[r] + ahead + at);
    }
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) {
      const Vector row = load(x[m] + at);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) sums[m * R + r] += part[r] * row;
    }
  }
  float out[WIDTH];
  *reinterpret_cast<Unaligned *>(out) = totals(sums);
  for (int64_t m = 0; m < rows; ++m) {
    for (int64_t r = 0; r < outputs; ++r) {
      float sum = out[m * R + r];
      for (int64_t i = at; i < inputs.count; ++i) sum += wide(w[r][i]) * x[m][i];
      inputs.put(y + m * y_stride + r, sum);
    }
  }
}

template <int M, class W>
void tile(const float *x, int64_t rows, int64_t x_stride, const W *w, int64_t w_stride, int64_t outputs, Stretch inputs, float *y,
          int64_t y_stride) {
  constexpr int R = WIDTH / M;
  const float *each[M];
  for (int m = 0; m < M; ++m) each[m] = x + std::min<int64_t>(m, rows - 1) * x_stride;
  for (int64_t j = 0; j < outputs; j += R) {
    const W *part[R];
    for (int r = 0; r < R; ++r) part[r] = w + std::min<int64_t>(j + r, outputs - 1) * w_stride;
    block<M>(each, rows, part, std::min<int64_t>(R, outputs - j), R * w_stride, inputs, y + j, y_stride);
  }
}

// Outputs `from .. to` of y [rows, outputs] = x [rows, inputs] · w [outputs, inputs]ᵀ.
template <class W>
void product(const float *x, const W *w, float *y, int64_t rows, int64_t inputs, int64_t outputs, int64_t from, int64_t to) {
  constexpr int M = WIDTH / 2;
  // So many numbers of M rows stay in the first cache.
  constexpr int64_t kPiece = 768;
  const int64_t pieces = (inputs + kPiece - 1) / kPiece, piece = (inputs / pieces + WIDTH - 1) / WIDTH * WIDTH;
  // Rows beyond M read the matrix again, where it is still near.
  const int64_t step = rows <= M ? to - from : 16;
  for (int64_t at = 0; at < inputs; at += piece) {
    const Stretch stretch{std::min(piece, inputs - at), at == 0};
    for (int64_t j = from; j < to; j += step) {
      const int64_t count = std::min(step, to - j);
      for (int64_t m = 0; m < rows; m += M) {
        const int64_t left = std::min<int64_t>(rows - m, M);
        const auto some = left > M / 2 ? tile<M, W> : tile<M / 2, W>;
        some(x + m * inputs + at, left, inputs, w + j * inputs + at, inputs, count, stretch, y + m * outputs + j, outputs);
      }
    }
  }
}
