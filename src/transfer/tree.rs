//! Sends to a destination that is a real directory tree.
//!
//! Owns the order there. An entry that blocks a name of another kind is moved to `kept/`. Contents are staged beside
//! the tree, and a batch of them gets its names once all of it is on the disk.
//! Invariant: a replaced file is linked into `kept/` first, so the last snapshot stays complete at every moment.

use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

use offsite_backends::{Error as StoreError, ErrorKind, FileKind, Publish, Staged, Stamp, Tree};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::journal::{Done, Journal};
use super::line::{Line, PlanSteps};
use super::parts::part_size;
use super::place::{file_meta, kept_place, place, planned};
use super::present::is_there;
use super::refused::Subject;
use super::shared_reader::SharedReader;
use super::target::Target;
use super::undone::{Undone, Why, unset_problems};
use super::upload::{UploadError, as_read, note_source};
use super::way::{Blocked, make_way};
use crate::error::{Error, Result};
use crate::manifest::KeyRules;
use crate::model::{Change, Content, Entry, Hash, Kind, RelPath};
use crate::scan::{ReadError, TRIES};
use crate::spool::Sorted;

/// A batch gets its names once it has this many files or bytes.
const BATCH_FILES: usize = 1024;
const BATCH_BYTES: u64 = 128 << 20;
/// A large file is copied in blocks of this length (bytes).
const BLOCK: u64 = 1 << 20;
/// Large files at once. More would only make the disk seek.
const LARGE: usize = 4;

/// A content that waits for its name. `publish` is `None` for a directory, and for a file that turned out to be
/// unchanged.
struct StagedFile {
    publish: Option<Publish>,
    done: Done,
    /// For a rename: the path of the old entry.
    from: Option<RelPath>,
}

impl StagedFile {
    fn new(publish: Option<Publish>, done: Done) -> Self {
        Self { publish, done, from: None }
    }
}

struct Sender {
    target: Arc<Target>,
    tree: Arc<dyn Tree>,
    shared_reader: Arc<SharedReader>,
    large: Semaphore,
}

impl Sender {
    fn new(target: &Arc<Target>, tree: &Arc<dyn Tree>, shared_reader: &Arc<SharedReader>) -> Self {
        Self { target: Arc::clone(target), tree: Arc::clone(tree), shared_reader: Arc::clone(shared_reader), large: Semaphore::new(LARGE) }
    }
}

/// Sends everything in the plan. `done` has the steps that an earlier run finished, sorted by path.
///
/// # Errors
/// A failure of the whole destination or of this machine, and cancellation.
pub async fn upload_tree(
    target: &Arc<Target>,
    tree: &Arc<dyn Tree>,
    shared_reader: &Arc<SharedReader>,
    plan: &Path,
    journal: &Arc<Mutex<Journal>>,
    done: Sorted<Done>,
) -> Result<()> {
    let blocked = clear_the_way(target, tree, plan, journal).await?;
    let sender = Arc::new(Sender::new(target, tree, shared_reader));
    let mut batch = PublishBatch { target, tree, journal, items: Vec::new(), bytes: 0 };
    let mut tasks: JoinSet<Result<Option<StagedFile>>> = JoinSet::new();
    let mut outcome = sender.start(plan, done, &blocked, &mut batch, &mut tasks).await;
    // Files under way end before an error is returned, so that the journal has them.
    while let Some(result) = tasks.join_next().await {
        outcome = outcome.and(batch.take(result).await);
    }
    shared_reader.leave(target.index);
    outcome = outcome.and(batch.publish().await);
    journal.lock().unwrap_or_else(PoisonError::into_inner).flush()?;
    target.stop.check()?;
    outcome
}

/// Frees the names of new entries. Entries that could not be moved are settled. Returns the names that they block.
async fn clear_the_way(target: &Target, tree: &Arc<dyn Tree>, plan: &Path, journal: &Arc<Mutex<Journal>>) -> Result<Blocked> {
    let mut undone = Undone::default();
    let blocked = make_way(tree, &target.rules, plan, true, &mut undone).await?;
    for (path, why) in undone.reasons() {
        if let Why::Refused(error) = why {
            target.settle(journal, Subject { path: path.clone(), from: None }, Err(error.clone().into())).await?;
        }
    }
    Ok(blocked)
}

