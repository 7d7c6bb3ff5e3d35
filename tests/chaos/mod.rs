//! Real replicas to which anything happens, clients that keep a record, and the judgement.
//!
//! Begin with [`trial`] (what a trial is), then [`faults`] (the catalogue), [`inject`] (how each is
//! done), [`load`] (what clients do), and [`verdict`] (what is judged, and by whom).

#![allow(dead_code, unreachable_pub)]

#[cfg(test)]
mod checks;
pub mod faults;
pub mod history;
pub mod inject;
pub mod linear;
pub mod load;
pub mod local;
pub mod long;
pub mod members;
pub mod net;
#[cfg(test)]
mod partitions;
pub mod plan;
pub mod record;
pub mod report;
pub mod shim;
pub mod site;
pub mod trial;
pub mod verdict;
