// Attention of a token a row over its group's prefix and over its own keys. P groups, B rows, H heads, K key-value heads, R = H / K, D head
// size. A block takes the queries that share keys (all of a group over its prefix, those of a row and key-value head over its own), up to
// 64 of them, and a split of the keys; `merged` puts the splits together by their log-sum-exp.
constexpr int kTile = 64, kWarps = 4, kThreads = 32 * kWarps;
constexpr int kRow = D + 8;                  // of a tile in shared memory: rows of a matrix in banks of their own
constexpr int kStages = D > 128 ? 1 : 2;     // of tiles in flight
constexpr float kLog2E = 1.4426950408889634f;

struct Keys {
  const T *keys, *values;
  const int *starts, *lengths;             // `starts` of prefixes alone
  i64 key_row, key_token, key_head;        // strides; `_row` of own keys alone
  i64 value_row, value_token, value_head;
  int most;                                // keys there are: of all prefixes, of each row
  int longest;                             // keys that are seen at most
  int splits;
};

struct alignas(8) Two {
  float first, second;
};

struct Shape {
  int groups, rows, heads, shared;
};

__device__ inline int clamped(int x, int least, int greatest) { return min(max(x, least), greatest); }

__device__ inline int start_of(const Keys &keys, int at) { return keys.starts ? clamped(keys.starts[at], 0, keys.most) : 0; }
__device__ inline int length_of(const Keys &keys, int at) {
  return clamped(keys.lengths[at], 0, min(keys.longest, keys.most - start_of(keys, at)));
}
// How many keys a split has, whole tiles but for the last.
__device__ inline int split_of(int length, int splits) {
  const int tiles = (length + kTile - 1) / kTile;
  return max((tiles + splits - 1) / splits, 1) * kTile;
}

// What a block works on.
struct Job {
  const T *queries;  // of all rows
  const T *keys, *values;
  i64 key_token, value_token;
  int count;         // keys, from 1 on
  int first, most;   // of the queries that share these keys: the first of this block's, and how many there are
  int row, head, ratio, heads;  // the row and head of the very first, heads a key-value head, heads a row
  float *out, *lse;  // [B·H, D] and [B·H] of this split

  // Which of the B·H queries the i-th of this block is.
  __device__ i64 query(int i) const {
    const int at = first + i;
    return static_cast<i64>(row + at / ratio) * heads + head + at % ratio;
  }
};

__device__ inline void load_tile(T *to, const T *from, i64 token, int count) {
  constexpr int kPacks = D / 8;
  for (int i = threadIdx.x; i < kTile * kPacks; i += kThreads) {
    const int key = i / kPacks, at = i % kPacks * 8;
    copy_async(to + key * kRow + at, from + (key < count ? key * token : 0) + at, key < count ? 16 : 0);
  }
}