impl Sender {
    /// Starts what the plan says, as much at once as the destination takes, until the run is to stop or a step fails.
    async fn start(
        self: &Arc<Self>,
        plan: &Path,
        done: Sorted<Done>,
        blocked: &Blocked,
        batch: &mut PublishBatch<'_>,
        tasks: &mut JoinSet<Result<Option<StagedFile>>>,
    ) -> Result<()> {
        let (target, journal) = (&self.target, batch.journal);
        let slots = Arc::new(Semaphore::new(target.transfers.max(1)));
        let mut steps = PlanSteps::open(plan, done)?;
        while let Some((line, earlier)) = steps.next_step()? {
            let path = line.step.path().clone();
            if line.step.entry().is_some_and(|entry| blocked.keeps_out(&target.rules, &planned(entry))) {
                let why = "a file with the same name at the destination could not be moved away";
                let error = StoreError::new(ErrorKind::Exists, path.display(), why);
                target.settle(journal, Subject::of(&line.step), Err(error.into())).await?;
                continue;
            }
            let slot = tokio::select! {
                slot = Arc::clone(&slots).acquire_owned() => slot,
                () = target.stop.wait() => break,
            };
            let at = self.shared_reader.reached(target.index, path.as_bytes());
            let (sender, journal) = (Arc::clone(self), Arc::clone(journal));
            tasks.spawn(async move {
                let _held = (slot, at);
                let subject = Subject::of(&line.step);
                match sender.one(line, earlier).await {
                    Err(error) => sender.target.settle(&journal, subject, Err(error)).await.map(|()| None),
                    done => done,
                }
            });
            while let Some(result) = tasks.try_join_next() {
                batch.take(result).await?;
            }
        }
        Ok(())
    }

    async fn one(&self, line: Line, earlier: Option<Done>) -> Result<Option<StagedFile>> {
        let rules = &self.target.rules;
        self.target.progress.set_current(line.step.path());
        match line.step {
            Change::Removed { .. } | Change::Stamped { .. } => Ok(None),
            Change::Metadata { entry, stamps, old } => {
                let Some(place) = place(rules, &entry) else { return Ok(None) };
                match entry.kind {
                    Kind::Dir => {}
                    Kind::Symlink => self.symlink(&place, &entry).await?,
                    Kind::File if is_there(&self.target, &old, &entry).await? => {
                        let unset = self.tree.set_meta(&place, file_meta(&entry)).await?;
                        self.target.note(|f| f.unset.extend(unset_problems(&entry.path, &unset)));
                    }
                    // Another program removed or replaced it, or an interrupted run did.
                    Kind::File => return self.new_content(entry, stamps, Some(old), false, earlier, self.target.alone()).await,
                }
                Ok(None)
            }
            Change::Renamed { entry, stamps, from } => match self.renamed(&entry, stamps, &from).await? {
                Some(ready) => Ok(Some(ready)),
                None => self.new_content(entry, stamps, None, false, earlier, self.target.alone()).await,
            },
            Change::Added { entry, stamps } => self.new_content(entry, stamps, None, false, earlier, line.readers).await,
            Change::Changed { entry, stamps, old, unverified } => {
                self.new_content(entry, stamps, Some(old), unverified.is_some(), earlier, line.readers).await
            }
        }
    }

    async fn symlink(&self, place: &[u8], entry: &Entry) -> Result<()> {
        let target = entry.link.as_ref().map_or(&b""[..], |l| l.as_bytes());
        Ok(self.tree.symlink(place, target, file_meta(entry)).await?)
    }

    /// Stages a copy of the content under its old name, or where `make_way` moved it. `None` if the file there is not
    /// the one that the last snapshot names.
    async fn renamed(&self, entry: &Entry, stamps: crate::model::Stamps, from: &Entry) -> Result<Option<StagedFile>> {
        let mtime = self.tree.kept_stamp(Stamp { secs: from.mtime.secs, nanos: from.mtime.nanos });
        let mut found = None;
        let mut places = [Some(KeyRules::current_key(from)), kept_place(&self.target.rules, from)];
        if self.target.rules.folds() {
            // A new entry may have the old name by now, in another spelling.
            places.reverse();
        }
        for place in places.into_iter().flatten() {
            let stat = self.tree.stat(&place).await?;
            if stat.is_some_and(|s| s.kind == FileKind::File && s.size == from.size && s.mtime == mtime) {
                found = Some(place);
                break;
            }
        }
        let Some(found) = found else { return Ok(None) };
        let staged = self.tree.stage_copy(&found, from.size, file_meta(entry)).await?;
        let key = self.target.rules.key_for(entry);
        let path = key.clone().map_or_else(|| entry.path.0.clone(), String::into_bytes);
        let content = from.content.as_ref().map(|c| Content { key, ..Content::new(c.hash, self.target.number) });
        let entry = Entry { content, ..entry.clone() };
        let done = Done { entry, stamps, unstable: false };
        Ok(Some(StagedFile { publish: Some(Publish { staged, path, keep: None }), done, from: Some(from.path.clone()) }))
    }

