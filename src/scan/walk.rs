//! The walk: every path of a tree in byte order. A few threads read directories ahead.
//!
//! Owns the threads and the order. One consumer asks for the next path. It reads a directory itself if no thread has
//! started on it, so it never waits for an unnecessary hand-off. Memory is bounded by [`READY_CAP`] entries ahead, plus
//! the names of the directories on the current path.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::directory::list;
use super::filter::Filter;
use super::listing::{DirListing, Item, Looked};
use super::listing::{Task, TaskState};
use super::root::Root;
use super::stat::{FileType, Stat};

/// Largest number of entries that are read ahead of the consumer.
const READY_CAP: usize = 65_536;

/// What a walk leaves out.
#[derive(Debug, Clone, Default)]
pub struct WalkOptions {
    /// Rules that exclude paths.
    pub filter: Filter,
    /// Do not enter other file systems.
    pub one_file_system: bool,
    /// Keep only the tag of a directory with a valid CACHEDIR.TAG.
    pub exclude_caches: bool,
    /// Leave out files larger than this, in bytes.
    pub exclude_larger_than: Option<u64>,
    /// Leave out this name at the top (the staging area of a restore).
    pub hide: Option<&'static [u8]>,
    /// Leave out this path and everything below it (offsite's own cache). It has no trailing slash.
    pub own: Option<Vec<u8>>,
    /// Mark names that have a twin: another name in the same directory that some disks take for the same.
    pub twins: bool,
}

impl WalkOptions {
    fn is_too_large(&self, stat: &Stat) -> bool {
        stat.file_type == FileType::File && self.exclude_larger_than.is_some_and(|most| stat.size > most)
    }
}

