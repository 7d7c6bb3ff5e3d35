//! Fuzz targets: each takes any bytes, gives them to a parser that meets the outside, and panics if
//! a promise is broken. See `docs/fuzzing.md`.
//!
//! The targets know no fuzzer. `tests/fuzz.rs` runs them on their corpora and on what the small
//! mutator of [`engine`] makes of those; `libfuzzer.rs` gives them to libFuzzer.

#![allow(unreachable_pub, dead_code, clippy::unwrap_used, clippy::print_stderr)]

pub mod engine;
mod entries;
mod files;
mod http;
mod replies;

use engine::Target;

/// Every target, by the name of its corpus.
pub const TARGETS: &[Target] = &[
    Target { name: "undermoon", is_text: true, runs: 1_500, take: http::undermoon },
    Target { name: "kvrocks", is_text: true, runs: 1_500, take: http::kvrocks },
    Target { name: "cello", is_text: true, runs: 1_500, take: http::cello },
    Target { name: "admin", is_text: true, runs: 700, take: http::admin },
    Target { name: "entries", is_text: false, runs: 1_500, take: entries::take },
    Target { name: "snapshots", is_text: false, runs: 2_000, take: files::snapshots },
    Target { name: "backups", is_text: false, runs: 1_000, take: files::backups },
    Target { name: "replies", is_text: true, runs: 2_000, take: replies::take },
];

/// Runs what decodes an input, and panics if that takes memory beyond what the input can explain.
pub fn bounded<T>(input_bytes: usize, decode: impl FnOnce() -> T) -> T {
    /// For buffers, and for what a decoder reserves for a collection whose length it was told.
    const BASE_BYTES: u64 = 4 * 1024 * 1024;
    /// A byte of input may become a value of this many bytes.
    const BYTES_A_BYTE: u64 = 512;
    let mut decoded = None;
    let used = allocation_counter::measure(|| decoded = Some(decode()));
    let allowed = BASE_BYTES + BYTES_A_BYTE * input_bytes as u64;
    assert!(used.bytes_max <= allowed, "{} bytes for {input_bytes} of input", used.bytes_max);
    decoded.expect("just measured")
}
