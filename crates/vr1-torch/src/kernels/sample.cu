// A vocabulary is cut into stretches of kStretch tokens: a block each says what its stretch amounts to, and then a block a row says where
// the row's number stops. What a row gets does not depend on how many there are. VEC is how many logits are loaded at a time.
constexpr int kThreads = 256, kEach = 16, kStretch = kThreads * kEach;

// Of a stretch: the greatest logit, the sum of e^(x − greatest) and that of e^(x − greatest) (x − greatest); and of what can be drawn, at the
// temperature: the greatest, the first that is, and the sum of e^(y − greatest).
struct Part {
  float greatest, sum, weighed, top, mass;
  int first;
};

struct Drawn {
  const T *logits;
  const unsigned char *unreachable;
  int vocabulary;
  float temperature;

  // −∞ for what cannot be drawn.
  __device__ float scaled(float x, int token) const {
    if (unreachable && unreachable[token]) return -INFINITE;
    return temperature > 0.0f ? x / temperature : x;
  }
};

// 0 beside a greatest of −∞, where nothing is.
__device__ inline float power(float x, float greatest) { return greatest == -INFINITE ? 0.0f : expf(x - greatest); }

extern "C" __global__ void __launch_bounds__(kThreads)
    stretches(const T *logits, const unsigned char *unreachable, int vocabulary, float temperature, Part *parts) {
  const Drawn drawn{logits + static_cast<i64>(blockIdx.y) * vocabulary, unreachable, vocabulary, temperature};
  const int from = blockIdx.x * kStretch + threadIdx.x * VEC;
  float x[kEach], greatest = -INFINITE, top = -INFINITE;
#pragma unroll
  for (int i = 0; i < kEach / VEC; ++i) {
    const int token = from + i * kThreads * VEC;
#if VEC > 1
    if (token < vocabulary) {
      const Pack<T> pack = load(drawn.logits + token);
#pragma unroll
      for (int j = 0; j < VEC; ++j) x[i * VEC + j] = wide(pack.at[j]);
    } else {
#pragma unroll
      for (int j = 0; j < VEC; ++j) x[i * VEC + j] = -INFINITE;
    }
#else
    x[i] = token < vocabulary ? wide(drawn.logits[token]) : -INFINITE;
#endif
  }
  float y[kEach];
  int first = vocabulary;
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    const int token = from + i / VEC * kThreads * VEC + i % VEC;
    y[i] = token < vocabulary ? drawn.scaled(x[i], token) : -INFINITE;
    greatest = fmaxf(greatest, x[i]);
    top = fmaxf(top, y[i]);
  }
  greatest = of_block<Max>(greatest, -INFINITE);
  top = of_block<Max>(top, -INFINITE);
  float sum = 0, weighed = 0, mass = 0;
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    const int token = from + i / VEC * kThreads * VEC + i % VEC;
    const float e = power(x[i], greatest);
    sum += e;
    if (e > 0.0f) weighed += e * (x[i] - greatest);
    mass += power(y[i], top);
    if (y[i] == top && token < first) first = token;
  }
  sum = of_block<Sum>(sum, 0.0f);
  weighed = of_block<Sum>(weighed, 0.0f);
  mass = of_block<Sum>(mass, 0.0f);
  first = -of_block<Max>(-first, -vocabulary);
  if (threadIdx.x == 0) parts[static_cast<i64>(blockIdx.y) * gridDim.x + blockIdx.x] = {greatest, sum, weighed, top, mass, first};
}

// The sum of what the threads before this one have.
__device__ inline double before(double x) {
  __shared__ double warps[kThreads / 32];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  double sum = x;
  for (int step = 1; step < 32; step *= 2) {
    const double other = __shfl_up_sync(~0u, sum, step);
    if (lane >= step) sum += other;
  }
  if (lane == 31) warps[warp] = sum;
  __syncthreads();
  double whole = sum - x;
  for (int i = 0; i < warp; ++i) whole += warps[i];
  return whole;
}