/// One step of a walk.
#[derive(Debug)]
pub enum Event<'a> {
    /// A path (a directory's ends in `/`), its metadata, and whether it or a directory above it has a twin.
    Entry(&'a [u8], Stat, bool),
    /// A socket, pipe or device, and a word for it.
    Skipped(&'a [u8], &'static str),
    /// This path, or a path below it, could not be read. The flag says whether it or a directory above it has a twin.
    Unread(&'a [u8], io::Error, bool),
}

struct Shared {
    root: Arc<Root>,
    options: WalkOptions,
    device: u64,
    queue: Mutex<Queue>,
    wake: Condvar,
}

#[derive(Default)]
struct Queue {
    tasks: Vec<Arc<Task>>,
    ready: usize,
    closed: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running walk. Dropping it ends its threads.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use offsite::scan::{Event, Filter, Root, Walk, WalkOptions};
///
/// # let dir = tempfile::tempdir()?;
/// # std::fs::create_dir(dir.path().join("site"))?;
/// # std::fs::write(dir.path().join("site/index.html"), "<h1>hello</h1>")?;
/// # std::fs::write(dir.path().join("site/index.tmp"), "")?;
/// let filter = Filter::new(&["*.tmp".to_owned()], &[])?;
/// let options = WalkOptions { filter, ..WalkOptions::default() };
/// let mut walk = Walk::start(Arc::new(Root::open(dir.path())?), options, 2)?;
/// let mut found = Vec::new();
/// while let Some(event) = walk.next_event() {
///     match event {
///         Event::Entry(path, stat, _) => found.push((String::from_utf8_lossy(path).into_owned(), stat.size)),
///         Event::Skipped(..) => {}
///         Event::Unread(_, error, _) => Err(error)?,
///     }
/// }
/// assert_eq!(found, [("site/".to_owned(), 0), ("site/index.html".to_owned(), 14)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Walk {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// Listings, the offset of their names in the path, and whether a directory on the way has a twin.
    stack: Vec<(DirListing, usize, bool)>,
    /// The directory that was yielded last and is entered next.
    enter: Option<(Arc<Task>, bool)>,
    path: Vec<u8>,
}

impl Walk {
    /// Starts at an open root. `threads` threads read ahead (0, or 2 and more).
    ///
    /// # Errors
    /// The system's error if the root has no metadata or a thread cannot be started. Paths that cannot be read are
    /// events, not errors.
    pub fn start(root: Arc<Root>, options: WalkOptions, threads: usize) -> io::Result<Self> {
        let device = root.stat()?.dev;
        let shared = Arc::new(Shared { root, options, device, queue: Mutex::default(), wake: Condvar::new() });
        let first = new_task(Vec::new());
        // If a thread cannot be started, dropping the walk ends those that were.
        let mut walk = Self { shared, threads: Vec::new(), stack: Vec::new(), enter: Some((first, false)), path: Vec::new() };
        for _ in 0..threads {
            let shared = Arc::clone(&walk.shared);
            walk.threads.push(std::thread::Builder::new().name("walk".into()).spawn(move || shared.work())?);
        }
        Ok(walk)
    }

    /// The next step. `None` at the end.
    pub fn next_event(&mut self) -> Option<Event<'_>> {
        loop {
            if let Some((task, twin)) = self.enter.take() {
                self.path.clear();
                self.path.extend_from_slice(&task.path);
                match self.shared.take(&task) {
                    Ok(listing) => self.stack.push((listing, self.path.len(), twin)),
                    Err(error) => return Some(Event::Unread(&self.path, error, twin)),
                }
            }
            let (listing, base, twin) = self.stack.last_mut()?;
            let Some(mut item) = listing.items.next() else {
                self.stack.pop();
                continue;
            };
            item.twin |= *twin;
            self.path.truncate(*base);
            self.path.extend_from_slice(listing.name(&item));
            let stat = match std::mem::replace(&mut item.looked, Looked::Later) {
                Looked::Stat(stat) => Ok(stat),
                Looked::Failed(error) => Err(error),
                Looked::Later => match listing.look(&item) {
                    None => continue,
                    Some(looked) => looked,
                },
            };
            if item.is_dir {
                self.path.push(b'/');
            }
            match stat {
                Err(error) => return Some(Event::Unread(&self.path, error, item.twin)),
                Ok(stat) if (stat.file_type == FileType::Dir) != item.is_dir => {
                    let error = io::Error::other("it changed its kind during the scan");
                    return Some(Event::Unread(&self.path, error, item.twin));
                }
                Ok(stat) if self.shared.options.is_too_large(&stat) => {}
                Ok(stat) => return Some(self.yielded(item, stat)),
            }
        }
    }

    fn yielded(&mut self, item: Item, stat: Stat) -> Event<'_> {
        if let FileType::Other(what) = stat.file_type {
            return Event::Skipped(&self.path, what);
        }
        if item.is_dir && !(self.shared.options.one_file_system && stat.dev != self.shared.device) {
            self.enter = Some((item.child.unwrap_or_else(|| new_task(self.path.clone())), item.twin));
        }
        Event::Entry(&self.path, stat, item.twin)
    }
}

