//! One read of the source feeds every destination.
//!
//! Owns blocks that were read and that a destination still wants, within a budget of bytes. The first destination to
//! ask reads a block, and the others take it from memory. If the budget is full, fast destinations wait a little for
//! slow ones. A destination that costs more waiting than allowed is detached: from then on it reads for itself. So a
//! slow destination never delays a fast one for long.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, OnceCell};
use tokio::time::Instant;

use super::content_source::{ContentSource, Origin, SourceFile};
use crate::scan::{Read, ReadError, Root};

/// All waiting for slow destinations together is limited to this and a twentieth of the duration of the run.
const GRACE: Duration = Duration::from_secs(3);

type Loaded = Result<Read, Arc<ReadError>>;
type LoadedBlock = Result<Bytes, Arc<ReadError>>;
/// A path and the offset of a block. Whole files have no offset.
type BlockKey = (Vec<u8>, Option<u64>);

#[derive(Clone)]
enum Cell {
    Whole(Arc<OnceCell<Loaded>>),
    Block(Arc<OnceCell<LoadedBlock>>),
}

struct BlockSlot {
    cell: Cell,
    /// Destinations that have not taken it yet.
    pending: u64,
    size: u64,
}

#[derive(Default)]
struct ReaderState {
    slots: HashMap<BlockKey, BlockSlot>,
    order: VecDeque<BlockKey>,
    held: u64,
    /// How far each destination has come.
    positions: Vec<Position>,
    /// Destinations that read for themselves, or are done, as a bit mask.
    gone: u64,
    waited: Duration,
}

/// How far a destination has come: the paths that it is working on, and the last path that it began.
#[derive(Debug, Clone, Default)]
struct Position {
    working: BTreeSet<Vec<u8>>,
    last: Vec<u8>,
}

impl Position {
    /// Whether it may still ask for this path.
    fn may_ask(&self, path: &[u8]) -> bool {
        self.working.first().unwrap_or(&self.last).as_slice() <= path
    }
}

/// Marks a destination as working on a path until it is dropped.
pub struct BlockAt {
    shared_reader: Arc<SharedReader>,
    destination: usize,
    path: Vec<u8>,
}

impl Drop for BlockAt {
    fn drop(&mut self) {
        if let Some(position) = self.shared_reader.lock().positions.get_mut(self.destination) {
            position.working.remove(&self.path);
        }
    }
}

/// Reads the source for all destinations of a run.
pub struct SharedReader {
    origin: Origin,
    budget: u64,
    state: Mutex<ReaderState>,
    wake: Notify,
    read: AtomicU64,
    started: Instant,
}

impl SharedReader {
    /// For this number of destinations. `budget` is the memory for blocks that a destination has not taken yet, in
    /// bytes.
    pub fn new(root: Arc<Root>, destinations: usize, budget: u64) -> Self {
        Self::from_origin(Origin::Disk(root), destinations, budget)
    }

    /// For one destination, whose contents come from another one.
    pub fn over(source: Arc<dyn ContentSource>) -> Self {
        Self::from_origin(Origin::Other(source), 1, 0)
    }

    fn from_origin(origin: Origin, destinations: usize, budget: u64) -> Self {
        let state = ReaderState { positions: vec![Position::default(); destinations], ..ReaderState::default() };
        Self { origin, budget, state: Mutex::new(state), wake: Notify::new(), read: 0.into(), started: Instant::now() }
    }

    /// The root of the source. `None` if contents come from another destination.
    pub fn root(&self) -> Option<&Arc<Root>> {
        match &self.origin {
            Origin::Disk(root) => Some(root),
            Origin::Other(_) => None,
        }
    }

    /// Opens a large file. With `last_try`, changes during the read are not an error.
    ///
    /// # Errors
    /// As for [`BigFile::open`](crate::scan::BigFile::open).
    pub async fn open(&self, path: &[u8], last_try: bool) -> Result<SourceFile, ReadError> {
        self.origin.open(path, last_try).await
    }

