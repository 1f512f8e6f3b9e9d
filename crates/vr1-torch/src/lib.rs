//! What libtorch has and tch lacks: fused AdamW, CUDA loading, allocator statistics.
