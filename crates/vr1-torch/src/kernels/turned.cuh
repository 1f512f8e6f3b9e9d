// A number of a head, turned with its other; each operation is rounded to W, the wider kind of heads and rotation.
__device__ inline float turned(float x, float cos, float other, float sin) {
  return rounded<W>(__fadd_rn(rounded<W>(__fmul_rn(x, cos)), rounded<W>(__fmul_rn(other, sin))));
}
