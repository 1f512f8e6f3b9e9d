// A row a block, `PER` packs of T a thread.
extern "C" __global__ void add_rms_norm(T *residual, const T *addend, const T *weight, T *out, int hidden, float epsilon) {
  constexpr int kPack = Pack<T>::kCount;
  const i64 row = static_cast<i64>(blockIdx.x) * hidden;
  float x[PER][kPack], squares = 0;
#pragma unroll
  for (int i = 0; i < PER; ++i) {
    const int place = (i * blockDim.x + threadIdx.x) * kPack;
    if (place >= hidden) break;
    const Pack<T> a = load(residual + row + place), b = load(addend + row + place);
    Pack<T> sum;
#pragma unroll
    for (int j = 0; j < kPack; ++j) {
      sum.at[j] = narrow<T>(wide(a.at[j]) + wide(b.at[j]));
      x[i][j] = wide(sum.at[j]);
      squares += x[i][j] * x[i][j];
    }
    store(residual + row + place, sum);
  }
  const float scale = rsqrtf(of_block<Sum>(squares, 0.0f) / hidden + epsilon);
#pragma unroll
  for (int i = 0; i < PER; ++i) {
    const int place = (i * blockDim.x + threadIdx.x) * kPack;
    if (place >= hidden) break;
    const Pack<T> w = load(weight + place);
    Pack<T> y;
#pragma unroll
    for (int j = 0; j < kPack; ++j) y.at[j] = narrow<T>(x[i][j] * scale * wide(w.at[j]));
    store(out + row + place, y);
  }
}
