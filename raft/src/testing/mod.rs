//! Parts that tests of this crate and of its users share. Never compiled into the program.

#[cfg(test)]
#[path = "../../../tests/fuzz/engine.rs"]
pub(crate) mod engine;
pub mod frames;
pub mod golden;
#[cfg(test)]
pub(crate) mod harness;
#[cfg(test)]
pub(crate) mod memory;
pub mod register;
#[cfg(test)]
pub(crate) mod sim;