extern "C" __global__ void __launch_bounds__(kThreads)
    pick(const T *logits, const unsigned char *unreachable, int vocabulary, float temperature, const Part *parts, int count,
         const i64 *states, const i64 *positions, int positions_step, i64 *ids, float *logprobs, float *drawn_logprobs,
         float *entropies) {
  const i64 row = blockIdx.x;
  const Drawn drawn{logits + row * vocabulary, unreachable, vocabulary, temperature};
  parts += row * count;
  float greatest = -INFINITE, top = -INFINITE;
  for (int i = threadIdx.x; i < count; i += kThreads) {
    greatest = fmaxf(greatest, parts[i].greatest);
    top = fmaxf(top, parts[i].top);
  }
  greatest = of_block<Max>(greatest, -INFINITE);
  top = of_block<Max>(top, -INFINITE);
  double sum = 0, weighed = 0;
  int first = vocabulary;
  for (int i = threadIdx.x; i < count; i += kThreads) {
    const Part part = parts[i];
    const double factor = power(part.greatest, greatest);
    sum += factor * part.sum;
    if (factor > 0) weighed += factor * (part.weighed + static_cast<double>(part.greatest - greatest) * part.sum);
    if (part.top == top && part.first < first) first = part.first;
  }
  sum = of_block<Sum>(sum, 0.0);
  weighed = of_block<Sum>(weighed, 0.0);
  first = -of_block<Max>(-first, -vocabulary);

  // The stretch, and what stands before it.
  __shared__ double target, mass, skipped;
  __shared__ int stretch;
  extern __shared__ double masses[];
  for (int i = threadIdx.x; i < count; i += kThreads) masses[i] = static_cast<double>(power(parts[i].top, top)) * parts[i].mass;
  __syncthreads();
  if (threadIdx.x == 0) {
    double whole = 0, cumulative = 0;
    for (int i = 0; i < count; ++i) whole += masses[i];
    mass = whole;
    target = uniform(states[row], positions[row * positions_step]) * whole;
    stretch = 0;
    skipped = 0;
    for (int i = 0; i < count; ++i) {
      if (masses[i] > 0) {
        stretch = i;
        skipped = cumulative;
      }
      cumulative += masses[i];
      if (cumulative > target) break;
    }
  }
  __syncthreads();

  // The token in it, each thread with tokens that adjoin.
  const int from = stretch * kStretch + threadIdx.x * kEach;
  const float local_top = parts[stretch].top, factor = power(local_top, top);
  double own = 0;
  int last = -1;
  float e[kEach];
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    const int token = from + i;
    e[i] = token < vocabulary ? power(drawn.scaled(wide(drawn.logits[token]), token), local_top) : 0.0f;
    if (e[i] > 0.0f) last = token;
    own += e[i];
  }
  const double stop = (target - skipped) / factor;
  double cumulative = before(own);
  int found = vocabulary;
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    cumulative += e[i];
    if (e[i] > 0.0f && cumulative > stop && found == vocabulary) found = from + i;
  }
  found = -of_block<Max>(-found, -vocabulary);
  last = of_block<Max>(last, -1);
  if (threadIdx.x != 0) return;
  // Rounding can leave a number that no sum exceeds; where nothing is a number, the first token is as good as any.
  int id = temperature > 0.0f ? (found < vocabulary ? found : last) : first;
  if (id < 0 || id >= vocabulary) id = 0;
  const float x = wide(drawn.logits[id]);
  ids[row] = id;
  logprobs[row] = static_cast<float>(static_cast<double>(x) - greatest - log(sum));
  drawn_logprobs[row] =
      temperature > 0.0f ? static_cast<float>(static_cast<double>(drawn.scaled(x, id)) - top - log(mass)) : 0.0f;
  entropies[row] = static_cast<float>(log(sum) - weighed / sum);
}
