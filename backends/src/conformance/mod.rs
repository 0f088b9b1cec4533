//! The rules that every backend keeps, as small named cases that run on any of them.
//!
//! Owns the [`cases`], what a kind of store has to hand over to be judged by them ([`Place`]), and the
//! runner ([`run`], [`Report`]). Which cases apply is said by [`crate::Capabilities`]; what one make of
//! server gets wrong is said by its `Place`, by name and with a reason. Starts no server and prints nothing.
//! Invariant: a case holds, fails, or says why it is not here; none is passed over in silence.

mod answers;
mod conditions;
mod copies;
mod listings;
mod make;
mod names;
mod objects;
mod report;
mod tree;
mod tree_names;
mod uploads;
mod versions;

use std::fmt::{self, Display};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use object_store::PutPayload;
use object_store::path::Path;

use crate::{Backend, Error, Result};

pub use report::{Entry, Report};

/// No case takes so long on a server that works.
const PATIENCE: Duration = Duration::from_secs(120);

/// What kind of place a case wants to be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An empty prefix or directory that is ready to be written to.
    Plain,
    /// The same where the store keeps what is replaced and removed.
    Versioned,
    /// A bucket or directory that is not there.
    Missing,
    /// A bucket or directory that is not there and that these credentials may make.
    Unmade,
    /// A place that is there, opened with credentials that are wrong.
    WrongCredentials,
}

/// One kind of store, or one make of server, as the cases see it.
#[async_trait]
pub trait Place: Send + Sync {
    /// How the store is called in the answers and in `docs/stores.md`: `S3 (moto 5.2.5)`.
    fn name(&self) -> &str;

    /// Opens the place of this kind and name. Another name is another place that nobody wrote to;
    /// the same name again is the same place opened once more, as another process would. Names are of
    /// `a-z`, `0-9` and `-`. None where the store has no such kind of place: the case says so.
    async fn open(&self, kind: Kind, name: &str) -> Result<Option<Arc<dyn Backend>>>;

    /// The cases that do not hold at this make of server although its capabilities promise them, each
    /// with the reason.
    fn not_here(&self) -> Vec<(&'static str, &'static str)> {
        Vec::new()
    }

    /// Where this machine sees the tree of the plain place of that name, to look at modes and links.
    fn seen_at(&self, _name: &str) -> Option<PathBuf> {
        None
    }
}

/// Why a case did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Fails(String),
    /// The store does not have this setting.
    NotHere(String),
}

/// What a case answers.
pub type Outcome = std::result::Result<(), Verdict>;

impl From<Error> for Verdict {
    fn from(error: Error) -> Self {
        Self::Fails(format!("{:?}: {error}", error.kind))
    }
}

impl From<object_store::Error> for Verdict {
    fn from(error: object_store::Error) -> Self {
        Self::Fails(crate::error::chain(&error))
    }
}

impl Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fails(why) => write!(f, "fails: {why}"),
            Self::NotHere(why) => write!(f, "not here: {why}"),
        }
    }
}

/// One rule.
#[derive(Clone, Copy)]
pub struct Case {
    pub name: &'static str,
    /// Judges a place; leaves what it wrote.
    pub run: fn(At) -> BoxFuture<'static, Outcome>,
}

/// Makes a case of a name and an `async fn(At) -> Outcome`.
macro_rules! case {
    ($name:literal, $run:path) => {
        $crate::conformance::Case { name: $name, run: |at| Box::pin($run(at)) }
    };
}
pub(crate) use case;

/// All of them, in a fixed order.
pub fn cases() -> Vec<Case> {
    let all = [
        objects::CASES,
        conditions::CASES,
        names::CASES,
        listings::CASES,
        uploads::CASES,
        copies::CASES,
        versions::CASES,
        answers::CASES,
        make::CASES,
        tree::CASES,
        tree_names::CASES,
    ];
    all.concat()
}

/// A case's own place, named after it.
#[derive(Clone)]
pub struct At {
    place: Arc<dyn Place>,
    name: String,
}

impl At {
    /// The case's plain place; called again, the same one opened once more.
    async fn plain(&self) -> std::result::Result<Arc<dyn Backend>, Verdict> {
        self.of(Kind::Plain).await
    }

