//! The key file: one key a line, `NAME:KEY`, the key as 64 hexadecimal digits or in Base64. The
//! first key seals, all of them open. Empty lines and lines that begin with `#` mean nothing.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{Key, KeyRing};
use crate::domain::sealed::KEY_ID_BYTES_MAX;

/// Bytes of a key.
const KEY_BYTES: usize = 32;
/// Most keys in a file.
const KEYS_MAX: usize = 16;
/// Longest file, bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// Rights that nobody but the owner of the file may have.
const OTHERS: u32 = 0o077;

/// Why a key file cannot be used. Never shows a key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It is not there, or may not be read or written.
    #[error(
        "the key file {} cannot be used: {source}; make one with `quorate secrets generate-key`, \
         or copy that of another replica",
        path.display()
    )]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others may read it.
    #[error(
        "the key file {} may be used by others than its owner (mode {mode:03o}); run \
         `chmod 600 {0}` and consider its keys known",
        path.display()
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Its rights.
        mode: u32,
    },
    /// A line is no key.
    #[error(
        "the key file {} is wrong in line {line}: {reason}; a line is NAME:KEY, as `quorate secrets \
         generate-key` writes it",
        path.display()
    )]
    Line {
        /// The file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// There is no key in it, or too many.
    #[error(
        "the key file {} has {count} keys instead of 1 to {KEYS_MAX}; make one with `quorate secrets \
         generate-key`",
        path.display()
    )]
    Count {
        /// The file.
        path: PathBuf,
        /// How many.
        count: usize,
    },
    /// It is there already.
    #[error(
        "the key file {} is there already; say --add to add a key behind those that are in it",
        path.display()
    )]
    Exists {
        /// The file.
        path: PathBuf,
    },
}

impl KeyRing {
    /// Reads a key file.
    ///
    /// # Errors
    /// [`KeyFileError`], which says what to do.
    pub fn load(path: &Path) -> Result<Self, KeyFileError> {
        let text = read(path)?;
        let keys: Vec<Key> = parse(path, &text)?;
        if keys.is_empty() || keys.len() > KEYS_MAX {
            return Err(KeyFileError::Count { path: path.to_owned(), count: keys.len() });
        }
        Ok(Self { keys: Arc::new(keys) })
    }
}

fn unusable(path: &Path) -> impl Fn(io::Error) -> KeyFileError + '_ {
    |source| KeyFileError::Unusable { path: path.to_owned(), source }
}

/// The text of a file that only its owner may use.
fn read(path: &Path) -> Result<String, KeyFileError> {
    let file = fs::File::open(path).map_err(unusable(path))?;
    let about = file.metadata().map_err(unusable(path))?;
    if !about.is_file() {
        return Err(unusable(path)(io::Error::other("it is no file")));
    }
    let mode = about.permissions().mode() & 0o777;
    if mode & OTHERS != 0 {
        return Err(KeyFileError::Open { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(unusable(path))?;
    Ok(text)
}

fn parse(path: &Path, text: &str) -> Result<Vec<Key>, KeyFileError> {
    let mut keys: Vec<Key> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |reason| KeyFileError::Line { path: path.to_owned(), line: number, reason };
        let (id, key) = line.split_once(':').ok_or_else(|| wrong("there is no colon"))?;
        let (id, key) = (id.trim(), key.trim());
        if !is_key_id(id) {
            return Err(wrong("the name is not 1 to 32 letters, digits, dots or hyphens"));
        }
        if keys.iter().any(|other| other.id == id) {
            return Err(wrong("the name is that of another key"));
        }
        let material = material(key).ok_or_else(|| wrong("the key is not 32 bytes"))?;
        keys.push(Key::new(id, &material));
    }
    Ok(keys)
}

/// Whether a text can be the name of a key.
fn is_key_id(text: &str) -> bool {
    let is_plain = |letter: u8| letter.is_ascii_alphanumeric() || b"._-".contains(&letter);
    (1..=KEY_ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_plain)
}

/// 32 bytes in hexadecimal digits or Base64.
fn material(text: &str) -> Option<[u8; KEY_BYTES]> {
    if text.len() == 2 * KEY_BYTES && text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        let mut bytes = [0; KEY_BYTES];
        for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
        }
        return Some(bytes);
    }
    STANDARD.decode(text).ok()?.try_into().ok()
}

/// Writes a new key: into a new file that only its owner may use or, if asked, behind the keys of
/// one that is there. The keys before it are kept as they are.
///
/// # Errors
/// [`KeyFileError`], which says what to do; the file is as it was.
pub fn add_key(
    path: &Path,
    id: &str,
    material: &[u8; KEY_BYTES],
    is_added: bool,
) -> Result<usize, KeyFileError> {
    let line = format!("{id}:{}\n", STANDARD.encode(material));
    let before = match read(path) {
        Ok(_) if !is_added => return Err(KeyFileError::Exists { path: path.to_owned() }),
        Ok(text) => text,
        Err(KeyFileError::Unusable { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            String::new()
        }
        Err(error) => return Err(error),
    };
    let gap = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
    let after = format!("{before}{gap}{line}");
    let keys = parse(path, &after)?;
    if keys.len() > KEYS_MAX {
        return Err(KeyFileError::Count { path: path.to_owned(), count: keys.len() });
    }
    replace(path, &after).map_err(unusable(path))?;
    Ok(keys.len())
}

/// Puts a file in place as a whole, or not at all.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = path.with_file_name(name);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    let placed = written.and_then(|()| fs::rename(&beside, path));
    if placed.is_err() {
        // Whatever is left of it must not lie around.
        let _ = fs::remove_file(&beside);
    }
    placed
}
