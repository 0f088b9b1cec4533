//! How much of an answer's body is read, and how long it is waited for.
//!
//! Owns the bounds ([`Bound`]) and the clocks of a body that is being read ([`Watched`]), for every HTTP client here.
//! Invariant: no body is read further than its request or its own head said. A server that sends without end, or one
//! byte now and then, is stopped.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::Stream;
use http::{HeaderMap, StatusCode};
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use crate::contract::meter::Class;
use crate::contract::trace::TracedCall;
use crate::wire::client::SILENCE;
use crate::wire::probe::Probe;

/// Longest answer that is no content, in bytes: a page of a listing, the answer to an upload or a setting. A thousand
/// keys of maximum length take less than half of it.
pub(crate) const ANSWER: u64 = 16 << 20;

/// Bytes of an error's text that are read.
pub(crate) const REFUSAL: u64 = 64 << 10;

/// Slowest body that is still read, in bytes a second, measured only while this program waits. It is low because many
/// downloads may share one slow line.
const SLOWEST: u64 = 128;

/// Where the reading of a body ends, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    /// Bytes after this number are not read. For a body of known length, and for the texts of errors.
    Cut(u64),
    /// A longer body is an error.
    Refuse(u64),
}

impl Bound {
    /// The bound that follows from an answer's head. Of an error only a limited text is read, of a content the length
    /// in its head; any other answer has the bound of a page of a listing.
    pub(crate) fn of(class: Class, status: StatusCode, headers: &HeaderMap) -> Self {
        if !status.is_success() {
            return Self::answer(false);
        }
        let said = headers.get("content-length").and_then(|length| length.to_str().ok()?.parse().ok());
        match (class, ranged(headers).or(said)) {
            (Class::Get, Some(length)) => Self::Cut(length),
            // Not every service gives the length, and the caller knows how long the content is.
            (Class::Get, None) => Self::Cut(u64::MAX),
            _ => Self::answer(true),
        }
    }

    /// The same for an answer that is no content.
    pub(crate) fn answer(success: bool) -> Self {
        if success { Self::Refuse(ANSWER) } else { Self::Cut(REFUSAL) }
    }
}

/// The length in a `Content-Range`.
fn ranged(headers: &HeaderMap) -> Option<u64> {
    let (range, _) = headers.get("content-range")?.to_str().ok()?.strip_prefix("bytes ")?.split_once('/')?;
    let (start, end) = range.split_once('-')?;
    end.parse::<u64>().ok()?.checked_sub(start.parse().ok()?)?.checked_add(1)
}

/// Why a body was not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Halt {
    TooLong(u64),
    Silent,
    Slow,
}

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(most) => write!(f, "the server's response is longer than {} MiB", most >> 20),
            Self::Silent => write!(f, "timed out: no more data came within {} s", SILENCE.as_secs()),
            Self::Slow => write!(f, "timed out: less than {SLOWEST} bytes a second came"),
        }
    }
}

impl std::error::Error for Halt {}

/// The bounds of one body that is being read.
pub(crate) struct Watch {
    bound: Bound,
    /// Where the bytes are counted if the body is a content.
    counted: Option<Arc<Probe>>,
    taken: u64,
    /// Time waited so far, without the current wait.
    waited: Duration,
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
    /// Longest wait for the next piece.
    patience: Duration,
    ended: bool,
    /// The request whose answer this is. It is logged when this value is dropped.
    call: TracedCall,
}

impl Watch {
    pub(crate) fn new(bound: Bound, counted: Option<Arc<Probe>>, call: TracedCall) -> Self {
        Self { bound, counted, call, taken: 0, waited: Duration::ZERO, waiting: None, patience: SILENCE, ended: false }
    }

    /// Notes a piece of so many bytes. Returns how many of them to take.
    fn took(&mut self, length: usize) -> Result<usize, Halt> {
        if let Some((since, _)) = self.waiting.take() {
            self.waited += since.elapsed();
        }
        let (most, cut) = match self.bound {
            Bound::Cut(most) => (most, true),
            Bound::Refuse(most) => (most, false),
        };
        let room = most.saturating_sub(self.taken);
        if length as u64 > room && !cut {
            self.ended = true;
            return Err(Halt::TooLong(most));
        }
        let take = (length as u64).min(room);
        self.taken += take;
        self.call.received(take);
        self.ended |= length as u64 > room;
        if let Some(probe) = &self.counted {
            probe.meter.add_received(take);
        }
        Ok(take as usize)
    }

    /// Called while no data comes. Ready when that has lasted too long.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Halt> {
        let left = (self.patience + Duration::from_secs(self.taken / SLOWEST)).saturating_sub(self.waited);
        let (_, clock) = self.waiting.get_or_insert_with(|| (Instant::now(), Box::pin(sleep(left.min(self.patience)))));
        match clock.as_mut().poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => {
                self.ended = true;
                Poll::Ready(if left < self.patience { Halt::Slow } else { Halt::Silent })
            }
        }
    }
}

/// Bytes that can be cut to a length.
pub(crate) trait Piece {
    fn length(&self) -> usize;
    fn first(self, length: usize) -> Self;
}

impl Piece for Bytes {
    fn length(&self) -> usize {
        self.len()
    }

    fn first(mut self, length: usize) -> Self {
        self.truncate(length);
        self
    }
}

/// A body that stays within its bounds, whatever the server sends.
pub(crate) struct Watched<B> {
    body: B,
    watch: Watch,
}

impl<B> Watched<B> {
    pub(crate) fn new(body: B, watch: Watch) -> Self {
        Self { body, watch }
    }

