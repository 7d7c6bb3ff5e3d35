//! The targets for libFuzzer; see `scripts/fuzz`. Which one is in `QUORATE_FUZZ_TARGET`.

#![no_main]

#[path = "mod.rs"]
mod fuzz;

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    static TAKE: OnceLock<fn(&[u8])> = OnceLock::new();
    let take = TAKE.get_or_init(|| {
        let name =
            std::env::var("QUORATE_FUZZ_TARGET").expect("QUORATE_FUZZ_TARGET names a target");
        if name == "frames" {
            return quorate_raft::testing::frames::take;
        }
        let target = fuzz::TARGETS.iter().find(|target| target.name == name);
        target.unwrap_or_else(|| panic!("no target {name}")).take
    });
    take(input);
});