    async fn new_content(
        &self,
        entry: Entry,
        stamps: crate::model::Stamps,
        old: Option<Entry>,
        unverified: bool,
        earlier: Option<Done>,
        readers: u64,
    ) -> Result<Option<StagedFile>> {
        let Some(path) = place(&self.target.rules, &planned(&entry)) else { return Ok(None) };
        // A content at another path is moved away after the commit.
        let replaces = |old: &Entry| place(&self.target.rules, old).as_ref() == Some(&path);
        match entry.kind {
            Kind::Dir => {
                self.tree.make_dir(&path).await?;
                return Ok(Some(StagedFile::new(None, Done { entry, stamps, unstable: false })));
            }
            Kind::Symlink => {
                if let Some(old) = old.filter(|o| o.kind == Kind::File && replaces(o)) {
                    self.tree.remove_file(&path, kept_place(&self.target.rules, &old).as_deref()).await?;
                }
                return self.symlink(&path, &entry).await.map(|()| None);
            }
            Kind::File => {}
        }
        self.target.progress.files.fetch_add(1, Relaxed);
        let as_then = |d: &Done| d.stamps == stamps && d.entry.size == entry.size && d.entry.mtime == entry.mtime;
        if earlier.is_some_and(|d| as_then(&d) && place(&self.target.rules, &d.entry).as_ref() == Some(&path)) {
            return Ok(None);
        }
        let unverified = match &old {
            Some(old) if unverified => is_there(&self.target, old, &entry).await?,
            _ => unverified,
        };
        let old_content = old.as_ref().filter(|_| unverified).and_then(|o| o.content.clone());
        let sent = self.stage(&entry, old_content, readers).await;
        let keep = old.as_ref().filter(|o| replaces(o)).and_then(|o| kept_place(&self.target.rules, o));
        match sent {
            Ok((staged, done)) => {
                if done.unstable {
                    self.target.note(|f| f.unstable.push(entry.path));
                }
                let unset = match &staged {
                    Some(staged) => staged.unset.clone(),
                    // The content is unchanged, so its path is as well.
                    None => self.tree.set_meta(&KeyRules::current_key(&done.entry), file_meta(&done.entry)).await?,
                };
                self.target.note(|f| f.unset.extend(unset_problems(&done.entry.path, &unset)));
                Ok(Some(StagedFile::new(staged.map(|staged| Publish { staged, path, keep }), done)))
            }
            Err(UploadError::Store(error)) => Err(error),
            Err(UploadError::Source(error)) => {
                note_source(&self.target, &entry, &error);
                Ok(None)
            }
        }
    }

    /// Stages a file by its size. A small file that grew meanwhile is staged as a large one.
    async fn stage(&self, entry: &Entry, old: Option<Content>, readers: u64) -> Result<(Option<Staged>, Done), UploadError> {
        if entry.size > part_size(entry.size, &self.target.backend.capabilities()) {
            return self.large(entry, old, readers).await;
        }
        match self.small(entry, old.clone(), readers).await {
            Err(UploadError::Source(error)) if matches!(*error, ReadError::Grown) => self.large(entry, old, readers).await,
            other => other,
        }
    }

    fn content(&self, entry: &Entry, hash: Hash) -> Content {
        let key = self.target.rules.key_for(entry);
        Content { key, ..Content::new(hash, self.target.number) }
    }

    async fn small(&self, entry: &Entry, old: Option<Content>, readers: u64) -> Result<(Option<Staged>, Done), UploadError> {
        let limit = part_size(entry.size, &self.target.backend.capabilities());
        let read = self
            .shared_reader
            .whole(self.target.index, entry.path.as_bytes(), entry.size, readers, limit)
            .await
            .map_err(UploadError::Source)?;
        let mut done = Done { entry: as_read(entry, &read.stat, &read.xattrs), stamps: read.stat.stamps(), unstable: read.unstable };
        if let Some(old) = old.filter(|o| o.hash == read.hash) {
            done.entry.content = Some(old);
            return Ok((None, done));
        }
        done.entry.content = Some(self.content(entry, read.hash));
        self.target.limit.take(read.stat.size).await;
        let staged = self.tree.stage(read.content, file_meta(&done.entry)).await.map_err(Error::from)?;
        self.target.progress.bytes.fetch_add(read.stat.size, Relaxed);
        Ok((Some(staged), done))
    }

