// The kinds of numbers, what they are in f32 and back, and sixteen bytes of them at a time. Compiled without CUDA's headers.

struct bf16 {
  unsigned short bits;
};
struct f16 {
  unsigned short bits;
};
using f32 = float;
using i64 = long long;
using u64 = unsigned long long;

#define INFINITE __int_as_float(0x7f800000)

__device__ inline float wide(bf16 x) { return __uint_as_float(static_cast<unsigned>(x.bits) << 16); }
__device__ inline float wide(f16 x) {
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
  return y;
}
__device__ inline float wide(float x) { return x; }

template <class T>
__device__ inline T narrow(float x);
template <>
__device__ inline bf16 narrow<bf16>(float x) {
  bf16 y;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
  return y;
}
template <>
__device__ inline f16 narrow<f16>(float x) {
  f16 y;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
  return y;
}
template <>
__device__ inline float narrow<float>(float x) {
  return x;
}

// As it is after it was stored as a T.
template <class T>
__device__ inline float rounded(float x) {
  return wide(narrow<T>(x));
}

// Sixteen bytes, loaded and stored as one.
template <class T>
struct alignas(16) Pack {
  static constexpr int kCount = 16 / sizeof(T);
  T at[kCount];
};
struct alignas(16) Words {
  unsigned x, y, z, w;
};
template <class T>
__device__ inline Pack<T> load(const T *from) {
  union {
    Words words;
    Pack<T> pack;
  } both;
  both.words = *reinterpret_cast<const Words *>(from);
  return both.pack;
}
template <class T>
__device__ inline void store(T *to, const Pack<T> &pack) {
  *reinterpret_cast<Words *>(to) = *reinterpret_cast<const Words *>(&pack);
}

struct Sum {
  template <class X>
  __device__ static X of(X a, X b) {
    return a + b;
  }
};
struct Max {
  template <class X>
  __device__ static X of(X a, X b) {
    return a > b ? a : b;
  }
};

// Of all threads of a block of whole warps, told to each. `empty` changes nothing.
template <class Of, class X>
__device__ inline X of_block(X x, X empty) {
  __shared__ X parts[32];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
  for (int step = 16; step > 0; step /= 2) x = Of::of(x, __shfl_xor_sync(~0u, x, step));
  __syncthreads();  // what was told before has been read
  if (lane == 0) parts[warp] = x;
  __syncthreads();
  x = lane < warps ? parts[lane] : empty;
  for (int step = 16; step > 0; step /= 2) x = Of::of(x, __shfl_xor_sync(~0u, x, step));
  return x;
}