    /// Content bytes read from the source so far.
    pub fn bytes_read(&self) -> u64 {
        self.read.load(Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, ReaderState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A destination has begun this path. It will ask for no path before all those that it is working on.
    pub fn reached(self: &Arc<Self>, destination: usize, path: &[u8]) -> BlockAt {
        if let Some(position) = self.lock().positions.get_mut(destination) {
            position.working.insert(path.to_vec());
            position.last.clear();
            position.last.extend_from_slice(path);
        }
        BlockAt { shared_reader: Arc::clone(self), destination, path: path.to_vec() }
    }

    /// A destination asks for nothing more.
    pub fn leave(&self, destination: usize) {
        self.lock().gone |= 1 << destination;
        self.wake.notify_waiters();
    }

    /// Reads a whole file of at most `limit` bytes. `size` is its expected length. `readers` is the bit mask of the
    /// destinations that want it, this one included.
    ///
    /// # Errors
    /// [`ReadError::Grown`] if the file is larger than `limit`.
    pub async fn whole(self: &Arc<Self>, destination: usize, path: &[u8], size: u64, readers: u64, limit: u64) -> Loaded {
        let load = || {
            let (shared_reader, path) = (Arc::clone(self), path.to_vec());
            async move {
                let read = shared_reader.origin.whole(path, limit).await;
                shared_reader.read.fetch_add(read.as_ref().map_or(0, |r| r.content.len() as u64), Relaxed);
                read.map_err(Arc::new)
            }
        };
        let key = (path.to_vec(), None);
        let slot = self.slot(destination, &key, size, readers, || Cell::Whole(Arc::default())).await;
        let Some(Cell::Whole(cell)) = slot else { return load().await };
        let loaded = cell.get_or_init(load).await.clone();
        self.taken(destination, &key);
        loaded
    }

    /// Reads one block of an open large file. `offset` and `size` are in bytes.
    ///
    /// # Errors
    /// [`ReadError::Changed`] as for [`BigFile::block`](crate::scan::BigFile::block), [`ReadError::Io`] for errors of the system. All destinations
    /// that share the read get the same error.
    pub async fn block(
        self: &Arc<Self>,
        destination: usize,
        path: &[u8],
        file: &SourceFile,
        offset: u64,
        size: u64,
        readers: u64,
    ) -> LoadedBlock {
        let load = || {
            let (shared_reader, file) = (Arc::clone(self), file.clone());
            async move {
                let block = file.block(offset, size).await;
                shared_reader.read.fetch_add(block.as_ref().map_or(0, |b| b.len() as u64), Relaxed);
                block.map_err(Arc::new)
            }
        };
        let key = (path.to_vec(), Some(offset));
        let slot = self.slot(destination, &key, size, readers, || Cell::Block(Arc::default())).await;
        let Some(Cell::Block(cell)) = slot else { return load().await };
        let loaded = cell.get_or_init(load).await.clone();
        self.taken(destination, &key);
        loaded
    }

    /// The slot in which a read is shared. `None` if no other destination wants it.
    async fn slot(&self, destination: usize, key: &BlockKey, size: u64, readers: u64, new: impl Fn() -> Cell) -> Option<Cell> {
        let me = 1 << destination;
        loop {
            let wait = {
                let mut state = self.lock();
                if let Some(slot) = state.slots.get(key) {
                    return Some(slot.cell.clone());
                }
                let pending = state.awaiting(readers & !me, &key.0);
                if state.gone & me != 0 || pending == 0 {
                    return None;
                }
                state.sweep(self.budget.saturating_sub(size));
                if state.held + size <= self.budget || state.order.is_empty() {
                    let cell = new();
                    state.held += size;
                    state.order.push_back(key.clone());
                    state.slots.insert(key.clone(), BlockSlot { cell: cell.clone(), pending: pending | me, size });
                    return Some(cell);
                }
                let allowed = GRACE + self.started.elapsed() / 20;
                if state.waited >= allowed {
                    state.let_go_slowest(me);
                    continue;
                }
                allowed.saturating_sub(state.waited)
            };
            let began = Instant::now();
            let _ = tokio::time::timeout(wait.min(Duration::from_millis(200)), self.wake.notified()).await;
            self.lock().waited += began.elapsed();
        }
    }

    fn taken(&self, destination: usize, key: &BlockKey) {
        let mut state = self.lock();
        let Some(slot) = state.slots.get_mut(key) else { return };
        slot.pending &= !(1 << destination);
        if slot.pending & !state.gone == 0 {
            state.drop_slot(key);
            drop(state);
            self.wake.notify_waiters();
        }
    }
}

impl ReaderState {
    /// Those of `readers` that will still ask for this path.
    fn awaiting(&self, readers: u64, path: &[u8]) -> u64 {
        let mut mask = 0;
        for (index, position) in self.positions.iter().enumerate() {
            let bit = 1 << index;
            if readers & bit != 0 && self.gone & bit == 0 && position.may_ask(path) {
                mask |= bit;
            }
        }
        mask
    }

    fn drop_slot(&mut self, key: &BlockKey) {
        if let Some(slot) = self.slots.remove(key) {
            self.held -= slot.size;
        }
    }

    /// Drops blocks that no destination will ask for, oldest first, until the rest fits.
    fn sweep(&mut self, fit: u64) {
        while let Some(key) = self.order.front() {
            let wanted = self.slots.get(key).map_or(0, |slot| self.awaiting(slot.pending, &key.0));
            if wanted != 0 {
                return;
            }
            if self.held <= fit && self.slots.contains_key(key) {
                return;
            }
            let key = self.order.pop_front().unwrap_or_default();
            self.drop_slot(&key);
        }
    }

    /// Detaches the destinations that have not taken the oldest block yet.
    fn let_go_slowest(&mut self, me: u64) {
        if let Some(key) = self.order.pop_front() {
            if let Some(slot) = self.slots.get(&key) {
                self.gone |= slot.pending & !me;
            }
            self.drop_slot(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared_reader(files: usize, budget: u64) -> (tempfile::TempDir, Arc<SharedReader>) {
        let dir = tempfile::tempdir().unwrap();
        for i in 0..files {
            std::fs::write(dir.path().join(format!("{i:03}")), vec![i as u8; 1000]).unwrap();
        }
        let root = Arc::new(Root::open(dir.path()).unwrap());
        (dir, Arc::new(SharedReader::new(root, 2, budget)))
    }

    async fn take(shared_reader: &Arc<SharedReader>, who: usize, file: usize) {
        let path = format!("{file:03}").into_bytes();
        let _at = shared_reader.reached(who, &path);
        let read = shared_reader.whole(who, &path, 1000, 0b11, 4096).await.unwrap();
        assert_eq!(read.content[..], vec![file as u8; 1000][..]);
    }

    #[tokio::test]
    async fn two_destinations_in_step_read_once() {
        let (_dir, shared_reader) = shared_reader(50, 10_000);
        for i in 0..50 {
            take(&shared_reader, i % 2, i).await;
            take(&shared_reader, 1 - i % 2, i).await;
        }
        assert_eq!(shared_reader.bytes_read(), 50_000);
        assert_eq!(shared_reader.lock().held, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_one_is_let_go_and_still_gets_everything() {
        let (_dir, shared_reader) = shared_reader(50, 10_000);
        for i in 0..50 {
            take(&shared_reader, 0, i).await;
        }
        for i in 0..50 {
            take(&shared_reader, 1, i).await;
        }
        assert!(shared_reader.bytes_read() > 50_000);
        assert_ne!(shared_reader.lock().gone & 0b10, 0);
    }
}
