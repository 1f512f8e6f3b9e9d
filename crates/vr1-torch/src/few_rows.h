// Products of a few rows with a matrix, at the memory's speed.
#pragma once

#include <algorithm>
#include <cstdint>

namespace vr1 {

// Whether there are instructions for them here, and so many rows are few.
bool takes_few_rows(int64_t rows);

// Outputs `from .. to` of y [rows, outputs] = x [rows, inputs] · w [outputs, inputs]ᵀ, by this thread alone.
void few_rows(const float *x, const float *w, float *y, int64_t rows, int64_t inputs, int64_t outputs, int64_t from, int64_t to);

// How many outputs are worth a thread: a megabyte of the matrix, which takes longer to read than a thread to wake.
inline int64_t few_rows_grain(int64_t inputs) { return std::max<int64_t>(16, (1 << 18) / std::max<int64_t>(inputs, 1)); }

}  // namespace vr1
