//! Appends to one follower, one after the other in one request.
//!
//! All travel in the body of one request, in order, and their answers come in the body of its
//! response. The appends are taken from their source by whoever waits for the answers, and not by
//! the connection: the source is gone as soon as nobody waits any more.

use std::{collections::VecDeque, io, time::Duration};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use http_body_util::{BodyDataStream, BodyExt};
use openraft::{
    errors::{NetworkError, RPCError},
    raft::{AppendEntriesRequest, AppendEntriesResponse, StreamAppendResult},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};

use super::{
    CallError,
    client::{Body, Request},
    frames::{AnswerFrame, Frames},
    network::Network,
    route,
    wire::{self, AppendAnswer},
};
use crate::types::{LogId, TypeConfig};

/// Most appends that are not answered yet.
///
/// One, because the consensus library takes an answer for that of every append in flight that ends
/// with the same entry. An append without entries that was sent later, and perhaps never arrived,
/// would count as answered: the leader would think itself confirmed at a time at which nobody
/// confirmed it, and reads would be older than they say.
const APPENDS_MAX: usize = 1;
/// Most bytes of them, unless one alone has more.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// What the consensus library hears of one append.
pub(super) type Heard = Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>>;

/// An append that is not answered yet.
struct InFlight {
    previous: Option<LogId>,
    last: Option<LogId>,
    bytes: usize,
    until: Instant,
    patience: Duration,
}

/// An open stream of appends.
pub(super) struct Pipeline<'s, S> {
    network: &'s Network,
    input: S,
    is_ended: bool,
    frames: mpsc::Sender<io::Result<Bytes>>,
    answers: Frames<BodyDataStream<Body>>,
    in_flight: VecDeque<InFlight>,
    bytes: usize,
}

/// Both ends of a stream that is open.
pub(super) struct Opened {
    frames: mpsc::Sender<io::Result<Bytes>>,
    answers: Frames<BodyDataStream<Body>>,
}

/// Begins a stream; nothing has been sent then but the wish for one.
///
/// # Errors
/// [`CallError`]; a refusal with [`super::status::NO_ROUTE`] is an earlier version's.
pub(super) async fn open(network: &Network, patience: Duration) -> Result<Opened, CallError> {
    let (frames, body) = mpsc::channel(APPENDS_MAX);
    let body = stream::unfold(body, async |mut body| Some((body.recv().await?, body)));
    let request = Request::streamed(route::APPEND_STREAM, body);
    let answered = timeout(patience, network.send(request)).await;
    let response = answered.map_err(|_| CallError::Timeout(patience))??;
    Ok(Opened { frames, answers: Frames::new(response.into_body().into_data_stream()) })
}

impl<'s, S> Pipeline<'s, S>
where
    S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
{
    /// Sends what comes from `input`, and tells what becomes of it, in order.
    pub(super) fn run(
        network: &'s Network,
        opened: Opened,
        input: S,
    ) -> impl Stream<Item = Heard> + Send + use<'s, S> {
        let Opened { frames, answers } = opened;
        let in_flight = VecDeque::with_capacity(APPENDS_MAX);
        let pipeline =
            Self { network, input, is_ended: false, frames, answers, in_flight, bytes: 0 };
        stream::unfold(Some(pipeline), async |pipeline| {
            let mut pipeline = pipeline?;
            let heard = pipeline.next().await?;
            let goes_on = matches!(heard, Ok(Ok(_)));
            Some((heard, goes_on.then_some(pipeline)))
        })
    }

    async fn next(&mut self) -> Option<Heard> {
        loop {
            if self.is_ended && self.in_flight.is_empty() {
                return None;
            }
            let has_room = self.in_flight.is_empty()
                || (self.in_flight.len() < APPENDS_MAX && self.bytes < BYTES_MAX);
            let oldest = self.in_flight.front().map(|append| (append.until, append.patience));
            tokio::select! {
                biased;
                answer = self.answers.next() => return Some(self.hear(answer)),
                append = self.input.next(), if has_room && !self.is_ended => {
                    if let Err(error) = self.send(append) {
                        return Some(Err(error));
                    }
                }
                patience = overdue(oldest) => {
                    return Some(Err(self.network.append_failed(&CallError::Timeout(patience))));
                }
            }
        }
    }

    fn send(
        &mut self,
        append: Option<AppendEntriesRequest<TypeConfig>>,
    ) -> Result<(), RPCError<TypeConfig>> {
        let Some(append) = append else {
            self.is_ended = true;
            return Ok(());
        };
        let encoded = wire::encode_append(&append)
            .map_err(|error| RPCError::Network(NetworkError::new(&error)))?;
        // What did not fit is sent again from there; anything behind it would leave a hole.
        self.is_ended = encoded.cut_after.is_some();
        let last = append.entries.last().map(|last| last.log_id).or(append.prev_log_id);
        let patience = self.network.append_patience(encoded.body.len());
        let in_flight = InFlight {
            previous: append.prev_log_id,
            last: encoded.cut_after.or(last),
            bytes: encoded.body.len(),
            until: Instant::now() + patience,
            patience,
        };
        let frame = self.network.dated(encoded.body).encode();
        // There is always room for one more than are in flight.
        self.frames.try_send(Ok(frame)).map_err(|_| self.broken("the stream was closed"))?;
        self.bytes += in_flight.bytes;
        self.in_flight.push_back(in_flight);
        Ok(())
    }

    fn hear(&mut self, answer: io::Result<Option<Bytes>>) -> Heard {
        let answer = answer.map_err(|error| self.broken(error))?;
        let answer = answer.ok_or_else(|| self.broken("the receiver ended the stream"))?;
        let AnswerFrame { moment, is_quarantined, answer } =
            AnswerFrame::decode(answer).map_err(|error| self.broken(error))?;
        self.network.note(moment, is_quarantined);
        let answer: AppendAnswer = wire::decode(&answer).map_err(|error| self.broken(error))?;
        let append = self.in_flight.pop_front();
        let append = append.ok_or_else(|| self.broken("an answer to nothing"))?;
        self.bytes -= append.bytes;
        match answer.response() {
            AppendEntriesResponse::Conflict if append.previous.is_none() => {
                Err(self.broken("nothing comes before the first entry, so nothing conflicts there"))
            }
            response => Ok(response.into_stream_result(append.previous, append.last)),
        }
    }

    fn broken(&self, reason: impl ToString) -> RPCError<TypeConfig> {
        self.network.append_failed(&CallError::Broken(reason.to_string()))
    }
}

/// Resolves when the oldest append has waited too long for its answer.
async fn overdue(oldest: Option<(Instant, Duration)>) -> Duration {
    match oldest {
        Some((until, patience)) => {
            sleep_until(until).await;
            patience
        }
        None => std::future::pending().await,
    }
}
