//! The verifiers of the reproduced systems, by name. Each is registered with its types and what it does with a
//! missing answer; each scores 0 to 1 unless its signature says otherwise.

mod boxes;
mod choice;
mod detection;
mod exact;
mod format;
mod length;
mod math;
mod number;
mod text;

pub use boxes::{IouRule, box_iou};
pub(crate) use boxes::{first_box, labelled_boxes};
pub use detection::{boxes_hit, precision_over_recall};

use crate::Registry;

pub(crate) fn register_all(registry: &mut Registry) {
    boxes::register(registry);
    choice::register(registry);
    detection::register(registry);
    exact::register(registry);
    format::register(registry);
    length::register(registry);
    math::register(registry);
    number::register(registry);
    text::register(registry);
}

/// 1 for true.
fn score(holds: bool) -> f32 {
    if holds { 1.0 } else { 0.0 }
}

/// The reference answer of a solution: what its last `<answer>` tag holds, or all of it; trimmed.
fn reference(solution: &str) -> &str {
    crate::last_tagged(solution, "answer").unwrap_or(solution).trim()
}