impl Drop for Walk {
    fn drop(&mut self) {
        lock(&self.shared.queue).closed = true;
        self.shared.wake.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn new_task(path: Vec<u8>) -> Arc<Task> {
    Arc::new(Task { path, state: Mutex::new(TaskState::Todo), done: Condvar::new() })
}

impl Shared {
    /// A read-ahead thread: reads the directory that the consumer will want first, until the walk ends.
    fn work(&self) {
        loop {
            let task = {
                let mut queue = lock(&self.queue);
                loop {
                    if queue.closed {
                        return;
                    }
                    if queue.ready < READY_CAP
                        && let Some(task) = queue.tasks.pop()
                    {
                        break task;
                    }
                    queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
                }
            };
            if !start(&task) {
                continue;
            }
            let result = self.read(&task.path);
            lock(&self.queue).ready += result.as_ref().map_or(0, DirListing::len);
            *lock(&task.state) = TaskState::Done(result);
            task.done.notify_one();
        }
    }

    /// The consumer's side: takes what a thread has read, or reads it here.
    fn take(&self, task: &Task) -> io::Result<DirListing> {
        if start(task) {
            *lock(&task.state) = TaskState::Taken;
            return self.read(&task.path);
        }
        let mut state = lock(&task.state);
        loop {
            match std::mem::replace(&mut *state, TaskState::Taken) {
                TaskState::Done(result) => {
                    drop(state);
                    let mut queue = lock(&self.queue);
                    let was_full = queue.ready >= READY_CAP;
                    queue.ready = queue.ready.saturating_sub(result.as_ref().map_or(0, DirListing::len));
                    if was_full && queue.ready < READY_CAP {
                        self.wake.notify_all();
                    }
                    return result;
                }
                other => {
                    *state = other;
                    state = task.done.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    fn read(&self, path: &[u8]) -> io::Result<DirListing> {
        let fd = self.root.open_dir(path)?;
        let only_tag = self.options.exclude_caches && super::filter::is_cache(&fd);
        let top = path.is_empty();
        let listing = list(fd, self.options.twins, |name, is_dir| {
            let own = self.options.own.as_deref().is_some_and(|own| own.strip_prefix(path) == Some(name));
            let hidden = only_tag && name != b"CACHEDIR.TAG" || top && self.options.hide == Some(name) || own;
            !hidden && self.options.filter.keeps(path, name, is_dir)
        })?;
        Ok(self.queue_children(path, listing))
    }

    /// Queues sub-directories for the threads, the first one on top.
    fn queue_children(&self, path: &[u8], mut listing: DirListing) -> DirListing {
        let mut items: Vec<Item> = std::mem::take(&mut listing.items).collect();
        let mut tasks = Vec::new();
        for item in items.iter_mut().filter(|item| item.is_dir) {
            let foreign = matches!(&item.looked, Looked::Stat(s) if s.dev != self.device) && self.options.one_file_system;
            if !foreign {
                let task = new_task([path, listing.name(item), b"/"].concat());
                item.child = Some(Arc::clone(&task));
                tasks.push(task);
            }
        }
        listing.items = items.into_iter();
        if !tasks.is_empty() {
            let mut queue = lock(&self.queue);
            queue.tasks.extend(tasks.into_iter().rev());
            drop(queue);
            self.wake.notify_all();
        }
        listing
    }
}

/// Claims a directory. False if another thread already has it.
fn start(task: &Task) -> bool {
    let mut state = lock(&task.state);
    let free = matches!(*state, TaskState::Todo);
    if free {
        *state = TaskState::Running;
    }
    free
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn paths(walk: &mut Walk) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        while let Some(event) = walk.next_event() {
            match event {
                Event::Entry(path, ..) => out.push(path.to_vec()),
                other => panic!("{other:?}"),
            }
        }
        out
    }

    #[test]
    fn every_path_once_and_in_byte_order() {
        let dir = tempfile::tempdir().unwrap();
        let mut want = Vec::new();
        for a in ["a", "a-b", "a.txt", "b", "ä"] {
            for b in ["x", "x.y", "x-1", "y"] {
                fs::create_dir_all(dir.path().join(a).join(b)).unwrap();
                for c in ["f", "g.h"] {
                    fs::write(dir.path().join(a).join(b).join(c), "").unwrap();
                    want.push(format!("{a}/{b}/{c}").into_bytes());
                }
                want.push(format!("{a}/{b}/").into_bytes());
            }
            want.push(format!("{a}/").into_bytes());
        }
        want.sort();
        for threads in [0, 2, 4] {
            let root = Arc::new(Root::open(dir.path()).unwrap());
            let mut walk = Walk::start(root, WalkOptions::default(), threads).unwrap();
            assert_eq!(paths(&mut walk), want, "{threads} threads");
        }
    }

    #[test]
    fn a_walk_that_is_dropped_ends() {
        let dir = tempfile::tempdir().unwrap();
        for i in 0..200 {
            fs::create_dir_all(dir.path().join(format!("{i}/sub"))).unwrap();
        }
        let root = Arc::new(Root::open(dir.path()).unwrap());
        let mut walk = Walk::start(root, WalkOptions::default(), 2).unwrap();
        assert!(walk.next_event().is_some());
    }
}