    /// The case's place of a kind, or word that there is none.
    async fn of(&self, kind: Kind) -> std::result::Result<Arc<dyn Backend>, Verdict> {
        self.place.open(kind, &self.name).await?.ok_or_else(|| {
            not_here(match kind {
                Kind::Plain => "no place to write to",
                Kind::Versioned => "it keeps no versions of its own",
                Kind::Missing => "there is no place that could be missing",
                Kind::Unmade => "no bucket or directory can be made",
                Kind::WrongCredentials => "it takes no credentials",
            })
        })
    }

    /// The case's plain place as a real tree, where it is one.
    async fn tree(&self) -> std::result::Result<Arc<dyn crate::Tree>, Verdict> {
        self.plain().await?.tree().ok_or_else(|| not_here("it is no real directory tree"))
    }

    /// What this machine sees at a path of the tree.
    fn seen(&self, path: &str) -> std::result::Result<PathBuf, Verdict> {
        let root = self.place.seen_at(&self.name).ok_or_else(|| not_here("this machine cannot look at the tree itself"))?;
        Ok(root.join(path))
    }
}

/// Runs the cases one after the other, those whose name contains `only` where it is given, and tells
/// `say` one line a case. Names of places begin with `stem`, which must be new at the store.
pub async fn run(place: Arc<dyn Place>, stem: &str, only: Option<&str>, mut say: impl FnMut(&str)) -> Report {
    let quirks = place.not_here();
    let mut report = Report::of(place.as_ref(), stem).await;
    for (number, case) in cases().into_iter().enumerate() {
        if only.is_some_and(|only| !case.name.contains(only)) {
            continue;
        }
        let quirk = quirks.iter().find(|(name, _)| *name == case.name);
        let outcome = match quirk {
            Some((_, why)) => Err(Verdict::NotHere((*why).to_owned())),
            None => guarded(case, At { place: place.clone(), name: format!("{stem}-{number:02}x") }).await,
        };
        let entry = Entry { case: case.name, outcome, is_quirk: quirk.is_some() };
        say(&format!("{}: {entry}", place.name()));
        report.entries.push(entry);
    }
    for (name, _) in &quirks {
        if !cases().iter().any(|case| case.name == *name) {
            let outcome = Err(Verdict::Fails("the place says this does not hold, and there is no such case".into()));
            report.entries.push(Entry { case: name, outcome, is_quirk: false });
        }
    }
    report
}

/// One case, with an end to its time and its panics.
async fn guarded(case: Case, at: At) -> Outcome {
    match tokio::time::timeout(PATIENCE, tokio::spawn((case.run)(at))).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(broken)) => Err(Verdict::Fails(format!("it broke off: {broken}"))),
        Err(_) => Err(Verdict::Fails(format!("no answer within {} s", PATIENCE.as_secs()))),
    }
}

// --- what the cases are written with ---

/// The case cannot be judged here.
fn not_here(why: &str) -> Verdict {
    Verdict::NotHere(why.to_owned())
}

/// Fails the case with `why` unless `holds`.
fn want(holds: bool, why: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(Verdict::Fails(why())) }
}

/// Fails the case unless both are the same.
fn same<T: PartialEq + fmt::Debug>(what: &str, got: T, wanted: T) -> Outcome {
    want(got == wanted, || format!("{what}: got {got:?}, wanted {wanted:?}"))
}

/// Fails the case unless the answer is an error of one of these kinds; hands the error on.
fn refused<T>(what: &str, answer: Result<T>, kinds: &[crate::ErrorKind]) -> std::result::Result<Error, Verdict> {
    match answer {
        Ok(_) => Err(Verdict::Fails(format!("{what}: it went through, wanted {kinds:?}"))),
        Err(error) if kinds.contains(&error.kind) => Ok(error),
        Err(error) => Err(Verdict::Fails(format!("{what}: got {:?}, wanted {kinds:?}: {error}", error.kind))),
    }
}

/// An answer of the data plane with the kinds of this crate.
fn plain<T>(backend: &Arc<dyn Backend>, key: &str, answer: object_store::Result<T>) -> Result<T> {
    answer.map_err(|error| Error::from_store(backend.location(), key, &error))
}

fn key(text: &str) -> Path {
    Path::parse(text).unwrap_or_default()
}

fn body(text: &str) -> PutPayload {
    PutPayload::from(text.as_bytes().to_vec())
}

/// So many bytes, different at each place and in each part.
fn content(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at % 251) as u8 ^ (at >> 16) as u8).collect()
}

/// An entity tag without its quotes.
fn bare(etag: Option<&str>) -> Option<String> {
    etag.map(|etag| etag.trim_matches('"').to_owned())
}
