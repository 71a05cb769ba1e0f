//! Answers are encoded while they are sent.
//!
//! An answer's text is several times the size of what it is made from, and a client may read it slowly. So it is
//! written in pieces of about [`PIECE_BYTES`]: the next one when the server's buffer has room for it. What has been
//! written is dropped at once. When the client goes away the rest is dropped. So it is when the client stops reading for
//! [`STALL_LIMIT`], or is not done after [`SEND_LIMIT`]: whoever asks for much and hardly reads must not fill the memory.
//!
//! An answer that fits into one piece is sent whole, with its length. One whose rest cannot be had breaks off.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::body::{BodySize, MessageBody};
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use actix_web::web::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::json::{Annotations, envelope};
use crate::api::response;
use crate::node::QueryError;

/// Bytes of a piece, about: the entry that reaches them is the piece's last.
pub const PIECE_BYTES: usize = 64 << 10;
/// Answers below this are not compressed: it would not be worth the work.
const COMPRESS_BYTES_MIN: usize = 1 << 10;
/// How long a client may read nothing.
const STALL_LIMIT: Duration = Duration::from_secs(60);
/// How long it may take to read all.
pub const SEND_LIMIT: Duration = Duration::from_secs(600);

/// The results that are being sent. Each is within its query's limit; together they are within this one.
#[derive(Debug)]
pub struct SendingBytes {
    /// A permit is a KiB.
    permits: Arc<Semaphore>,
    max: usize,
}

/// A share of [`SendingBytes`], given back when dropped.
#[derive(Debug)]
pub struct SendingShare {
    _permit: OwnedSemaphorePermit,
}

impl SendingBytes {
    /// Allows `max` bytes.
    pub fn new(max: u64) -> Self {
        let max = usize::try_from(max).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self { permits: Arc::new(Semaphore::new(max >> 10)), max }
    }

    /// A share for a result of so many bytes. One that is larger than all that is allowed may be sent alone. `None` if
    /// there is not enough left.
    pub fn share(&self, bytes: usize) -> Option<SendingShare> {
        let permits = u32::try_from(bytes.min(self.max) >> 10).unwrap_or(u32::MAX);
        let permit = self.permits.clone().try_acquire_many_owned(permits).ok()?;
        Some(SendingShare { _permit: permit })
    }

    /// Bytes allowed.
    pub fn max(&self) -> usize {
        self.max
    }
}

/// A piece of an answer, or why there is no more of it.
pub type Piece = Result<Bytes, QueryError>;

/// An answer on its way: to a client of this node, or to another node that was asked by one.
pub struct Answered {
    /// Its status.
    pub status: StatusCode,
    /// How its text, which is JSON, begins.
    pub first: Bytes,
    /// What follows; `None`: nothing.
    pub rest: Option<BoxStream<'static, Piece>>,
}

impl Answered {
    /// A success that begins with `first` and goes on with what `rest` gives.
    pub fn success(first: Vec<u8>, rest: Option<BoxStream<'static, Piece>>) -> Self {
        Self { status: StatusCode::OK, first: first.into(), rest }
    }

    /// The answer as it is sent to a client.
    pub fn into_response(self) -> HttpResponse {
        let Self { status, first, rest } = self;
        let mut builder = HttpResponse::build(status);
        builder.insert_header((CONTENT_TYPE, response::JSON));
        if let Some(rest) = rest {
            return builder.body(Body::new(first, rest));
        }
        if status.is_success() && first.len() < COMPRESS_BYTES_MIN {
            builder.insert_header((CONTENT_ENCODING, HeaderValue::from_static("identity")));
        }
        builder.body(first)
    }
}

/// The data of an answer.
pub trait Data {
    /// Writes some more of it, a few kilobytes at most; false once there is nothing more.
    fn write_some(&mut self, out: &mut Vec<u8>) -> bool;
}

/// A list, or an object, whose entries are written one by one.
pub struct Entries<I, W> {
    brackets: [u8; 2],
    entries: I,
    write: W,
    has_begun: bool,
    has_entries: bool,
}

impl<I: Iterator, W: FnMut(&mut Vec<u8>, I::Item)> Entries<I, W> {
    /// `[...]`
    pub fn list(entries: impl IntoIterator<IntoIter = I>, write: W) -> Self {
        Self::between(*b"[]", entries, write)
    }

