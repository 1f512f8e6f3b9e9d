extern "C" __global__ void uniforms(const i64 *states, const i64 *positions, int positions_step, double *out, int rows) {
  const int row = blockIdx.x * blockDim.x + threadIdx.x;
  if (row < rows) out[row] = uniform(states[row], positions[row * positions_step]);
}
