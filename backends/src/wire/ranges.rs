//! Answers to a request for a part of an object that do not say they are a part.
//!
//! Some servers and proxies answer 200 to a ranged GET: with the part itself and its `Content-Range`, or with the whole
//! object. `object_store` refuses both. Owns the correction of such answers. Invariant: a body is passed on as a part
//! only if its length confirms that, or if it is cut out of a body of known length. Any other answer is left unchanged
//! and refused later.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderValue, RANGE};
use http_body::{Body, Frame, SizeHint};
use object_store::HeaderMap;
use object_store::client::{HttpError, HttpRequest, HttpResponse, HttpResponseBody};

/// The part that a GET requests, in bytes. The end is exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Between(u64, u64),
    From(u64),
    Last(u64),
}

impl Asked {
    /// The part that a request asks for; `None` for the whole object.
    pub(crate) fn of(request: &HttpRequest) -> Option<Self> {
        if request.method() != "GET" {
            return None;
        }
        Self::parse(request.headers().get(RANGE)?.to_str().ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
        match (first.parse().ok(), last.parse::<u64>().ok()) {
            (Some(first), Some(last)) if first <= last => Some(Self::Between(first, last.checked_add(1)?)),
            (Some(first), None) if last.is_empty() => Some(Self::From(first)),
            (None, Some(count)) if first.is_empty() => Some(Self::Last(count)),
            _ => None,
        }
    }

    /// Start and end in an object of that size; `None` if no byte of the part lies in it.
    fn within(self, size: u64) -> Option<(u64, u64)> {
        let (start, end) = match self {
            Self::Between(start, end) => (start, end.min(size)),
            Self::From(start) => (start, size),
            Self::Last(count) => (size.saturating_sub(count), size),
        };
        (start < end).then_some((start, end))
    }
}

/// The answer as it should have been, and whether it had to be corrected.
pub(crate) fn mend(asked: Asked, mut answer: HttpResponse) -> (HttpResponse, bool) {
    if answer.status() != StatusCode::OK {
        return (answer, false);
    }
    let length = number(answer.headers(), CONTENT_LENGTH.as_str());
    if let Some((start, end)) = said(answer.headers())
        && length.is_none_or(|length| length == end - start)
    {
        *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
        return (answer, true);
    }
    let Some(size) = length else { return (answer, false) };
    let Some((start, end)) = asked.within(size) else {
        *answer.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
        return (answer, true);
    };
    let Ok(value) = HeaderValue::from_str(&format!("bytes {start}-{}/{size}", end - 1)) else { return (answer, false) };
    answer.headers_mut().insert(CONTENT_RANGE, value);
    answer.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(end - start));
    *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
    (answer.map(|body| HttpResponseBody::new(Cut { body, skip: start, left: end - start })), true)
}

/// Start and end in a `Content-Range`.
fn said(headers: &HeaderMap) -> Option<(u64, u64)> {
    let (range, _) = headers.get(CONTENT_RANGE)?.to_str().ok()?.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((first, last.checked_add(1)?))
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

/// A part of a body. The bytes after it are not waited for.
struct Cut {
    body: HttpResponseBody,
    skip: u64,
    left: u64,
}

impl Cut {
    /// The bytes of the next piece that belong to the part.
    fn cut(&mut self, mut data: Bytes) -> Bytes {
        let skipped = usize::try_from(self.skip).map_or(data.len(), |skip| skip.min(data.len()));
        self.skip -= skipped as u64;
        let mut data = data.split_off(skipped);
        data.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= data.len() as u64;
        data
    }
}

impl Body for Cut {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let this = &mut *self;
        while this.left > 0 {
            match Pin::new(&mut this.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let Ok(data) = frame.into_data() else { continue };
                    let data = this.cut(data);
                    if !data.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                }
                other => return other,
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&str, &str)], body: &'static str) -> HttpResponse {
        let mut answer = http::Response::builder().status(status);
        for (name, value) in headers {
            answer = answer.header(*name, *value);
        }
        answer.body(HttpResponseBody::from(Bytes::from_static(body.as_bytes()))).unwrap()
    }

    async fn read(asked: &str, answer: HttpResponse) -> (u16, String, String) {
        let (answer, _) = mend(Asked::parse(asked).unwrap(), answer);
        let range = answer.headers().get(CONTENT_RANGE).map_or("", |value| value.to_str().unwrap()).to_owned();
        let status = answer.status().as_u16();
        (status, range, String::from_utf8(answer.into_body().bytes().await.unwrap().to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_part_is_cut_out_of_a_whole_object() {
        let whole = || answer(200, &[("content-length", "10")], "0123456789");
        for (asked, range, part) in [
            ("bytes=2-4", "bytes 2-4/10", "234"),
            ("bytes=8-99", "bytes 8-9/10", "89"),
            ("bytes=7-", "bytes 7-9/10", "789"),
            ("bytes=-3", "bytes 7-9/10", "789"),
            ("bytes=0-9", "bytes 0-9/10", "0123456789"),
        ] {
            assert_eq!(read(asked, whole()).await, (206, range.into(), part.into()), "{asked}");
        }
        assert_eq!(read("bytes=10-12", whole()).await.0, 416);
    }

    #[tokio::test]
    async fn a_part_that_says_it_is_one_is_believed_by_its_length() {
        let part = answer(200, &[("content-length", "3"), ("content-range", "bytes 2-4/10")], "234");
        assert_eq!(read("bytes=2-4", part).await, (206, "bytes 2-4/10".into(), "234".into()));
        // The header of a part on the whole object: the length decides.
        let whole = answer(200, &[("content-length", "10"), ("content-range", "bytes 2-4/10")], "0123456789");
        assert_eq!(read("bytes=2-4", whole).await, (206, "bytes 2-4/10".into(), "234".into()));
    }

    #[tokio::test]
    async fn what_cannot_be_judged_is_left_alone() {
        assert_eq!(read("bytes=2-4", answer(200, &[], "0123456789")).await.0, 200);
        assert_eq!(read("bytes=2-4", answer(404, &[("content-length", "2")], "no")).await.0, 404);
        assert_eq!(read("bytes=2-4", answer(206, &[("content-range", "bytes 2-4/10")], "234")).await.0, 206);
    }
}
