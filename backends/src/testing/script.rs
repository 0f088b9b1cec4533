//! The faults to inject, and the calls that were made.
//!
//! Owns the counting of calls and the decisions; knows nothing of stores. One script serves the data plane, uploads in
//! parts, the control plane and the tree of one [`super::Faulty`]. Invariant: calls are numbered from 1 in the order in
//! which they begin, whatever their result.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::contract::error::{Error, ErrorKind, Result};

/// One call that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// `put`, `create`, `update` (puts by their mode), `get`, `head`, `list`, `delete`, `copy`,
    /// `rename`; `create_multipart`, `put_part`, `complete_multipart`, `abort_multipart`; otherwise
    /// the name of the method of [`crate::Backend`] or [`crate::Tree`]. Blocks that are staged one by
    /// one are `stage_write` and `stage_finish`.
    pub verb: &'static str,
    /// Key or path, as text; of a copy its source; empty if the call has none.
    pub key: String,
}

#[derive(Debug)]
struct ScriptedFault {
    /// Of all calls, or of those with this verb.
    verb: Option<&'static str>,
    nth: u64,
    kind: ErrorKind,
    /// The call is made all the same, and only its answer is lost.
    after: bool,
}

#[derive(Debug, Default)]
struct ScriptState {
    log: Vec<Call>,
    verbs: HashMap<&'static str, u64>,
    stop_at: Option<u64>,
    faults: Vec<ScriptedFault>,
    refused: Vec<(String, ErrorKind)>,
    refused_verbs: Vec<(&'static str, ErrorKind)>,
    unreadable: Vec<(String, ErrorKind)>,
    bodies: u64,
    cuts: Vec<(u64, usize)>,
    listings: u64,
    ends: Vec<u64>,
    delay: Duration,
    pause_at: Option<u64>,
    slept: Duration,
}

/// Faults that are still to be injected. Clones are the same script.
#[derive(Debug, Clone, Default)]
pub struct Script {
    state: Arc<Mutex<ScriptState>>,
}

/// How a call continues that the script lets through.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pass {
    /// The error to answer with although the call was made.
    pub lose: Option<ErrorKind>,
}

impl Script {
    /// A script without faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// From the `n`-th call on (the first is 1), every call fails with a `Transient` error and is not made, and bodies
    /// and listings under way break off: as if this program had been killed.
    pub fn stop_at(&self, n: u64) -> &Self {
        self.lock().stop_at = Some(n);
        self
    }

    /// The `n`-th call fails and is not made.
    pub fn fail_at(&self, n: u64, kind: ErrorKind) -> &Self {
        self.fault(None, n, kind, false)
    }

    /// The `nth` call with that verb fails and is not made. See [`Call::verb`].
    pub fn fail_verb(&self, verb: &'static str, nth: u64, kind: ErrorKind) -> &Self {
        self.fault(Some(verb), nth, kind, false)
    }

    /// The `nth` call with that verb is made, and answers with an error all the same.
    pub fn lose_answer(&self, verb: &'static str, nth: u64, kind: ErrorKind) -> &Self {
        self.fault(Some(verb), nth, kind, true)
    }

    /// Every call about `key` fails and is not made, as for an entry that the destination does not accept.
    pub fn refuse(&self, key: &str, kind: ErrorKind) -> &Self {
        self.lock().refused.push((key.to_owned(), kind));
        self
    }

    /// Every call with that verb fails and is not made, as for credentials that lack a right. See [`Call::verb`].
    pub fn refuse_verb(&self, verb: &'static str, kind: ErrorKind) -> &Self {
        self.lock().refused_verbs.push((verb, kind));
        self
    }

    /// Every `get` of a key that has `part` fails, as for credentials that may not read these objects.
    pub fn refuse_reads(&self, part: &str, kind: ErrorKind) -> &Self {
        self.lock().unreadable.push((part.to_owned(), kind));
        self
    }

    /// The body of the `nth` `get` or `read_blocks` ends in an error after that many bytes.
    pub fn cut_body(&self, nth: u64, bytes: usize) -> &Self {
        self.lock().cuts.push((nth, bytes));
        self
    }

    /// The `nth` listing yields half of its items and then an error.
    pub fn end_listing_early(&self, nth: u64) -> &Self {
        self.lock().ends.push(nth);
        self
    }

    /// Every call takes so much longer.
    pub fn delay(&self, delay: Duration) -> &Self {
        self.lock().delay = delay;
        self
    }

