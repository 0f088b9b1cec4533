//! The second look: asks by name for contents that the listing does not have, or has with other properties.
//!
//! Owns two rules. A content is missing only if a request by its name does not find it, because some servers list
//! wrongly. A content that a run put aside before replacing it is not missing. The number of requests is bounded, and
//! the listing alone decides about the rest. Directories and symlinks of a tree are looked at here too, because
//! listings do not have them.

use std::path::Path;
use std::sync::Arc;

use futures::{StreamExt, stream};
use object_store::{GetOptions, ObjectMeta, ObjectStore};
use offsite_backends::{ErrorKind, FileKind, Tree};

use super::expect::Expect;
use super::found::{CheckFindings, Fault};
use super::merge::{Suspicious, difference};
use super::read::Reading;
use crate::engine::outcome::Flaw;
use crate::error::{Error, Result};
use crate::manifest::{CacheReader, KeyRules, Records, object_path};
use crate::model::{Entry, Kind};
use crate::spool::Reader;
use crate::transfer::{Stop, place};

/// Contents that are asked for by name. After these, the listing alone decides.
const ASKED: u64 = 1_000;
/// Looks in parallel.
const AT_ONCE: usize = 16;

/// The result of a second look at a content.
enum Look {
    /// It is there, and nothing is wrong with it.
    There,
    /// A run put it aside.
    Aside,
    Is(Fault),
    /// It could not be looked at.
    Unread(Error),
}

pub struct Confirm<'a> {
    pub records: &'a Records,
    pub rules: &'a KeyRules,
    pub tree: Option<Arc<dyn Tree>>,
    pub found: &'a mut CheckFindings,
    pub reading: &'a mut Reading,
    pub stop: &'a Stop,
}

impl Confirm<'_> {
    /// Looks again at every expectation that the merge wrote to these two files.
    pub async fn run(&mut self, missed: &Path, changed: &Path) -> Result<()> {
        let mut asked = 0;
        let mut missed = Reader::<Expect>::open(missed)?;
        let mut next = || {
            while let Some(expect) = missed.next_line()? {
                if !expect.left {
                    return Ok(Some(Suspicious { expect, there: None }));
                }
            }
            Ok(None)
        };
        loop {
            let batch = take(&mut next)?;
            if batch.is_empty() {
                break;
            }
            self.batch(batch, &mut asked).await?;
        }
        let mut changed = Reader::<Suspicious>::open(changed)?;
        loop {
            let batch = take(|| changed.next_line())?;
            if batch.is_empty() {
                return Ok(());
            }
            self.batch(batch, &mut asked).await?;
        }
    }

    async fn batch(&mut self, batch: Vec<Suspicious>, asked: &mut u64) -> Result<()> {
        self.stop.check()?;
        let ask = *asked < ASKED;
        *asked += batch.len() as u64;
        let looks: Vec<Look> = stream::iter(&batch).map(|doubt| self.look(doubt, ask)).buffered(AT_ONCE).collect().await;
        for (Suspicious { expect, .. }, look) in batch.into_iter().zip(looks) {
            match look {
                Look::There => {
                    self.found.unlisted += 1;
                    self.reading.sample(expect)?;
                }
                Look::Aside => self.found.aside += 1,
                Look::Is(fault) => self.found.content(expect, fault)?,
                Look::Unread(error) if fatal(&error) => return Err(error),
                Look::Unread(error) => self.found.unread(&expect.entry.path, error),
            }
        }
        Ok(())
    }

    async fn look(&self, doubt: &Suspicious, ask: bool) -> Look {
        let fault = match (&doubt.there, ask) {
            (Some(there), _) => {
                let mut fault = Fault::new(Flaw::Changed, difference(&doubt.expect, there).unwrap_or_default());
                fault.there = (there.size == doubt.expect.entry.size).then(|| (there.etag.clone(), there.version.clone()));
                Ok(Some(fault))
            }
            (None, true) => self.by_name(&doubt.expect).await,
            (None, false) => Ok(Some(Fault::new(Flaw::Missing, "it is not in the listing (too many are missing to ask for each by name)"))),
        };
        let fault = match fault {
            Ok(Some(fault)) => fault,
            Ok(None) => return Look::There,
            Err(error) => return Look::Unread(error),
        };
        if !ask || doubt.expect.pack || doubt.expect.old.is_some() || doubt.expect.version().is_some() {
            return Look::Is(fault);
        }
        match self.is_aside(&doubt.expect.entry).await {
            Ok(true) => Look::Aside,
            Ok(false) => Look::Is(fault),
            Err(error) => Look::Unread(error),
        }
    }

    /// What is wrong with a content that was not listed. `None` if it is there.
    async fn by_name(&self, expect: &Expect) -> Result<Option<Fault>> {
        let Some(tree) = &self.tree else { return self.object(expect).await };
        let Some(stat) = tree.stat(expect.key.as_bytes()).await? else { return Ok(Some(Fault::new(Flaw::Missing, "not found"))) };
        Ok(match stat.kind {
            FileKind::File if stat.size == expect.entry.size => None,
            FileKind::File => Some(Fault::new(Flaw::Changed, format!("it has {} bytes, not {}", stat.size, expect.entry.size))),
            kind => {
                let mut fault = Fault::new(Flaw::Changed, format!("it was replaced by {}", named(kind)));
                fault.blocked = kind == FileKind::Dir;
                Some(fault)
            }
        })
    }

    async fn object(&self, expect: &Expect) -> Result<Option<Fault>> {
        // A content of the newest snapshot must be the current object of its key, so no version is named.
        let version = expect.version().map(str::to_owned);
        let missing = match self.head(expect, version.clone().filter(|_| expect.old.is_some())).await? {
            Some(there) => return Ok(otherwise(expect, there)),
            None if expect.old.is_none() && version.is_some() && self.head(expect, version.clone()).await?.is_some() => {
                "it was deleted; the store still has the version, so a pull finds it"
            }
            None if version.is_some() => "that version of it was not found",
            None => "not found",
        };
        Ok(Some(Fault::new(Flaw::Missing, missing)))
    }

    /// The metadata of one object, or of one version of it. `None` if the store does not find it.
    async fn head(&self, expect: &Expect, version: Option<String>) -> Result<Option<ObjectMeta>> {
        let key = object_path(expect.key.as_bytes())?;
        let mut options = GetOptions { head: true, ..GetOptions::default() };
        options.version = version;
        match self.records.backend().store().get_opts(&key, options).await {
            Ok(got) => Ok(Some(got.meta)),
            Err(error) => match self.records.error(key.as_ref(), &error) {
                error if error.kind() == Some(ErrorKind::NotFound) => Ok(None),
                error => Err(error),
            },
        }
    }

    /// Whether a run put this content aside, as the first step of replacing it.
    async fn is_aside(&self, entry: &Entry) -> Result<bool> {
        let Some(content) = &entry.content else { return Ok(false) };
        let kept = self.rules.kept_key(entry.path.as_bytes(), content);
        if let Some(tree) = &self.tree {
            return Ok(tree.stat(&kept).await?.is_some_and(|s| s.kind == FileKind::File && s.size == entry.size));
        }
        let key = object_path(&kept)?;
        match self.records.backend().store().get_opts(&key, GetOptions { head: true, ..GetOptions::default() }).await {
            Ok(got) => Ok(got.meta.size == entry.size),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(self.records.error(key.as_ref(), &error)),
        }
    }

    /// Looks once at each directory and symlink of a tree.
    pub async fn others(&mut self, mut manifest: CacheReader) -> Result<()> {
        let Some(tree) = self.tree.clone() else { return Ok(()) };
        loop {
            self.stop.check()?;
            let batch = take(|| next_other(&mut manifest, self.rules))?;
            if batch.is_empty() {
                return Ok(());
            }
            let looks: Vec<_> = stream::iter(&batch).map(|entry| other(&*tree, entry)).buffered(AT_ONCE).collect().await;
            for (entry, look) in batch.into_iter().zip(looks) {
                match look {
                    Ok(None) => {}
                    Ok(Some(fault)) => self.found.other(entry, fault)?,
                    Err(error) if fatal(&error) => return Err(error),
                    Err(error) => self.found.unread(&entry.path, error),
                }
            }
        }
    }
}

