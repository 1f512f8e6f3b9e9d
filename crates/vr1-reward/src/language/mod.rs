//! The expressions of a reward program: text → tokens → tree → checked tree → value.

pub(crate) mod ast;
pub(crate) mod check;
pub(crate) mod eval;
pub(crate) mod functions;
pub(crate) mod group;
pub(crate) mod lexer;
pub(crate) mod node;
pub(crate) mod parser;
pub(crate) mod print;
