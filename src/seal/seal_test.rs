//! Keys, key files, and what opens and does not.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use proptest::prelude::*;

use super::*;

const REQUEST: [u8; 16] = [7; 16];

struct File(#[allow(dead_code, reason = "removes the directory")] tempfile::TempDir, PathBuf);

fn file(text: &str, mode: u32) -> File {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    File(dir, path)
}

fn hex(byte: u8) -> String {
    format!("{byte:02x}").repeat(32)
}

fn ring(text: &str) -> KeyRing {
    KeyRing::load(&file(text, 0o600).1).unwrap()
}

fn one() -> KeyRing {
    ring(&format!("k1:{}\n", hex(1)))
}

fn seal(ring: &KeyRing, text: &str) -> Sealed {
    ring.seal(0, Purpose::NodePassword, &REQUEST, text).unwrap()
}

#[test]
fn the_first_key_seals_and_all_open() {
    let two = ring(&format!("# newest first\n\n k2 : {}\nk1:{}\n", hex(2), hex(1)));
    assert_eq!(two.ids().collect::<Vec<_>>(), ["k2", "k1"]);
    let (new, old) = (seal(&two, "word"), seal(&one(), "word"));
    assert_eq!((new.key_id(), old.key_id()), (Some("k2"), Some("k1")));
    for sealed in [&new, &old] {
        assert_eq!(two.open(Purpose::NodePassword, sealed), Ok("word".to_owned()));
    }
    let error = one().open(Purpose::NodePassword, &new).unwrap_err();
    assert_eq!(error, OpenError::UnknownKey { key_id: "k2".to_owned() });
    assert!(error.to_string().contains("secrets_key_file"), "{error}");
    assert_eq!(two.seal(1, Purpose::NodePassword, &REQUEST, "word"), Some(old));
    assert_eq!(two.seal(2, Purpose::NodePassword, &REQUEST, "word"), None);
}

#[test]
fn a_repeated_request_is_sealed_alike_and_another_is_not() {
    let ring = one();
    assert_eq!(seal(&ring, "word"), seal(&ring, "word"));
    let other = ring.seal(0, Purpose::NodePassword, &[8; 16], "word").unwrap();
    assert_ne!(other, seal(&ring, "word"));
    assert_ne!(seal(&ring, "word").envelope().unwrap().nonce, other.envelope().unwrap().nonce);
    let word = seal(&ring, "ward");
    assert_ne!(word.envelope().unwrap().nonce, seal(&ring, "word").envelope().unwrap().nonce);
}

/// Released: what was sealed once opens for ever.
#[test]
fn the_format_is_as_it_was_released() {
    let sealed = seal(&one(), "word");
    let hex: String = sealed.bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, RELEASED);
}

const RELEASED: &str = "ff01026b318818d2b2be2cb5bc03c45c158cddbbf9b19f9851ce47d25e20ce796e0b8e\
    7968333d1112cdbc372fac5cf8ee6629a0bee1e363e9383b62fb3870d6ae";

#[test]
fn lengths_of_short_secrets_do_not_show() {
    let ring = one();
    assert_eq!(seal(&ring, "a").bytes().len(), seal(&ring, &"a".repeat(31)).bytes().len());
    assert!(seal(&ring, &"a".repeat(32)).bytes().len() > seal(&ring, "a").bytes().len());
}

#[test]
fn another_key_of_the_same_name_does_not_open() {
    let other = ring(&format!("k1:{}\n", hex(9)));
    let error = other.open(Purpose::NodePassword, &seal(&one(), "word")).unwrap_err();
    assert_eq!(error, OpenError::Altered { key_id: "k1".to_owned() });
    assert!(error.to_string().contains("compare secrets_key_file"), "{error}");
}

#[test]
fn what_is_no_key_file_is_refused_with_what_to_do() {
    let (good, short) = (hex(1), &hex(1)[2..]);
    for (text, mode, expected) in [
        (format!("k1:{good}"), 0o640, "mode 640); run `chmod 600"),
        (format!("k1:{good}"), 0o604, "mode 604); run `chmod 600"),
        (format!("k1:{short}"), 0o600, "line 1: the key is not 32 bytes"),
        (format!("k1:{good}\nk2 {good}"), 0o600, "line 2: there is no colon"),
        (format!("k1:{good}\nk1:{good}"), 0o600, "line 2: the name is that of another key"),
        (format!("k 1:{good}"), 0o600, "line 1: the name is not 1 to 32 letters"),
        (format!(":{good}"), 0o600, "line 1: the name is not"),
        (format!("{}:{good}", "k".repeat(33)), 0o600, "line 1: the name is not"),
        ("# none\n".to_owned(), 0o600, "has 0 keys"),
    ] {
        let error = KeyRing::load(&file(&text, mode).1).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains(&good) && !error.contains(short), "{error}");
    }
    let dir = tempfile::tempdir().unwrap();
    let error = KeyRing::load(&dir.path().join("none")).unwrap_err().to_string();
    assert!(error.contains("quorate secrets generate-key"), "{error}");
    let error = KeyRing::load(dir.path()).unwrap_err().to_string();
    assert!(error.contains("cannot be used"), "{error}");
}

#[test]
fn keys_are_added_behind_the_others_and_nobody_else_may_read_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys");
    assert_eq!(add_key(&path, "k1", &[1; 32], false).unwrap(), 1);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let before = fs::read(&path).unwrap();
    let error = add_key(&path, "k2", &[2; 32], false).unwrap_err().to_string();
    assert!(error.contains("--add"), "{error}");
    assert!(add_key(&path, "k1", &[2; 32], true).is_err(), "the name is taken");
    assert!(add_key(&path, "k 2", &[2; 32], true).is_err());
    assert_eq!(fs::read(&path).unwrap(), before, "refused, so nothing changed");
    assert_eq!(add_key(&path, "k2", &[2; 32], true).unwrap(), 2);
    let ring = KeyRing::load(&path).unwrap();
    assert_eq!(ring.ids().collect::<Vec<_>>(), ["k1", "k2"]);
    assert_eq!(ring.open(Purpose::NodePassword, &seal(&one(), "w")), Ok("w".to_owned()));
    assert_eq!(format!("{ring:?}"), r#"["k1", "k2"]"#);
}

proptest! {
    #[test]
    fn what_was_sealed_opens(text in any::<String>(), request in any::<[u8; 16]>()) {
        let ring = one();
        let sealed = ring.seal(0, Purpose::NodePassword, &request, &text).unwrap();
        prop_assert_eq!(ring.open(Purpose::NodePassword, &sealed), Ok(text));
    }

    #[test]
    fn what_was_altered_does_not(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let ring = one();
        let mut bytes = seal(&ring, "word").bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if let Some(sealed) = Sealed::from_bytes(bytes) {
            prop_assert!(ring.open(Purpose::NodePassword, &sealed).is_err());
        }
    }
}
