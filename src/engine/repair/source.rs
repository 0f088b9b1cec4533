//! The plan of a repair: which findings it can correct, and how.
//!
//! Owns the proof that the source still has a content: the file has its length and, read now, its BLAKE3 hash. If the
//! source does not have it, the plan reads back an object of that length that is at the destination under another tag.
//! If the hash is right, another tool wrote the same content again, and the manifest takes over its tag.
//! Invariant: paths ascend in every list of the plan.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use offsite_backends::ErrorKind;

use super::change::Fix;
use super::other::OtherContents;
use crate::engine::check::{ReadOptions, Wrong};
use crate::engine::destination::Destination;
use crate::engine::outcome::{Finding, Flaw};
use crate::engine::scratch::local;
use crate::error::{Error, Result};
use crate::manifest::KeyRules;
use crate::model::{Change, Content, Entry, Kind, Problem, Sample, Stamps};
use crate::scan::{Names, ReadError, Root, hash_file, read_metadata};
use crate::spool::{Joined, Reader, Sorter, Writer};
use crate::transfer::{ContentPlace, Line, WantedFile, content_stamps, planned};

/// The plan of a repair.
pub struct RepairPlan {
    /// Local file with the entries to send or create, in the form that the transfer reads.
    pub lines: PathBuf,
    /// Local file with changes of the manifest, and with files that the next sync reads again.
    pub changes: PathBuf,
    /// Local file with the files whose mtime must be set.
    pub touched: PathBuf,
    pub files: u64,
    pub bytes: u64,
    /// Number of directories and symlinks to create, and of mtimes to set.
    pub others: u64,
    pub taken_over: u64,
    /// Number of lines in `changes`.
    pub fixes: u64,
    pub lost: Vec<Finding>,
    pub unread: Sample<Problem>,
}

impl RepairPlan {
    /// Whether the repair has nothing to do, at the destination or in the cache.
    pub fn is_empty(&self) -> bool {
        self.is_idle() && self.fixes == 0
    }

    /// Whether the repair has nothing to do at the destination.
    pub fn is_idle(&self) -> bool {
        self.files + self.others + self.taken_over == 0
    }
}

/// Where the plan looks for contents.
pub enum ContentsAt<'a> {
    /// In the source.
    Source(&'a Arc<Root>),
    /// At another destination.
    Other(&'a OtherContents),
}

struct Planning<'a> {
    at: ContentsAt<'a>,
    /// What the other destination has, by path.
    other: Option<Joined<WantedFile>>,
    names: Names,
    how: &'a ReadOptions,
    newest: u64,
    lines: Writer<Line>,
    changes: Writer<Fix>,
    touched: Writer<Fix>,
    planned: RepairPlan,
}

/// Plans the repair of everything in the list that the check wrote below `scratch`.
pub async fn plan(at: ContentsAt<'_>, destination: &Destination, how: &ReadOptions, scratch: &Path) -> Result<RepairPlan> {
    let mut sorter = Sorter::new(scratch, |w: &Wrong| w.entry.path.as_bytes());
    let mut wrong = Reader::<Wrong>::open(&scratch.join("wrong"))?;
    while let Some(one) = wrong.next_line()? {
        sorter.push(&one)?;
    }
    let [lines, changes, touched] = ["lines", "changes", "touched"].map(|name| local(scratch, name));
    let other = match &at {
        ContentsAt::Source(_) => None,
        ContentsAt::Other(other) => Some(in_order(&other.wanted, scratch)?),
    };
    let mut planning = Planning {
        at,
        other,
        names: Names::default(),
        how,
        newest: destination.number(),
        lines: Writer::create(&lines)?,
        changes: Writer::create(&changes)?,
        touched: Writer::create(&touched)?,
        planned: RepairPlan {
            lines,
            changes,
            touched,
            files: 0,
            bytes: 0,
            others: 0,
            taken_over: 0,
            fixes: 0,
            lost: Vec::new(),
            unread: Sample::default(),
        },
    };
    let mut sorted = sorter.finish()?;
    while let Some(wrong) = sorted.next_sorted()? {
        how.stop.check()?;
        planning.one(wrong).await?;
    }
    planning.lines.flush()?;
    planning.changes.flush()?;
    planning.touched.flush()?;
    planning.planned.fixes = planning.changes.count();
    Ok(planning.planned)
}

/// The list of what the other destination has, to be met in order of the paths.
fn in_order(wanted: &Path, scratch: &Path) -> Result<Joined<WantedFile>> {
    let mut sorter = Sorter::new(scratch, |file: &WantedFile| file.path.as_bytes());
    let mut lines = Reader::<WantedFile>::open(wanted)?;
    while let Some(file) = lines.next_line()? {
        sorter.push(&file)?;
    }
    Joined::new(sorter.finish()?)
}

