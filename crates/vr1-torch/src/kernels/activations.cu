// Activations where gradients are collected, forwards and back, a pack of T a thread. The slopes are in f32 of the numbers as they lie.
__device__ inline float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

template <class Of>
__device__ inline void each(i64 packs, const Of &of) {
  const i64 i = static_cast<i64>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < packs) of(i * Pack<T>::kCount);
}

extern "C" __global__ void silu_product(const T *gate, const T *up, T *out, i64 packs) {
  each(packs, [&](i64 at) {
    const Pack<T> x = load(gate + at), y = load(up + at);
    Pack<T> product;
#pragma unroll
    for (int j = 0; j < Pack<T>::kCount; ++j) {
      const float gate = wide(x.at[j]);
      product.at[j] = narrow<T>(rounded<T>(gate * sigmoid(gate)) * wide(y.at[j]));
    }
    store(out + at, product);
  });
}

extern "C" __global__ void silu_product_back(const T *gradient, const T *gate, const T *up, T *for_gate, T *for_up, i64 packs) {
  each(packs, [&](i64 at) {
    const Pack<T> g = load(gradient + at), x = load(gate + at), y = load(up + at);
    Pack<T> first, second;
#pragma unroll
    for (int j = 0; j < Pack<T>::kCount; ++j) {
      const float from = wide(g.at[j]), gate = wide(x.at[j]), s = sigmoid(gate);
      first.at[j] = narrow<T>(from * wide(y.at[j]) * s * (1.0f + gate * (1.0f - s)));
      second.at[j] = narrow<T>(from * gate * s);
    }
    store(for_gate + at, first);
    store(for_up + at, second);
  });
}

extern "C" __global__ void quick_gelu(const T *x, T *out, i64 packs) {
  each(packs, [&](i64 at) {
    Pack<T> y = load(x + at);
#pragma unroll
    for (int j = 0; j < Pack<T>::kCount; ++j) {
      const float x = wide(y.at[j]);
      y.at[j] = narrow<T>(x * rounded<T>(sigmoid(rounded<T>(1.702f * x))));
    }
    store(out + at, y);
  });
}

extern "C" __global__ void quick_gelu_back(const T *gradient, const T *x, T *out, i64 packs) {
  each(packs, [&](i64 at) {
    const Pack<T> g = load(gradient + at);
    Pack<T> y = load(x + at);
#pragma unroll
    for (int j = 0; j < Pack<T>::kCount; ++j) {
      const float x = 1.702f * wide(y.at[j]), s = sigmoid(x);
      y.at[j] = narrow<T>(wide(g.at[j]) * s * (1.0f + x * (1.0f - s)));
    }
    store(out + at, y);
  });
}