    fn guard<P: Piece, E: From<Halt>>(&mut self, cx: &mut Context<'_>, piece: Poll<Option<Result<P, E>>>) -> Poll<Option<Result<P, E>>> {
        match piece {
            Poll::Ready(Some(Ok(piece))) => match self.watch.took(piece.length()) {
                Ok(0) if self.watch.ended => Poll::Ready(None),
                Ok(length) => Poll::Ready(Some(Ok(piece.first(length)))),
                Err(halt) => Poll::Ready(Some(Err(halt.into()))),
            },
            // All bytes of the known length have come. Whether the server also ends the body does not matter.
            Poll::Pending if self.watch.bound == Bound::Cut(self.watch.taken) => {
                self.watch.ended = true;
                Poll::Ready(None)
            }
            Poll::Pending => self.watch.wait(cx).map(|halt| Some(Err(halt.into()))),
            Poll::Ready(done) => {
                self.watch.ended = true;
                Poll::Ready(done)
            }
        }
    }
}

impl<B, E> Body for Watched<B>
where
    B: Body<Data = Bytes, Error = E> + Unpin,
    E: From<Halt>,
{
    type Data = Bytes;
    type Error = E;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, E>>> {
        let this = &mut *self;
        loop {
            if this.watch.ended {
                return Poll::Ready(None);
            }
            let piece = match Pin::new(&mut this.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => Poll::Ready(Some(Ok(data))),
                    // Trailers are not used here.
                    Err(_) => continue,
                },
                Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error))),
                Poll::Ready(None) => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            };
            return this.guard(cx, piece).map(|answer| answer.map(|piece| piece.map(Frame::data)));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.watch.ended || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match self.watch.bound {
            Bound::Cut(_) => SizeHint::default(),
            Bound::Refuse(_) => self.body.size_hint(),
        }
    }
}

impl<S, P, E> Stream for Watched<S>
where
    S: Stream<Item = Result<P, E>> + Unpin,
    P: Piece,
    E: From<Halt>,
{
    type Item = Result<P, E>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.watch.ended {
            return Poll::Ready(None);
        }
        let piece = Pin::new(&mut this.body).poll_next(cx);
        this.guard(cx, piece)
    }
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt, TryStreamExt, stream};

    use super::*;

    fn head(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_bound_follows_from_the_head() {
        let of = |class, status: u16, pairs: &[(&'static str, &str)]| Bound::of(class, StatusCode::from_u16(status).unwrap(), &head(pairs));
        assert_eq!(of(Class::Get, 200, &[("content-length", "7")]), Bound::Cut(7));
        assert_eq!(of(Class::Get, 206, &[("content-length", "900"), ("content-range", "bytes 5-9/20")]), Bound::Cut(5));
        assert_eq!(of(Class::Get, 403, &[("content-length", "900000")]), Bound::Cut(REFUSAL));
        assert_eq!(of(Class::List, 200, &[("content-length", "900000")]), Bound::Refuse(ANSWER));
        for odd in ["bytes 9-5/20", "bytes 18446744073709551615-0/-1", "bytes 0-18446744073709551615/9", "items 1-2/3", "x"] {
            assert_eq!(of(Class::Get, 206, &[("content-range", odd), ("content-length", "4")]), Bound::Cut(4), "{odd}");
        }
    }

    /// An endless body in pieces of a thousand bytes.
    fn endless(bound: Bound) -> Watched<impl Stream<Item = Result<Bytes, Halt>> + Unpin> {
        Watched::new(stream::repeat_with(|| Ok(Bytes::from_static(&[7; 1000]))).boxed(), Watch::new(bound, None, TracedCall::untold()))
    }

    #[tokio::test]
    async fn an_endless_body_ends_where_it_said_it_would() {
        let all: Vec<Bytes> = endless(Bound::Cut(2500)).try_collect().await.unwrap();
        assert_eq!(all.iter().map(Bytes::len).collect::<Vec<_>>(), [1000, 1000, 500]);
        assert_eq!(endless(Bound::Cut(2000)).try_fold(0, |sum, piece| async move { Ok(sum + piece.len()) }).await, Ok(2000));
        let hangs = stream::iter([Ok::<_, Halt>(Bytes::from_static(b"all"))]).chain(stream::pending());
        let all: Vec<Bytes> = Watched::new(hangs, Watch::new(Bound::Cut(3), None, TracedCall::untold())).try_collect().await.unwrap();
        assert_eq!(all, ["all"]);
        assert_eq!(endless(Bound::Refuse(2500)).try_collect::<Vec<_>>().await, Err(Halt::TooLong(2500)));
    }

    #[tokio::test]
    async fn a_byte_now_and_then_is_not_waited_for_for_ever() {
        let patience = Duration::from_millis(200);
        let watch = || Watch { patience, ..Watch::new(Bound::Cut(1 << 30), None, TracedCall::untold()) };
        let drip = stream::unfold((), |()| async {
            sleep(Duration::from_millis(20)).await;
            Some((Ok::<_, Halt>(Bytes::from_static(b"x")), ()))
        });
        let mut body = Watched::new(drip.boxed(), watch());
        let began = Instant::now();
        let mut last = Ok(0);
        while let Some(piece) = body.next().await {
            last = piece.map(|piece| piece.len());
            assert!(began.elapsed() < Duration::from_secs(20), "it is still waited for");
        }
        assert_eq!(last, Err(Halt::Slow));
        let mut silent = Watched::new(stream::pending::<Result<Bytes, Halt>>(), watch());
        assert_eq!(silent.next().await, Some(Err(Halt::Silent)));
        assert_eq!(silent.next().await, None);
    }
}
