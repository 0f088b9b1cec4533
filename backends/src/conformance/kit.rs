//! The types and functions with which the cases are written.
//!
//! Owns the form of a case, what a kind of store provides to be judged ([`TestedPlace`]), what a case answers, and the
//! few functions that express a rule.

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

/// What kind of destination a case wants to open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PlaceKind {
    /// An empty prefix or directory that is ready to be written to.
    Plain,
    /// The same at a store that keeps replaced and deleted objects.
    Versioned,
    /// A bucket or directory that does not exist.
    Missing,
    /// A bucket or directory that does not exist and that these credentials may create.
    Unmade,
    /// An existing destination, opened with wrong credentials.
    WrongCredentials,
}

/// One kind of store, or one make of server, as the cases see it.
#[async_trait]
pub trait TestedPlace: Send + Sync {
    /// How reports and `docs/stores.md` call the store: `S3 (moto 5.2.5)`.
    fn name(&self) -> &str;

    /// Opens the destination of this kind and name. Each new name is a new destination that nobody has written to. The
    /// same name again is the same destination, opened once more as another process would. Names consist of `a-z`,
    /// `0-9` and `-`. `None` if the store has no destination of this kind; the case then says so.
    async fn open(&self, kind: PlaceKind, name: &str) -> Result<Option<Arc<dyn Backend>>>;

    /// Cases that do not hold at this make of server although its capabilities promise them, each with the reason.
    fn not_here(&self) -> Vec<(&'static str, &'static str)> {
        Vec::new()
    }

    /// The path on this machine of the tree of the plain destination with that name, to look at modes and links. `None`
    /// if this machine cannot see it.
    fn seen_at(&self, _name: &str) -> Option<PathBuf> {
        None
    }
}

/// Why a case did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CaseVerdict {
    /// The store breaks the rule: how.
    Fails(String),
    /// The rule cannot be judged at this store: why.
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
    /// The rule in a few words; unique.
    pub name: &'static str,
    /// Judges a destination. What it wrote stays there.
    pub run: fn(At) -> BoxFuture<'static, Outcome>,
}

/// Makes a case of a name and an `async fn(At) -> Outcome`.
macro_rules! case {
    ($name:literal, $run:path) => {
        $crate::conformance::kit::Case { name: $name, run: |at| Box::pin($run(at)) }
    };
}
pub(crate) use case;

/// A case's own destination, named after the case.
#[derive(Clone)]
pub struct At {
    pub(super) place: Arc<dyn TestedPlace>,
    pub(super) name: String,
}

impl At {
    /// The case's plain destination. Another call opens the same one again.
    pub(super) async fn plain(&self) -> std::result::Result<Arc<dyn Backend>, CaseVerdict> {
        self.of(PlaceKind::Plain).await
    }

    /// The case's destination of a kind, or the verdict that there is none.
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

    /// The case's plain destination as a real tree, if it is one.
    pub(super) async fn tree(&self) -> std::result::Result<Arc<dyn Tree>, CaseVerdict> {
        self.plain().await?.tree().ok_or_else(|| not_here("it is no real directory tree"))
    }

    /// The path on this machine of a path in the tree.
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

/// Fails the case unless both values are equal.
pub(super) fn same<T: PartialEq + fmt::Debug>(what: &str, got: T, wanted: T) -> Outcome {
    want(got == wanted, || format!("{what}: got {got:?}, wanted {wanted:?}"))
}

/// Fails the case unless the answer is an error of one of these kinds. Returns the error.
pub(super) fn refused<T>(what: &str, answer: Result<T>, kinds: &[ErrorKind]) -> std::result::Result<Error, CaseVerdict> {
    match answer {
        Ok(_) => Err(CaseVerdict::Fails(format!("{what}: it went through, wanted {kinds:?}"))),
        Err(error) if kinds.contains(&error.kind) => Ok(error),
        Err(error) => Err(CaseVerdict::Fails(format!("{what}: got {:?}, wanted {kinds:?}: {error}", error.kind))),
    }
}

/// An answer of the data plane as a result of this crate.
pub(super) fn plain<T>(backend: &Arc<dyn Backend>, key: &str, answer: object_store::Result<T>) -> Result<T> {
    answer.map_err(|error| backend.error(key, &error))
}

pub(super) fn key(text: &str) -> Path {
    Path::parse(text).unwrap_or_default()
}

pub(super) fn body(text: &str) -> PutPayload {
    PutPayload::from(text.as_bytes().to_vec())
}

/// So many bytes, which differ within a part and from part to part.
pub(super) fn content(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at % 251) as u8 ^ (at >> 16) as u8).collect()
}

/// An entity tag without its quotes.
pub(super) fn bare(etag: Option<&str>) -> Option<String> {
    etag.map(|etag| etag.trim_matches('"').to_owned())
}
