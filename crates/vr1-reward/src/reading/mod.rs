//! What a text says: its numbers, its box, its option, its yes or no, the JSON in it. Each rule stands here once, and
//! verifiers and functions of the language share it.

mod json;
mod latin;
mod numeral;
mod option;
mod rectangle;
mod signs;
mod yes_no;

pub use json::{Fence, json_in};
pub(crate) use numeral::whole_number;
pub use numeral::{numbers_in, only_number};
pub use option::option_in;
pub use rectangle::box_in;
pub(crate) use signs::vulgar;
pub(crate) use yes_no::yes_no;
