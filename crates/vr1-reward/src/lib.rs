#![doc = include_str!("../README.md")]

mod budget;
mod builtin;
mod diagnostic;
mod error;
mod fmt;
mod language;
mod layout;
mod math;
mod probe;
mod program;
mod record;
mod registry;
mod report;
mod reward;
mod source;
mod tags;
mod value;
mod verify;

pub use budget::{Budget, Limits};
pub use builtin::builtin_programs;
pub use diagnostic::{Diagnostic, Severity};
pub use error::{Error, Result};
pub use fmt::format_program;
pub use math::{MathConfig, MathKinds, SetRule, math_equal};
pub use probe::{Hack, ProbeSample};
pub use program::{Bounds, Outcome, Program};
pub use record::Record;
pub use registry::{Absent, Args, Param, Registry, Signature};
pub use report::{Failure, Report};
pub use reward::{Fields, FromFn, Reward, Rollout, WeightedSum, from_fn};
pub use source::{Expected, Expression, ProgramSource, Terms, Test};
pub use tags::{first_tagged, last_tagged};
pub use value::{BBox, LabelledBox, Type, Value};
pub use verify::{IouRule, box_iou};
