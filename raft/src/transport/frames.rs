//! Messages one after the other in one body.
//!
//! Each is preceded by its length. What an append and its answer say beside themselves, which has
//! its place in headers where each travels alone, precedes their bytes.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::{Stream, StreamExt};

use super::ENTRY_BODY_BYTES_MAX;
use crate::storage::wire::damaged;

/// Bytes of a frame before those of its message.
const LENGTH_BYTES: usize = 4;
/// Stands for a moment that is not known.
const NO_MOMENT: u64 = u64::MAX;
/// Longest message: an append of one entry, however large, and what precedes it.
const FRAME_BYTES_MAX: usize = ENTRY_BODY_BYTES_MAX + 64;

/// An append in a stream of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AppendFrame {
    /// Milliseconds since a quorum last confirmed that the sender leads; the largest number if none
    /// has.
    pub(crate) confirmed_ms: u64,
    /// The last moment the receiver told, in its own terms.
    pub(crate) moment: Option<u64>,
    /// The append; see [`super::wire`].
    pub(crate) append: Bytes,
}

/// The answer to an [`AppendFrame`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AnswerFrame {
    /// The present moment, in the receiver's own terms.
    pub(crate) moment: u64,
    /// Whether the receiver is in quarantine.
    pub(crate) is_quarantined: bool,
    /// The answer; see [`super::wire`].
    pub(crate) answer: Bytes,
}

impl AppendFrame {
    /// The frame as it travels.
    pub(crate) fn encode(&self) -> Bytes {
        let mut frame = begin(16 + self.append.len());
        frame.put_u64_le(self.confirmed_ms);
        frame.put_u64_le(self.moment.unwrap_or(NO_MOMENT));
        frame.put_slice(&self.append);
        frame.freeze()
    }

    /// Reads what [`Frames`] found.
    ///
    /// # Errors
    /// `InvalidData` if it is cut off.
    pub(crate) fn decode(mut frame: Bytes) -> io::Result<Self> {
        if frame.len() < 16 {
            return Err(damaged("an append of a stream is cut off"));
        }
        let (confirmed_ms, moment) = (frame.get_u64_le(), frame.get_u64_le());
        let moment = (moment != NO_MOMENT).then_some(moment);
        Ok(Self { confirmed_ms, moment, append: frame })
    }
}

impl AnswerFrame {
    /// The frame as it travels.
    pub(crate) fn encode(&self) -> Bytes {
        let mut frame = begin(9 + self.answer.len());
        frame.put_u64_le(self.moment);
        frame.put_u8(u8::from(self.is_quarantined));
        frame.put_slice(&self.answer);
        frame.freeze()
    }

    /// Reads what [`Frames`] found.
    ///
    /// # Errors
    /// `InvalidData` if it is cut off.
    pub(crate) fn decode(mut frame: Bytes) -> io::Result<Self> {
        if frame.len() < 9 {
            return Err(damaged("an answer of a stream is cut off"));
        }
        let (moment, flag) = (frame.get_u64_le(), frame.get_u8());
        Ok(Self { moment, is_quarantined: flag != 0, answer: frame })
    }
}

/// A frame with its length; no message is as long as the length could say.
fn begin(bytes: usize) -> BytesMut {
    let mut frame = BytesMut::with_capacity(LENGTH_BYTES + bytes);
    frame.put_u32_le(u32::try_from(bytes).unwrap_or(u32::MAX));
    frame
}

/// The messages of a body as they arrive.
pub(crate) struct Frames<S> {
    chunks: S,
    /// What has arrived of messages that are not whole yet.
    buffer: BytesMut,
}

impl<S, E> Frames<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: std::fmt::Display,
{
    /// Reads a body in whatever chunks it comes.
    pub(crate) fn new(chunks: S) -> Self {
        Self { chunks, buffer: BytesMut::new() }
    }

    /// The next message; `None` once the body has ended. Nothing is lost if this is dropped while it
    /// waits.
    ///
    /// # Errors
    /// If the body breaks off, or a message is longer than any may be.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if let Some(message) = self.take()? {
                return Ok(Some(message));
            }
            match self.chunks.next().await {
                Some(Ok(chunk)) => self.buffer.extend_from_slice(&chunk),
                Some(Err(error)) => return Err(io::Error::other(error.to_string())),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(damaged("the last message of a stream is cut off")),
            }
        }
    }

    /// The first message that has arrived, if it is whole.
    fn take(&mut self) -> io::Result<Option<Bytes>> {
        let Some(length) = self.buffer.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        if length > FRAME_BYTES_MAX {
            return Err(damaged(format!("a message of {length} bytes in a stream")));
        }
        if self.buffer.len() < LENGTH_BYTES + length {
            return Ok(None);
        }
        self.buffer.advance(LENGTH_BYTES);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }
}

#[cfg(test)]
mod tests {
    use futures::{executor::block_on, stream};

    use super::*;

    fn frames(body: &[u8], chunk: usize) -> Vec<io::Result<Bytes>> {
        let chunks =
            body.chunks(chunk).map(|chunk| Ok::<_, io::Error>(Bytes::copy_from_slice(chunk)));
        let mut frames = Frames::new(stream::iter(chunks.collect::<Vec<_>>()));
        let mut found = Vec::new();
        while let Some(frame) = block_on(frames.next()).transpose() {
            let is_error = frame.is_err();
            found.push(frame);
            if is_error {
                break;
            }
        }
        found
    }

    #[test]
    fn messages_come_back_whatever_their_chunks() {
        let appends = [
            AppendFrame { confirmed_ms: 7, moment: Some(9), append: Bytes::from_static(b"first") },
            AppendFrame { confirmed_ms: u64::MAX, moment: None, append: Bytes::new() },
        ];
        let body = appends.iter().map(AppendFrame::encode).collect::<Vec<_>>().concat();
        for chunk in 1..=body.len() {
            let found = frames(&body, chunk);
            let found = found.into_iter().map(|frame| AppendFrame::decode(frame.expect("whole")));
            let found: Vec<_> = found.map(|frame| frame.expect("an append")).collect();
            assert_eq!(found, appends, "in chunks of {chunk}");
        }
        let answer =
            AnswerFrame { moment: 3, is_quarantined: true, answer: Bytes::from_static(b"yes") };
        let found = frames(&answer.encode(), 5).pop().expect("one").expect("whole");
        assert_eq!(AnswerFrame::decode(found).expect("an answer"), answer);
    }

    #[test]
    fn what_is_cut_off_or_too_long_is_refused() {
        let append =
            AppendFrame { confirmed_ms: 7, moment: None, append: Bytes::from_static(b"x") };
        let body = append.encode();
        for end in 1..body.len() {
            assert!(frames(&body[..end], 3).pop().expect("something").is_err(), "cut at {end}");
        }
        let huge = u32::try_from(FRAME_BYTES_MAX + 1).expect("a length").to_le_bytes();
        assert!(frames(&huge, 4).pop().expect("something").is_err());
        assert!(AppendFrame::decode(Bytes::from_static(b"short")).is_err());
        assert!(AnswerFrame::decode(Bytes::from_static(b"short")).is_err());
    }
}
