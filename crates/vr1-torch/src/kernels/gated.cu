// A pack of T a thread. GATE is the number of a `Gate`.
__device__ inline float opened(float x) {
  if (GATE == 0) return x / (1.0f + expf(-x));
  if (GATE == 1) return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f));
  if (GATE == 2) return 0.5f * x * (1.0f + tanhf(0.79788456080286536f * (x + 0.044715f * x * x * x)));
  return x * rounded<T>(1.0f / (1.0f + expf(-rounded<T>(1.702f * x))));
}

extern "C" __global__ void gated(const T *x, T *out, int width, i64 packs) {
  constexpr int kPack = Pack<T>::kCount;
  const i64 i = static_cast<i64>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= packs) return;
  const i64 row = i * kPack / width, at = i * kPack % width;
  const Pack<T> gate = load(x + row * 2 * width + at), up = load(x + row * 2 * width + width + at);
  Pack<T> y;
#pragma unroll
  for (int j = 0; j < kPack; ++j) y.at[j] = narrow<T>(rounded<T>(opened(wide(gate.at[j]))) * wide(up.at[j]));
  store(out + i * kPack, y);
}
