//! Files that hold a format as it was released.

use std::{fs, path::Path};

/// Compares bytes with the golden file of that name in `tests/golden`; with `QUORATE_GOLDEN=add`
/// in the environment it writes a file that is missing; one that is there is never written.
///
/// # Panics
/// If the bytes differ, or the file is missing.
pub fn check(name: &str, found: &[u8]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    let is_adding = std::env::var("QUORATE_GOLDEN").is_ok_and(|mode| mode == "add");
    if is_adding && !path.exists() {
        fs::write(&path, found).expect("the golden directory is writable");
    }
    let wanted = fs::read(&path).expect("the golden file is part of the repository");
    assert!(
        wanted == found,
        "{name} differs from the released format; if that is meant, raise the version byte, keep \
         the old file as another test, and have scripts/golden add one under a new name"
    );
}
