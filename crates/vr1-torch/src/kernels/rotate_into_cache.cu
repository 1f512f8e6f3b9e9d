// A row a block; a thread takes a pack of a head's first half and the one of its second that is turned with it. C is the kind of
// the rotation.
extern "C" __global__ void rotate_into_cache(const T *qkv, const C *cos, const C *sin, T *query, T *keys, T *values, const int *places,
                                             int heads, int shared, int d, int capacity, i64 key_row, i64 key_place, i64 key_head,
                                             i64 value_row, i64 value_place, i64 value_head) {
  constexpr int kPack = Pack<T>::kCount;
  const i64 row = blockIdx.x;
  const int place = places[row], half = d / 2, packs = half / kPack;
  const bool inside = place >= 0 && place < capacity;
  for (int i = threadIdx.x; i < (heads + 2 * shared) * packs; i += blockDim.x) {
    const int head = i / packs, at = i % packs * kPack;
    const T *from = qkv + (row * (heads + 2 * shared) + head) * d + at;
    T *to = query + (row * heads + head) * d + at;
    if (head >= heads && !inside) continue;
    if (head >= heads + shared) {
      to = values + row * value_row + place * value_place + (head - heads - shared) * value_head + at;
    } else if (head >= heads) {
      to = keys + row * key_row + place * key_place + (head - heads) * key_head + at;
    }
    Pack<T> a = load(from), b = load(from + half);
    if (head < heads + shared) {
      const C *c = cos + row * d + at, *s = sin + row * d + at;
#pragma unroll
      for (int j = 0; j < kPack; ++j) {
        const float x = wide(a.at[j]), y = wide(b.at[j]);
        a.at[j] = narrow<T>(turned(x, wide(c[j]), -y, wide(s[j])));
        b.at[j] = narrow<T>(turned(y, wide(c[half + j]), x, wide(s[half + j])));
      }
    }
    store(to, a);
    store(to + half, b);
  }
}
