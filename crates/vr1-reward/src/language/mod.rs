//! The expressions of a reward program: text → tokens → tree → checked tree → value.

pub(crate) mod absence;
pub(crate) mod ast;
mod calls;
pub(crate) mod check;
pub(crate) mod eval;
pub(crate) mod functions;
pub(crate) mod group;
pub(crate) mod lexer;
mod library;
pub(crate) mod node;
mod operators;
pub(crate) mod parser;
pub(crate) mod print;
mod verifiers;
