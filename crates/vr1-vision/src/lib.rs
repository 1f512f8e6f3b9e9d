//! Image preprocessing and vision encoders.