// kQueries tiles of 16 queries; the warps that are not needed for more queries share out the keys of a tile.
template <int kQueries>
__device__ inline void attend(const Job &job, float scale, T *memory) {
  constexpr int kParts = kWarps / kQueries, kKeys = kTile / kParts;
  T *const queries = memory, *const tiles = memory + 64 * kRow;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int own = warp % kQueries * 16, part = warp / kQueries;
  const int queries_here = min(job.most - job.first, kQueries * 16);

  for (int i = threadIdx.x; i < kQueries * 16 * (D / 8); i += kThreads) {
    const int at = i / (D / 8), place = i % (D / 8) * 8;
    const bool is = at < queries_here;
    copy_async(queries + at * kRow + place, job.queries + (is ? job.query(at) * D + place : 0), is ? 16 : 0);
  }
  const auto fetch = [&](int tile) {
    T *to = tiles + tile % kStages * 2 * kTile * kRow;
    const int from = tile * kTile, count = min(job.count - from, kTile);
    load_tile(to, job.keys + from * job.key_token, job.key_token, count);
    load_tile(to + kTile * kRow, job.values + from * job.value_token, job.value_token, count);
    copies_end();
  };

  float out[D / 8][4] = {}, top[2] = {-INFINITE, -INFINITE}, sum[2] = {0, 0};
  const int count = (job.count + kTile - 1) / kTile;
  fetch(0);
  for (int tile = 0; tile < count; ++tile) {
    if (kStages == 2 && tile + 1 < count) {
      fetch(tile + 1);
      copies_arrive<1>();
    } else {
      copies_arrive<0>();
    }
    __syncthreads();
    const T *keys = tiles + tile % kStages * 2 * kTile * kRow + part * kKeys * kRow, *values = keys + kTile * kRow;

    float scores[kKeys / 8][4] = {};
#pragma unroll
    for (int k = 0; k < D / 16; ++k) {
      unsigned a[4];
      load_matrices(a, queries + (own + lane % 16) * kRow + k * 16 + lane / 16 * 8);
#pragma unroll
      for (int n = 0; n < kKeys / 16; ++n) {
        unsigned b[4];
        load_matrices(b, keys + (n * 16 + lane / 16 * 8 + lane % 8) * kRow + k * 16 + lane / 8 % 2 * 8);
        multiply<T>(scores[2 * n], a, b[0], b[1]);
        multiply<T>(scores[2 * n + 1], a, b[2], b[3]);
      }
    }

    // Thread t of a warp has of rows t / 4 and t / 4 + 8 the columns 2 (t % 4) and the next of each eight.
    const int left = job.count - tile * kTile - part * kKeys;
    float highest[2] = {top[0], top[1]};
#pragma unroll
    for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        scores[n][i] = n * 8 + lane % 4 * 2 + i % 2 < left ? scores[n][i] * scale : -INFINITE;
        highest[i / 2] = fmaxf(highest[i / 2], scores[n][i]);
      }
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float &high = highest[half];
      high = fmaxf(high, __shfl_xor_sync(~0u, high, 1));
      high = fmaxf(high, __shfl_xor_sync(~0u, high, 2));
      const float zero = high == -INFINITE ? 0.0f : high;
      const float factor = exp2f(top[half] - zero);
      top[half] = high;
      sum[half] *= factor;
#pragma unroll
      for (int n = 0; n < D / 8; ++n) {
        out[n][2 * half] *= factor;
        out[n][2 * half + 1] *= factor;
      }
#pragma unroll
      for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
        for (int i = 2 * half; i < 2 * half + 2; ++i) {
          scores[n][i] = exp2f(scores[n][i] - zero);
          sum[half] += scores[n][i];
        }
      }
    }

#pragma unroll
    for (int k = 0; k < kKeys / 16; ++k) {
      const unsigned a[4] = {packed<T>(scores[2 * k][0], scores[2 * k][1]), packed<T>(scores[2 * k][2], scores[2 * k][3]),
                             packed<T>(scores[2 * k + 1][0], scores[2 * k + 1][1]),
                             packed<T>(scores[2 * k + 1][2], scores[2 * k + 1][3])};
#pragma unroll
      for (int n = 0; n < D / 16; ++n) {
        unsigned b[4];
        load_transposed(b, values + (k * 16 + lane / 8 % 2 * 8 + lane % 8) * kRow + n * 16 + lane / 16 * 8);
        multiply<T>(out[2 * n], a, b[0], b[1]);
        multiply<T>(out[2 * n + 1], a, b[2], b[3]);
      }
    }
    __syncthreads();
    if (kStages == 1 && tile + 1 < count) fetch(tile + 1);
  }

  // The parts of the keys are put together in shared memory: [kParts, kQueries · 16, kRow], where the tiles were.
  float *const outs = reinterpret_cast<float *>(tiles);
  __shared__ float tops[64], sums[64];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int at = part * kQueries * 16 + own + lane / 4 + 8 * half;
    sum[half] += __shfl_xor_sync(~0u, sum[half], 1);
    sum[half] += __shfl_xor_sync(~0u, sum[half], 2);
    if (lane % 4 == 0) {
      tops[at] = top[half];
      sums[at] = sum[half];
    }
#pragma unroll
    for (int n = 0; n < D / 8; ++n) {
      *reinterpret_cast<Two *>(outs + at * kRow + n * 8 + lane % 4 * 2) = {out[n][2 * half], out[n][2 * half + 1]};
    }
  }
  __syncthreads();
  if (threadIdx.x < queries_here) {
    float highest = -INFINITE, whole = 0;
    for (int i = 0; i < kParts; ++i) highest = fmaxf(highest, tops[i * kQueries * 16 + threadIdx.x]);
    const float zero = highest == -INFINITE ? 0.0f : highest;
    for (int i = 0; i < kParts; ++i) {
      const int at = i * kQueries * 16 + threadIdx.x;
      tops[at] = exp2f(tops[at] - zero);
      whole += tops[at] * sums[at];
    }
    for (int i = 0; i < kParts; ++i) tops[i * kQueries * 16 + threadIdx.x] /= whole;
    job.lse[job.query(threadIdx.x)] = zero + log2f(whole);
  }
  __syncthreads();
  for (int i = threadIdx.x; i < queries_here * (D / 4); i += kThreads) {
    const int at = i / (D / 4), column = i % (D / 4) * 4;
    Pack<float> whole = {};
    for (int j = 0; j < kParts; ++j) {
      const int place = j * kQueries * 16 + at;
      const Pack<float> one = load(outs + place * kRow + column);
#pragma unroll
      for (int k = 0; k < 4; ++k) whole.at[k] += tops[place] * one.at[k];
    }
    store(job.out + job.query(at) * D + column, whole);
  }
}