    /// `{...}`; what is written must be a key and a value.
    pub fn object(entries: impl IntoIterator<IntoIter = I>, write: W) -> Self {
        Self::between(*b"{}", entries, write)
    }

    fn between(brackets: [u8; 2], entries: impl IntoIterator<IntoIter = I>, write: W) -> Self {
        Self { brackets, entries: entries.into_iter(), write, has_begun: false, has_entries: false }
    }
}

impl<I: Iterator, W: FnMut(&mut Vec<u8>, I::Item)> Data for Entries<I, W> {
    fn write_some(&mut self, out: &mut Vec<u8>) -> bool {
        if !self.has_begun {
            self.has_begun = true;
            out.push(self.brackets[0]);
        }
        let Some(entry) = self.entries.next() else {
            out.push(self.brackets[1]);
            return false;
        };
        if self.has_entries {
            out.push(b',');
        }
        self.has_entries = true;
        (self.write)(out, entry);
        true
    }
}

/// Data that is written already.
pub struct Whole(pub Vec<u8>);

impl Data for Whole {
    fn write_some(&mut self, out: &mut Vec<u8>) -> bool {
        out.append(&mut self.0);
        false
    }
}

/// The answer to a request that succeeded.
pub fn success(data: impl Data + Send + 'static, annotations: Annotations) -> Answered {
    let mut document = Document { data, annotations, is_over: false };
    let mut first = Vec::new();
    envelope::begin_success(&mut first);
    document.fill(&mut first);
    let rest = (!document.is_over).then(|| {
        let pieces = std::iter::from_fn(move || {
            let piece = document.next_piece();
            (!piece.is_empty()).then(|| Ok(piece.into()))
        });
        stream::iter(pieces).boxed()
    });
    Answered::success(first, rest)
}

/// The rest of a document.
struct Document<D> {
    data: D,
    annotations: Annotations,
    is_over: bool,
}

impl<D: Data> Document<D> {
    /// Empty once the document is over.
    fn next_piece(&mut self) -> Vec<u8> {
        let mut piece = Vec::with_capacity(if self.is_over { 0 } else { PIECE_BYTES + PIECE_BYTES / 8 });
        self.fill(&mut piece);
        piece
    }

    /// Adds to `out` until it is a piece, or the document is over.
    fn fill(&mut self, out: &mut Vec<u8>) {
        while !self.is_over && out.len() < PIECE_BYTES {
            if !self.data.write_some(out) {
                envelope::end_success(out, &self.annotations);
                self.is_over = true;
            }
        }
    }
}

/// What is still to be sent, and how often the client has asked for more.
struct Rest {
    first: Bytes,
    pieces: BoxStream<'static, Piece>,
    asked: u64,
}

/// The body of an answer that is longer than one piece.
struct Body {
    /// `None` once it was given up.
    rest: Arc<Mutex<Option<Rest>>>,
    is_watched: bool,
}

impl Body {
    fn new(first: Bytes, pieces: BoxStream<'static, Piece>) -> Self {
        let rest = Some(Rest { first, pieces, asked: 0 });
        Self { rest: Arc::new(Mutex::new(rest)), is_watched: false }
    }
}

impl MessageBody for Body {
    type Error = Broken;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        let body = self.get_mut();
        if !body.is_watched {
            body.is_watched = true;
            actix_rt::spawn(give_up_if_stalled(Arc::downgrade(&body.rest)));
        }
        let mut rest = body.rest.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(rest) = rest.as_mut() else { return Poll::Ready(Some(Err(Broken::Stalled))) };
        rest.asked += 1;
        match std::mem::take(&mut rest.first) {
            first if !first.is_empty() => Poll::Ready(Some(Ok(first))),
            _ => {
                let piece = rest.pieces.poll_next_unpin(context);
                piece.map(|piece| piece.map(|piece| piece.map_err(Broken::Failed)))
            }
        }
    }
}

/// Why an answer ends in the middle: the connection is closed, and the client sees that it is not whole.
#[derive(Debug, thiserror::Error)]
enum Broken {
    /// The client took so long that the rest was dropped.
    #[error("a client reads its answer too slowly")]
    Stalled,
    /// The rest is not to be had.
    #[error("an answer cannot be completed: {0}")]
    Failed(QueryError),
}

