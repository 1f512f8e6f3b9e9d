// SplitMix64 of a row's state and its position, in [0, 1).
__device__ inline u64 mixed(u64 x) {
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}
__device__ inline double uniform(i64 state, i64 position) {
  const u64 bits = mixed(mixed(static_cast<u64>(state)) ^ static_cast<u64>(position)) >> 11;
  return static_cast<double>(bits) / 9007199254740992.0;
}
