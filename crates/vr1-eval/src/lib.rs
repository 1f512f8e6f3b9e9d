//! Benchmarks, answer extraction and scores.
