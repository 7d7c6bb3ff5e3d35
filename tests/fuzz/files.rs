//! Snapshots and backups, as files.
//!
//! An input is taken twice: as it is, which shows that damage is seen, and with all of its
//! checksums made right, which reaches what lies behind them: such a file is what another program
//! may have written.

use std::{
    io::{self, Write},
    path::Path,
};

use quorate::replica::Replica;
use quorate_raft::{
    Machine,
    offline::{Archive, RecordItem, scan_archive, scan_snapshot},
};
use sha2::{Digest, Sha256};

use super::{
    bounded,
    entries::{Records, records},
};

/// Magic and version.
const HEAD_BYTES: usize = 8;
/// Kind and length before the bytes of a record.
const RECORD_HEAD_BYTES: usize = 5;
const SUM_BYTES: usize = 4;
const KIND_TRAILER: u8 = 255;
/// In a backup: `index u64 | value`, the last four bytes of which are a sum again.
const KIND_ENTRY: u8 = 203;

pub fn snapshots(input: &[u8]) {
    for bytes in [input.to_vec(), seal(b"QSNAP\0", input)] {
        with_file(&bytes, |path| snapshot(path, bytes.len()));
    }
}

fn snapshot(path: &Path, file_bytes: usize) {
    let mut of_machine = Records::default();
    let scanned = bounded(file_bytes, || {
        scan_snapshot(path, |item| {
            if let RecordItem::Machine { kind, bytes } = item {
                of_machine.0.push_back((kind, bytes));
            }
            Ok(true)
        })
    });
    if let Err(error) = scanned {
        return expected(&error);
    }
    match bounded(file_bytes, || Replica::import(&mut of_machine)) {
        Ok(replica) => comes_back(&replica),
        Err(error) => expected(&error),
    }
}

pub fn backups(input: &[u8]) {
    for bytes in [input.to_vec(), seal(b"QBACK\0", input)] {
        with_file(&bytes, |path| backup(path, bytes.len()));
    }
}

fn backup(path: &Path, file_bytes: usize) {
    let mut entries = 0;
    let scanned = bounded(file_bytes, || {
        scan_archive(path, |_| {
            entries += 1;
            Ok(true)
        })
    });
    assert!(entries <= 1 + file_bytes, "{entries} items in {file_bytes} bytes");
    match bounded(file_bytes, || Archive::recover::<Replica>(path, None)) {
        Ok(recovered) => {
            scanned.expect("what can be recovered can be read");
            comes_back(recovered.state.machine());
        }
        Err(error) => expected(&error),
    }
}

/// A state that was taken from a file goes out and comes back the same.
fn comes_back(replica: &Replica) {
    let exported = records(replica);
    let again = Replica::import(&mut Records(exported.clone())).expect("its own records");
    assert!(records(&again) == exported, "a state does not come back from its own records");
}

/// Refusals say what is wrong with the file.
fn expected(error: &io::Error) {
    let kind = error.kind();
    let is_expected = matches!(kind, io::ErrorKind::InvalidData | io::ErrorKind::Unsupported);
    assert!(is_expected && !error.to_string().is_empty(), "{error:?}");
}

fn with_file(bytes: &[u8], take: impl FnOnce(&Path)) {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(bytes).expect("the file takes the input");
    take(file.path());
}

/// The same records with a right head, right sums and a right end.
fn seal(magic: &[u8; 6], input: &[u8]) -> Vec<u8> {
    let mut out = magic.to_vec();
    out.extend_from_slice(&1_u16.to_le_bytes());
    let mut rest = input.get(HEAD_BYTES..).unwrap_or_default();
    let mut count = 0_u64;
    while rest.len() >= RECORD_HEAD_BYTES && rest[0] != KIND_TRAILER {
        let (head, after) = rest.split_at(RECORD_HEAD_BYTES);
        let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]);
        let length = usize::try_from(length).unwrap_or(usize::MAX).min(after.len());
        let mut bytes = after[..length].to_vec();
        if head[0] == KIND_ENTRY {
            seal_entry(&mut bytes);
        }
        put(&mut out, head[0], &bytes);
        count += 1;
        rest = after.get(length + SUM_BYTES..).unwrap_or_default();
    }
    let mut trailer = count.to_le_bytes().to_vec();
    trailer.extend_from_slice(&Sha256::digest(&out));
    put(&mut out, KIND_TRAILER, &trailer);
    out
}

fn put(out: &mut Vec<u8>, kind: u8, bytes: &[u8]) {
    let from = out.len();
    out.push(kind);
    out.extend_from_slice(&u32::try_from(bytes.len()).expect("small").to_le_bytes());
    out.extend_from_slice(bytes);
    let sum = crc32c::crc32c(&out[from..]);
    out.extend_from_slice(&sum.to_le_bytes());
}

fn seal_entry(bytes: &mut [u8]) {
    let Some((index, value)) = bytes.split_first_chunk_mut::<8>() else { return };
    let Some((body, sum)) = value.split_last_chunk_mut::<4>() else { return };
    let key = u64::from_le_bytes(*index).to_be_bytes();
    *sum = crc32c::crc32c_append(crc32c::crc32c(&key), body).to_le_bytes();
}
