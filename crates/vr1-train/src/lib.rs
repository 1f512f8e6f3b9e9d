//! Policies, the update step, recipes, checkpoints, metrics and reports.