/// Drops what is still to be sent if nobody asks for it for [`STALL_LIMIT`], and after [`SEND_LIMIT`].
async fn give_up_if_stalled(rest: Weak<Mutex<Option<Rest>>>) {
    let mut asked_before = 0;
    let mut waited = Duration::ZERO;
    loop {
        tokio::time::sleep(STALL_LIMIT).await;
        waited += STALL_LIMIT;
        let Some(rest) = rest.upgrade() else { return };
        let mut rest = rest.lock().unwrap_or_else(PoisonError::into_inner);
        match rest.as_ref().map(|rest| rest.asked) {
            Some(asked) if asked != asked_before && waited < SEND_LIMIT => asked_before = asked,
            _ => {
                tracing::warn!("{}; it is given up", Broken::Stalled);
                *rest = None;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::poll_fn;

    /// Numbers, and how many of them were not written yet.
    fn numbers(count: usize) -> (impl Data + Send, Arc<()>) {
        let token = Arc::new(());
        let numbers: Vec<(usize, Arc<()>)> = (0..count).map(|number| (number, token.clone())).collect();
        let data = Entries::list(numbers, |out: &mut Vec<u8>, (number, _): (usize, Arc<()>)| {
            out.extend_from_slice(number.to_string().as_bytes());
        });
        (data, token)
    }

    /// All pieces of a body, each shown to `each`.
    fn pieces(response: HttpResponse, mut each: impl FnMut(&Bytes) -> bool) {
        actix_rt::System::new().block_on(async {
            let mut body = Box::pin(response.into_body());
            while let Some(piece) = poll_fn(|context| body.as_mut().poll_next(context)).await {
                if !each(&piece.unwrap()) {
                    break;
                }
            }
        });
    }

    #[test]
    fn a_long_answer_is_written_piece_by_piece_and_dropped_on_the_way() {
        let (data, held) = numbers(100_000);
        let annotations = Annotations { warnings: vec!["w".to_owned()], infos: vec![] };
        let response = success(data, annotations).into_response();
        assert_eq!(response.body().size(), BodySize::Stream);
        let mut whole = Vec::new();
        let mut held_before = Arc::strong_count(&held);
        pieces(response, |piece| {
            assert!(piece.len() < PIECE_BYTES + 16, "{}", piece.len());
            // The first piece was there before; every other one takes its entries away from what is held.
            let held_now = Arc::strong_count(&held);
            assert!(whole.is_empty() || held_now < held_before || held_now == 1);
            held_before = held_now;
            whole.extend_from_slice(piece);
            true
        });
        let json: serde_json::Value = serde_json::from_slice(&whole).unwrap();
        assert_eq!(json["data"].as_array().unwrap().len(), 100_000);
        assert_eq!((&json["data"][99_999], &json["warnings"][0]), (&99_999.into(), &"w".into()));
    }

    #[test]
    fn the_first_piece_is_there_while_the_rest_is_still_to_be_written() {
        let (data, held) = numbers(100_000);
        let response = success(data, Annotations::default()).into_response();
        pieces(response, |first| {
            assert!(first.starts_with(br#"{"status":"success","data":[0,1,2"#));
            assert!(Arc::strong_count(&held) > 80_000);
            false
        });
        assert_eq!(Arc::strong_count(&held), 1, "a client that leaves takes its answer with it");
    }

    #[test]
    fn all_results_that_are_being_sent_share_a_limit() {
        let sending = SendingBytes::new(10 << 10);
        let first = sending.share(6 << 10).unwrap();
        assert!(sending.share(5 << 10).is_none());
        let second = sending.share(4 << 10).unwrap();
        drop((first, second));
        let huge = sending.share(1 << 40).unwrap();
        assert!(sending.share(1 << 10).is_none());
        drop(huge);
        assert!(sending.share(10 << 10).is_some());
    }

    #[test]
    fn a_short_answer_is_sent_whole() {
        let (data, _) = numbers(3);
        let response = success(data, Annotations::default()).into_response();
        let expected = br#"{"status":"success","data":[0,1,2]}"#;
        assert_eq!(response.body().size(), BodySize::Sized(expected.len() as u64));
    }
}