impl Planning<'_> {
    async fn one(&mut self, wrong: Wrong) -> Result<()> {
        if wrong.touched {
            self.planned.others += 1;
            return self.touched.push(&Fix::set(wrong.entry, None));
        }
        if wrong.blocked {
            let what = format!("{}; move that away and run again", wrong.problem);
            return self.lost(wrong.entry, &what);
        }
        if wrong.entry.kind != Kind::File {
            self.planned.others += 1;
            return self.lines.push(&Line::new(Change::Added { entry: wrong.entry, stamps: Stamps::default() }, 1));
        }
        let why = match self.in_source(&wrong.entry).await? {
            Ok((entry, stamps)) => {
                self.planned.files += 1;
                self.planned.bytes = self.planned.bytes.saturating_add(entry.size);
                return self.lines.push(&Line::new(Change::Added { entry, stamps }, 1));
            }
            Err(why) => why,
        };
        if let Some(entry) = self.under_another_tag(&wrong).await? {
            self.planned.taken_over += 1;
            return self.changes.push(&Fix::set(entry, None));
        }
        let what = format!("{}, and {why}", wrong.problem);
        self.lost(wrong.entry, &what)
    }

    fn lost(&mut self, entry: Entry, problem: &str) -> Result<()> {
        let path = entry.path.clone();
        let (first_snapshot, last_snapshot) = (self.newest, self.newest);
        self.planned.lost.push(Finding { flaw: Flaw::Missing, path, problem: problem.into(), first_snapshot, last_snapshot });
        if entry.kind == Kind::File { self.changes.push(&Fix::look_again(entry.path)) } else { Ok(()) }
    }

    /// The file as the source has it now, if that has the content of the entry. Otherwise the reason why not.
    async fn in_source(&mut self, entry: &Entry) -> Result<Result<(Entry, Stamps), String>> {
        let path = entry.path.as_bytes();
        let root = match &self.at {
            ContentsAt::Source(root) => Arc::clone(root),
            ContentsAt::Other(other) => return self.at_other(entry, &other.origin.url()),
        };
        let stat = match root.stat_at(path) {
            Ok(stat) if stat.kind() == Some(Kind::File) && stat.size == entry.size => stat,
            Ok(_) => return Ok(Err("its content in the source has changed".into())),
            Err(error) => return Ok(Err(self.unreadable(entry, ReadError::from(error)))),
        };
        let (reads, owned) = (Arc::clone(&root), path.to_vec());
        let read = tokio::task::spawn_blocking(move || hash_file(&reads, &owned)).await;
        let read = read.map_err(|e| Error::local("a comparison", std::io::Error::other(e)))?;
        match read {
            Ok((hash, ..)) if entry.content.as_ref().is_none_or(|c| c.hash != hash) => {
                Ok(Err("its content in the source has changed".into()))
            }
            Ok(_) => match read_metadata(&root, path, &stat, &self.names, true) {
                Ok(now) => Ok(Ok((Entry { odd: entry.odd, ..now }, stat.stamps()))),
                Err(error) => Ok(Err(self.unreadable(entry, error))),
            },
            Err(error) => Ok(Err(self.unreadable(entry, error))),
        }
    }

    /// The entry, if the other destination says that it has its content. The transfer compares the hash.
    fn at_other(&mut self, entry: &Entry, url: &str) -> Result<Result<(Entry, Stamps), String>> {
        let found = self.other.as_mut().map(|other| other.meet(entry.path.as_bytes())).transpose()?.flatten();
        Ok(match (found, &entry.content) {
            (Some(_), Some(_)) => Ok((planned(entry), content_stamps(entry))),
            _ => Err(format!("{url} does not have it either")),
        })
    }

    fn unreadable(&mut self, entry: &Entry, error: ReadError) -> String {
        if matches!(error, ReadError::Vanished) {
            return "the source no longer has it".into();
        }
        self.planned.unread.push(Problem { path: entry.path.clone(), problem: error.to_string() });
        format!("it cannot be read in the source ({error})")
    }

    /// The entry with the tag and version of the object that is there, if that is the content.
    async fn under_another_tag(&self, wrong: &Wrong) -> Result<Option<Entry>> {
        let (Some((etag, version)), Some(content)) = (&wrong.there, &wrong.entry.content) else { return Ok(None) };
        let place = ContentPlace { key: KeyRules::current_key(&wrong.entry), etag: etag.clone(), version: version.clone() };
        match self.how.hash_at(&place, wrong.entry.size).await {
            Ok(hash) if hash == content.hash => {
                let content = Content { etag: etag.clone(), version: version.clone(), ..content.clone() };
                Ok(Some(Entry { content: Some(content), ..wrong.entry.clone() }))
            }
            Ok(_) => Ok(None),
            Err(error) if matches!(error.kind(), Some(ErrorKind::NotFound | ErrorKind::Precondition)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
