//! The guides of `docs`, followed by a test.

pub mod expect;
pub mod old;
pub mod script;
pub mod walk;
