//! What the cases are written with.
//!
//! Owns the shape of a case, what a kind of store hands over to be judged ([`TestedPlace`]), what a case answers, and the few
//! functions in whose words a rule is told.

use std::fmt::{self, Display};
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;
use object_store::PutPayload;
use object_store::path::Path;

use crate::contract::backend::Backend;
use crate::contract::error::{self, Error, ErrorKind, Result};
use crate::contract::tree::Tree;

/// What kind of place a case wants to be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PlaceKind {
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
pub trait TestedPlace: Send + Sync {
    /// How the store is called in the answers and in `docs/stores.md`: `S3 (moto 5.2.5)`.
    fn name(&self) -> &str;

    /// Opens the place of this kind and name. Another name is another place that nobody wrote to;
    /// the same name again is the same place opened once more, as another process would. Names are of
    /// `a-z`, `0-9` and `-`. None where the store has no such kind of place: the case says so.
    async fn open(&self, kind: PlaceKind, name: &str) -> Result<Option<Arc<dyn Backend>>>;

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
pub enum CaseVerdict {
    Fails(String),
    /// The store does not have this setting.
    NotHere(String),
}

/// What a case answers.
pub type Outcome = std::result::Result<(), CaseVerdict>;

impl From<Error> for CaseVerdict {
    fn from(error: Error) -> Self {
        Self::Fails(format!("{:?}: {error}", error.kind))
    }
}

impl From<object_store::Error> for CaseVerdict {
    fn from(error: object_store::Error) -> Self {
        Self::Fails(error::chain(&error))
    }
}

impl Display for CaseVerdict {
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
        $crate::conformance::kit::Case { name: $name, run: |at| Box::pin($run(at)) }
    };
}
pub(crate) use case;

/// A case's own place, named after it.
#[derive(Clone)]
pub struct At {
    pub(super) place: Arc<dyn TestedPlace>,
    pub(super) name: String,
}

impl At {
    /// The case's plain place; called again, the same one opened once more.
    pub(super) async fn plain(&self) -> std::result::Result<Arc<dyn Backend>, CaseVerdict> {
        self.of(PlaceKind::Plain).await
    }

    /// The case's place of a kind, or word that there is none.
    pub(super) async fn of(&self, kind: PlaceKind) -> std::result::Result<Arc<dyn Backend>, CaseVerdict> {
        self.place.open(kind, &self.name).await?.ok_or_else(|| {
            not_here(match kind {
                PlaceKind::Plain => "no place to write to",
                PlaceKind::Versioned => "it keeps no versions of its own",
                PlaceKind::Missing => "there is no place that could be missing",
                PlaceKind::Unmade => "no bucket or directory can be made",
                PlaceKind::WrongCredentials => "it takes no credentials",
            })
        })
    }

    /// The case's plain place as a real tree, where it is one.
    pub(super) async fn tree(&self) -> std::result::Result<Arc<dyn Tree>, CaseVerdict> {
        self.plain().await?.tree().ok_or_else(|| not_here("it is no real directory tree"))
    }

    /// What this machine sees at a path of the tree.
    pub(super) fn seen(&self, path: &str) -> std::result::Result<PathBuf, CaseVerdict> {
        let root = self.place.seen_at(&self.name).ok_or_else(|| not_here("this machine cannot look at the tree itself"))?;
        Ok(root.join(path))
    }
}

/// The case cannot be judged here.
pub(super) fn not_here(why: &str) -> CaseVerdict {
    CaseVerdict::NotHere(why.to_owned())
}

/// Fails the case with `why` unless `holds`.
pub(super) fn want(holds: bool, why: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(CaseVerdict::Fails(why())) }
}

/// Fails the case unless both are the same.
pub(super) fn same<T: PartialEq + fmt::Debug>(what: &str, got: T, wanted: T) -> Outcome {
    want(got == wanted, || format!("{what}: got {got:?}, wanted {wanted:?}"))
}

/// Fails the case unless the answer is an error of one of these kinds; hands the error on.
pub(super) fn refused<T>(what: &str, answer: Result<T>, kinds: &[ErrorKind]) -> std::result::Result<Error, CaseVerdict> {
    match answer {
        Ok(_) => Err(CaseVerdict::Fails(format!("{what}: it went through, wanted {kinds:?}"))),
        Err(error) if kinds.contains(&error.kind) => Ok(error),
        Err(error) => Err(CaseVerdict::Fails(format!("{what}: got {:?}, wanted {kinds:?}: {error}", error.kind))),
    }
}

/// An answer of the data plane with the kinds of this crate.
pub(super) fn plain<T>(backend: &Arc<dyn Backend>, key: &str, answer: object_store::Result<T>) -> Result<T> {
    answer.map_err(|error| backend.error(key, &error))
}

pub(super) fn key(text: &str) -> Path {
    Path::parse(text).unwrap_or_default()
}

pub(super) fn body(text: &str) -> PutPayload {
    PutPayload::from(text.as_bytes().to_vec())
}

/// So many bytes, different at each place and in each part.
pub(super) fn content(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at % 251) as u8 ^ (at >> 16) as u8).collect()
}

/// An entity tag without its quotes.
pub(super) fn bare(etag: Option<&str>) -> Option<String> {
    etag.map(|etag| etag.trim_matches('"').to_owned())
}
