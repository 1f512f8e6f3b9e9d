// Heads turned, a pack of a head's first half and the one of its second a thread. C is the kind of the rotation, W the one that it is
// computed in; `turn` is 1, or -1 for the way back.
extern "C" __global__ void rotate(const T *x, const C *cos, const C *sin, T *out, i64 x_row, i64 x_head, int heads, int d, float turn,
                                  i64 units) {
  constexpr int kPack = Pack<T>::kCount;
  const i64 i = static_cast<i64>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= units) return;
  const int half = d / 2, packs = half / kPack, at = static_cast<int>(i % packs) * kPack;
  const i64 head = i / packs % heads, row = i / packs / heads;
  const T *from = x + row * x_row + head * x_head + at;
  Pack<T> a = load(from), b = load(from + half);
  const C *c = cos + row * d + at, *s = sin + row * d + at;
#pragma unroll
  for (int j = 0; j < kPack; ++j) {
    const float p = wide(a.at[j]), q = wide(b.at[j]);
    a.at[j] = narrow<T>(turned(p, wide(c[j]), -turn * q, wide(s[j])));
    b.at[j] = narrow<T>(turned(q, wide(c[half + j]), turn * p, wide(s[half + j])));
  }
  T *to = out + (row * heads + head) * d + at;
  store(to, a);
  store(to + half, b);
}