/// What is wrong with an object that is there. `None` if nothing is.
fn otherwise(expect: &Expect, there: ObjectMeta) -> Option<Fault> {
    if let Some(wrong) = expect.wrong_size(there.size) {
        return Some(Fault::new(Flaw::Changed, wrong));
    }
    let etag = there.e_tag.map(|e| e.trim_matches('"').to_owned());
    let same = expect.etag().is_none_or(|want| etag.as_deref().is_none_or(|is| is == want));
    let mut fault = Fault::new(Flaw::Changed, "its tag differs: another program wrote it");
    fault.there = Some((etag, there.version.filter(|v| v != "null")));
    (!same).then_some(fault)
}

/// The next [`AT_ONCE`] elements, or fewer at the end.
fn take<T>(mut next: impl FnMut() -> Result<Option<T>>) -> Result<Vec<T>> {
    let mut batch = Vec::new();
    while batch.len() < AT_ONCE {
        match next()? {
            Some(one) => batch.push(one),
            None => break,
        }
    }
    Ok(batch)
}

/// Whether the error would affect all other looks as well.
fn fatal(error: &Error) -> bool {
    matches!(error, Error::Interrupted | Error::Local { .. }) || error.kind() == Some(ErrorKind::Transient)
}

/// The next directory or symlink that is in the tree. Some are only in the manifest.
fn next_other(manifest: &mut CacheReader, rules: &KeyRules) -> Result<Option<Entry>> {
    while let Some(known) = manifest.peek()? {
        let entry = if known.kind() == Kind::File { None } else { Some(known.entry()?) };
        manifest.advance();
        if let Some(entry) = entry.filter(|e| place(rules, e).is_some()) {
            return Ok(Some(entry));
        }
    }
    Ok(None)
}

async fn other(tree: &dyn Tree, entry: &Entry) -> Result<Option<Fault>> {
    let path = entry.path.bare();
    let Some(stat) = tree.stat(path).await? else { return Ok(Some(Fault::new(Flaw::Missing, "not found"))) };
    let want = if entry.kind == Kind::Dir { FileKind::Dir } else { FileKind::Symlink };
    if stat.kind != want {
        let mut fault = Fault::new(Flaw::Changed, format!("it was replaced by {}", named(stat.kind)));
        fault.blocked = want == FileKind::Dir || stat.kind == FileKind::Dir;
        return Ok(Some(fault));
    }
    let Some(link) = &entry.link else { return Ok(None) };
    let target = tree.read_link(path).await?;
    let same = target.as_ref().map_or(stat.size == link.0.len() as u64, |target| *target == link.0);
    let points = target.map_or_else(|| "elsewhere".into(), |target| format!("to {}", crate::model::RelPath(target)));
    Ok((!same).then(|| Fault::new(Flaw::Changed, format!("it points {points}, not to {link}"))))
}

fn named(kind: FileKind) -> &'static str {
    match kind {
        FileKind::File => "a file",
        FileKind::Dir => "a directory",
        FileKind::Symlink => "a symlink",
        FileKind::Other => "something that is neither a file nor a directory",
    }
}
