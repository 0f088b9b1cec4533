//! The log of requests: one line each, in one form.
//!
//! Owns the line (`TracedCall`), the parts of a URL that may appear in it, and whether a request is a retry. Nothing is
//! formatted while nobody listens. Invariant: a line contains a verb, a URL, a status and figures, and nothing else: no
//! header, no body, and of a query only what is known to be harmless.

use std::collections::HashMap;
use std::fmt::Display;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::contract::tidy;

/// Target of the log lines of requests on the wire, at level `debug`.
pub const REQUEST: &str = "offsite::request";
/// Target of the log lines of storage calls that are no HTTP request, at level `trace`.
pub const CALL: &str = "offsite::call";

/// Number of requests whose failures are remembered at a time.
const REMEMBERED: usize = 10_000;

/// Which requests failed in a way that is retried, and how often in a row.
#[derive(Debug, Default)]
pub(crate) struct Tries {
    failed: Mutex<HashMap<u64, u32>>,
    hasher: RandomState,
}

impl Tries {
    fn so_far(&self, which: u64) -> u32 {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).get(&which).copied().unwrap_or_default()
    }

    fn note(&self, which: u64, failed: bool) {
        let mut all = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        match failed {
            false => drop(all.remove(&which)),
            true => {
                if all.len() >= REMEMBERED {
                    all.clear();
                }
                *all.entry(which).or_default() += 1;
            }
        }
    }
}

/// One request that is under way. It is logged in one line when it is dropped.
#[derive(Debug)]
pub(crate) struct TracedCall(Option<Box<TracedFields>>);

#[derive(Debug)]
struct TracedFields {
    verb: String,
    key: String,
    which: u64,
    again: u32,
    began: Instant,
    status: Option<String>,
    /// Whether the same request is likely to be sent again.
    passing: bool,
    sent: u64,
    received: u64,
    tries: Arc<Tries>,
}

impl TracedCall {
    /// A request that is sent now. `about` gives its verb and URL, and is called only if somebody listens.
    pub(crate) fn begin<V: Display>(tries: &Arc<Tries>, about: impl FnOnce() -> (V, String)) -> Self {
        if !tracing::enabled!(target: REQUEST, tracing::Level::DEBUG) {
            return Self(None);
        }
        let (verb, key) = about();
        let verb = verb.to_string();
        let which = tries.hasher.hash_one((&verb, &key));
        let again = tries.so_far(which);
        let (tries, began) = (Arc::clone(tries), Instant::now());
        Self(Some(Box::new(TracedFields { verb, key, which, again, began, status: None, passing: true, sent: 0, received: 0, tries })))
    }

    /// A request that is not logged.
    pub(crate) fn untold() -> Self {
        Self(None)
    }

    pub(crate) fn sent(&mut self, bytes: u64) {
        if let Some(told) = &mut self.0 {
            told.sent += bytes;
        }
    }

    pub(crate) fn received(&mut self, bytes: u64) {
        if let Some(told) = &mut self.0 {
            told.received += bytes;
        }
    }

    /// Notes the status that an HTTP server answered.
    pub(crate) fn answered(&mut self, status: u16) {
        self.ended(status, matches!(status, 408 | 429 | 500..=599));
    }

    /// Notes how the request ended. `passing` says whether a retry may help.
    pub(crate) fn ended(&mut self, status: impl Display, passing: bool) {
        if let Some(told) = &mut self.0 {
            (told.status, told.passing) = (Some(status.to_string()), passing);
        }
    }
}

impl Drop for TracedCall {
    fn drop(&mut self) {
        let Some(told) = self.0.take() else { return };
        told.tries.note(told.which, told.passing);
        let (ms, again) = (told.began.elapsed().as_millis() as u64, told.again);
        let (verb, key) = (told.verb.as_str(), tidy::tidy(&told.key, tidy::PLACE));
        let status = told.status.as_deref().unwrap_or("none");
        tracing::debug!(target: REQUEST, verb, status, ms, sent = told.sent, received = told.received, again, key);
    }
}

/// Logs a call of a store that does not use HTTP, such as a directory. `at` is called only if somebody listens.
pub(crate) fn call(verb: &str, at: impl FnOnce() -> String) {
    if tracing::enabled!(target: CALL, tracing::Level::TRACE) {
        let key = tidy::tidy(&at(), tidy::PLACE);
        tracing::trace!(target: CALL, verb, key);
    }
}

/// A URL as it may be logged: of its query only the names, and the values of a few that hold no secret. The part after
/// the name of Backblaze's upload calls is as good as a credential, so it is cut off.
pub(crate) fn shown(url: impl Display) -> String {
    const OPEN: [&str; 7] = ["prefix", "list-type", "partNumber", "versionId", "restype", "comp", "delimiter"];
    let text = url.to_string();
    let (place, query) = text.split_once('?').map_or((text.as_str(), None), |(place, query)| (place, Some(query)));
    let mut out = without_user(place);
    if let Some(at) = out.find("/b2_upload_") {
        let end = out[at + 1..].find('/').map_or(out.len(), |end| at + 1 + end);
        out.truncate(end);
    }
    for (index, pair) in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()).enumerate() {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        out.push(if index == 0 { '?' } else { '&' });
        out.push_str(name);
        if OPEN.contains(&name) && !value.is_empty() {
            out.push('=');
            out.push_str(value);
        }
    }
    out
}

fn without_user(place: &str) -> String {
    let Some((scheme, rest)) = place.split_once("://") else { return place.to_owned() };
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    format!("{scheme}://{}{path}", host.rsplit_once('@').map_or(host, |(_, host)| host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_url_only_what_is_harmless_is_told() {
        for (url, wanted) in [
            ("https://h/b/a%20b", "https://h/b/a%20b"),
            ("https://me:hush@h:9/b?X-Amz-Signature=hush&prefix=a%2F", "https://h:9/b?X-Amz-Signature&prefix=a%2F"),
            ("https://h/c?comp=list&sig=hush&marker=hush", "https://h/c?comp=list&sig&marker"),
            ("https://pod/b2api/v4/b2_upload_file/hush/hush", "https://pod/b2api/v4/b2_upload_file"),
            ("https://h/b?uploads", "https://h/b?uploads"),
        ] {
            let shown = shown(url);
            assert_eq!(shown, wanted);
            assert!(!shown.contains("hush"));
        }
    }

    #[test]
    fn a_try_after_a_failure_that_may_pass_is_told_as_one() {
        let tries = Tries::default();
        for (failed, so_far) in [(true, 1), (true, 2), (false, 0), (true, 1)] {
            tries.note(7, failed);
            assert_eq!(tries.so_far(7), so_far);
        }
        (0..3 * REMEMBERED as u64).for_each(|which| tries.note(which, true));
        assert!(tries.failed.lock().unwrap().len() <= REMEMBERED);
    }
}