// Blocks of prefixes come first: for each group, key-value head and split the tiles of 64 queries, so that keys are in a cache when the
// next tile reads them. Then those of own keys: for each row, key-value head and split.
extern "C" __global__ void __launch_bounds__(kThreads)
    group_attention(const T *queries, const __grid_constant__ Keys prefix, const __grid_constant__ Keys own, Shape shape, float scale, float *outs, float *lses) {
  extern __shared__ Words memory[];
  Job job;
  job.queries = queries;
  job.ratio = shape.heads / shape.shared;
  job.heads = shape.heads;
  const int group = shape.rows / shape.groups, shared_queries = group * job.ratio, tiles = (shared_queries + 63) / 64;
  const int of_prefixes = shape.groups * shape.shared * prefix.splits * tiles;
  int at = blockIdx.x;
  const bool is_prefix = at < of_prefixes;
  const Keys &source = is_prefix ? prefix : own;
  if (is_prefix) {
    job.first = at % tiles * 64;
    at /= tiles;
    job.most = shared_queries;
  } else {
    at -= of_prefixes;
    job.first = 0;
    job.most = job.ratio;
  }
  const int split = at % source.splits, kv = at / source.splits % shape.shared;
  const i64 unit = at / source.splits / shape.shared;
  job.row = is_prefix ? unit * group : unit;
  job.head = kv * job.ratio;
  const int length = length_of(source, unit), each = split_of(length, source.splits), from = split * each;
  if (from >= length) return;
  job.count = min(length - from, each);
  const i64 token = start_of(source, unit) + from, row = is_prefix ? 0 : unit;
  job.key_token = source.key_token;
  job.value_token = source.value_token;
  job.keys = source.keys + row * source.key_row + token * source.key_token + kv * source.key_head;
  job.values = source.values + row * source.value_row + token * source.value_token + kv * source.value_head;
  const i64 slot = is_prefix ? split : prefix.splits + split, all = static_cast<i64>(shape.rows) * shape.heads;
  job.out = outs + slot * all * D;
  job.lse = lses + slot * all;

  T *const place = reinterpret_cast<T *>(memory);
  for (; job.first < job.most; job.first += 64) {
    const int here = job.most - job.first;
    if (here > 32) {
      attend<4>(job, scale * kLog2E, place);
    } else if (here > 16) {
      attend<2>(job, scale * kLog2E, place);
    } else {
      attend<1>(job, scale * kLog2E, place);
    }
    if (is_prefix) return;
    __syncthreads();
  }
}

// A query a block: the splits that have keys, weighed by their log-sum-exp.
extern "C" __global__ void merged(const __grid_constant__ Keys prefix, const __grid_constant__ Keys own, Shape shape, const float *outs, const float *lses, T *out) {
  const int query = blockIdx.x, row = query / shape.heads;
  const i64 all = static_cast<i64>(shape.rows) * shape.heads;
  const int prefix_length = length_of(prefix, row / (shape.rows / shape.groups)), own_length = length_of(own, row);
  const int prefix_each = split_of(prefix_length, prefix.splits), own_each = split_of(own_length, own.splits);
  const int prefix_count = (prefix_length + prefix_each - 1) / prefix_each, own_count = (own_length + own_each - 1) / own_each;
  const int count = prefix_count + own_count, jump = prefix.splits - prefix_count;
  const auto slot = [&](int i) { return (i < prefix_count ? i : i + jump) * all + query; };
  float highest = -INFINITE;
#pragma unroll 4
  for (int i = 0; i < count; ++i) highest = fmaxf(highest, lses[slot(i)]);
  float whole = 0, weights = 0;
#pragma unroll 4
  for (int i = 0; i < count; ++i) {
    const float weight = exp2f(lses[slot(i)] - highest);
    weights += weight;
    whole += weight * outs[slot(i) * D + threadIdx.x];
  }
  out[static_cast<i64>(query) * D + threadIdx.x] = narrow<T>(count > 0 ? whole / weights : 0.0f);
}
