//! The Curriculum trait and its schedulers.