    async fn large(&self, entry: &Entry, old: Option<Content>, readers: u64) -> Result<(Option<Staged>, Done), UploadError> {
        let _turn = self.large.acquire().await;
        for attempt in 1..=TRIES {
            match self.large_once(entry, old.as_ref(), readers, attempt == TRIES).await {
                Err(UploadError::Source(error)) if matches!(*error, ReadError::Changed) && attempt < TRIES => {}
                done => return done,
            }
        }
        Err(UploadError::Source(Arc::new(ReadError::Changed)))
    }

    async fn large_once(
        &self,
        entry: &Entry,
        old: Option<&Content>,
        readers: u64,
        last_try: bool,
    ) -> Result<(Option<Staged>, Done), UploadError> {
        let blocking = |e: tokio::task::JoinError| UploadError::Store(Error::local("a read", std::io::Error::other(e)));
        let source = |e: ReadError| UploadError::Source(Arc::new(e));
        let file = self.shared_reader.open(entry.path.as_bytes(), last_try).await.map_err(source)?;
        let mut out = self.tree.stage_blocks(file_meta(&as_read(entry, file.stat(), &entry.xattrs))).await.map_err(Error::from)?;
        let mut hasher = blake3::Hasher::new();
        let (mut offset, size) = (0, file.stat().size);
        // Other destinations read the same file in parts of an upload. Without them, blocks that stay in the CPU cache
        // are faster.
        let alone = readers & !self.target.alone() == 0;
        let block_size = if alone { BLOCK } else { part_size(size, &self.target.backend.capabilities()) };
        while offset < size {
            self.target.stop.check()?;
            let block = self
                .shared_reader
                .block(self.target.index, entry.path.as_bytes(), &file, offset, block_size, readers)
                .await
                .map_err(UploadError::Source)?;
            offset += block.len() as u64;
            self.target.limit.take(block.len() as u64).await;
            let for_hash = block.clone();
            let hashed = tokio::task::spawn_blocking(move || {
                hasher.update(&for_hash);
                hasher
            });
            let length = block.len() as u64;
            let (written, hashed) = tokio::join!(out.write(block), hashed);
            hasher = hashed.map_err(blocking)?;
            written.map_err(Error::from)?;
            self.target.progress.bytes.fetch_add(length, Relaxed);
        }
        let (stat, xattrs, unstable) = file.settle().await.map_err(source)?;
        let hash = Hash(*hasher.finalize().as_bytes());
        let mut done = Done { entry: as_read(entry, &stat, &xattrs), stamps: stat.stamps(), unstable };
        if let Some(old) = old.filter(|o| o.hash == hash) {
            done.entry.content = Some(old.clone());
            return Ok((None, done));
        }
        done.entry.content = Some(self.content(entry, hash));
        let staged = out.finish().await.map_err(Error::from)?;
        Ok((Some(staged), done))
    }
}

/// Staged contents that wait for their names.
struct PublishBatch<'a> {
    target: &'a Target,
    tree: &'a Arc<dyn Tree>,
    journal: &'a Arc<Mutex<Journal>>,
    items: Vec<(Publish, (Done, Option<RelPath>))>,
    bytes: u64,
}

impl PublishBatch<'_> {
    async fn take(&mut self, result: Result<Result<Option<StagedFile>>, tokio::task::JoinError>) -> Result<()> {
        let ready = result.map_err(|e| Error::local("a copy", std::io::Error::other(e)))??;
        match ready {
            None => return Ok(()),
            Some(StagedFile { publish: None, done, .. }) => return self.note(done),
            Some(StagedFile { publish: Some(publish), done, from }) => {
                self.bytes += done.entry.size;
                self.items.push((publish, (done, from)));
            }
        }
        if self.items.len() >= BATCH_FILES || self.bytes >= BATCH_BYTES { self.publish().await } else { Ok(()) }
    }

    fn note(&self, done: Done) -> Result<()> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner).done(done)
    }

    /// A replaced content is moved to `kept/` even if no old contents are kept, so that the last snapshot stays
    /// complete until the next one is committed. The cleanup then deletes it.
    async fn publish(&mut self) -> Result<()> {
        self.bytes = 0;
        let (items, dones): (Vec<Publish>, Vec<_>) = self.items.drain(..).unzip();
        if items.is_empty() {
            return Ok(());
        }
        let results = self.tree.publish(items, true).await;
        let mut outcome = Ok(());
        for (result, (done, from)) in results.into_iter().zip(dones) {
            match result {
                Ok(()) => self.note(done)?,
                Err(error) => {
                    let subject = Subject { path: done.entry.path, from };
                    outcome = outcome.and(self.target.settle(self.journal, subject, Err(error.into())).await);
                }
            }
        }
        outcome
    }
}