    /// The `n`-th call and every later one waits on its way to the store until [`Script::go_on`], as if this program
    /// had been suspended.
    pub fn pause_at(&self, n: u64) -> &Self {
        self.lock().pause_at = Some(n);
        self
    }

    /// Whether calls wait now.
    pub fn is_paused(&self) -> bool {
        let state = self.lock();
        state.pause_at.is_some_and(|n| state.log.len() as u64 >= n)
    }

    /// Lets the waiting calls continue.
    pub fn go_on(&self) -> &Self {
        self.lock().pause_at = None;
        self
    }

    /// Advances this machine's boot clock by so much at once, as if it had slept.
    pub fn sleep(&self, time: Duration) -> &Self {
        self.lock().slept += time;
        self
    }

    pub(super) fn slept(&self) -> Duration {
        self.lock().slept
    }

    /// Removes all faults and counts from zero.
    pub fn reset(&self) {
        *self.lock() = ScriptState::default();
    }

    /// The calls so far.
    pub fn calls(&self) -> Vec<Call> {
        self.lock().log.clone()
    }

    /// The number of calls so far.
    pub fn count(&self) -> u64 {
        self.lock().log.len() as u64
    }

    /// Whether the call of [`Script::stop_at`] was reached.
    pub fn is_stopped(&self) -> bool {
        let state = self.lock();
        state.stop_at.is_some_and(|n| state.log.len() as u64 >= n)
    }

    fn fault(&self, verb: Option<&'static str>, nth: u64, kind: ErrorKind, after: bool) -> &Self {
        let fault = ScriptedFault { verb, nth, kind, after };
        self.lock().faults.push(fault);
        self
    }

    fn lock(&self) -> MutexGuard<'_, ScriptState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a call and decides about it.
    pub(super) fn enter(&self, verb: &'static str, key: &str) -> Result<Pass> {
        let mut state = self.lock();
        state.log.push(Call { verb, key: key.to_owned() });
        let count = state.log.len() as u64;
        let of_verb = state.verbs.entry(verb).or_default();
        *of_verb += 1;
        let of_verb = *of_verb;
        if state.stop_at.is_some_and(|n| count >= n) {
            return Err(injected(ErrorKind::Transient, key));
        }
        if let Some((_, kind)) = state.refused.iter().find(|(refused, _)| refused == key) {
            return Err(injected(*kind, key));
        }
        if let Some((_, kind)) = state.refused_verbs.iter().find(|(refused, _)| *refused == verb) {
            return Err(injected(*kind, key));
        }
        if let Some((_, kind)) = state.unreadable.iter().find(|(part, _)| verb == "get" && key.contains(part.as_str())) {
            return Err(injected(*kind, key));
        }
        let hit = state.faults.iter().find(|fault| match fault.verb {
            Some(wanted) => wanted == verb && fault.nth == of_verb,
            None => fault.nth == count,
        });
        match hit {
            Some(fault) if fault.after => Ok(Pass { lose: Some(fault.kind) }),
            Some(fault) => Err(injected(fault.kind, key)),
            None => Ok(Pass { lose: None }),
        }
    }

    /// The same, and waits for the delay of the script.
    pub(super) async fn enter_slowly(&self, verb: &'static str, key: &str) -> Result<Pass> {
        let entered = self.enter(verb, key);
        self.wait().await;
        entered
    }

    pub(super) async fn wait(&self) {
        let delay = self.lock().delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        while self.is_paused() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// The number of bytes after which the body that begins now is cut; `None` if it is not.
    pub(super) fn next_body(&self) -> Option<usize> {
        let mut state = self.lock();
        state.bodies += 1;
        let number = state.bodies;
        let cut = state.cuts.iter().find(|(nth, _)| *nth == number);
        cut.map(|(_, bytes)| *bytes)
    }

    /// Whether the listing that begins now ends early.
    pub(super) fn next_listing(&self) -> bool {
        let mut state = self.lock();
        state.listings += 1;
        state.ends.contains(&state.listings)
    }
}

/// The error of a fault.
pub(super) fn injected(kind: ErrorKind, key: &str) -> Error {
    Error::new(kind, key, format!("{kind:?} injected by the test: connection lost"))
}

/// Runs one call under a script.
pub(super) async fn call<T>(script: &Script, verb: &'static str, key: &str, run: impl Future<Output = Result<T>>) -> Result<T> {
    let pass = script.enter_slowly(verb, key).await?;
    let done = run.await;
    match pass.lose {
        Some(kind) => Err(injected(kind, key)),
        None => done,
    }
}
