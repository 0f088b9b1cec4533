//! Reads the files of a plan ahead, and hands them on in the order of the plan.
//!
//! Owns how far ahead. Small files are read side by side, and at most a window of their bytes is in memory. The packer
//! reads large files itself, block by block.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;

use super::super::journal::Done;
use super::super::line::{Line, PlanSteps};
use super::super::parts::part_size;
use super::super::shared_reader::{BlockAt, SharedReader};
use super::super::target::Target;
use super::super::upload::PERMIT;
use crate::error::{Error, Result};
use crate::model::{Change, Entry, Kind};
use crate::scan::{Read, ReadError};
use crate::spool::Sorted;

/// Steps that are ahead of the packer.
const AHEAD: usize = 64;
/// Files that are read at a time. The memory that a thread once took for reading is seldom given back.
const READING: usize = 8;
/// Bytes of files that are ahead of the packer.
const WINDOW: u64 = 16 << 20;

/// A file that is read whole.
pub struct SmallRead {
    read: JoinHandle<Result<Read, Arc<ReadError>>>,
    /// Stands for the memory that the file takes.
    _room: OwnedSemaphorePermit,
}

impl SmallRead {
    /// Waits for the file.
    ///
    /// # Errors
    /// The read was cut off, which no read does by itself.
    pub async fn take(self) -> Result<Result<Read, Arc<ReadError>>> {
        self.read.await.map_err(|e| Error::local("a read", std::io::Error::other(e)))
    }
}

/// A step of the plan for the packer.
pub struct FedStep {
    pub line: Line,
    /// What an earlier run noted for it, if that still holds.
    pub earlier: Option<Done>,
    /// The read of a small file. `None` for a large one, and for a step that reads none.
    pub read: Option<SmallRead>,
    /// Tells the other destinations that this one may still ask for the file.
    pub at: BlockAt,
}

/// How much may be read.
struct ReadRoom {
    window: Arc<Semaphore>,
    reading: Arc<Semaphore>,
}

/// What one destination reads.
pub struct Feed {
    pub target: Arc<Target>,
    pub shared_reader: Arc<SharedReader>,
    pub plan: PathBuf,
}

impl Feed {
    /// Starts reading. `done` has the steps that an earlier run finished, sorted by path.
    pub fn start(self, done: Sorted<Done>) -> mpsc::Receiver<Result<FedStep>> {
        let (to, from) = mpsc::channel(AHEAD);
        tokio::spawn(async move {
            if let Err(error) = self.run(done, &to).await {
                let _ = to.send(Err(error)).await;
            }
        });
        from
    }

    async fn run(&self, done: Sorted<Done>, to: &mpsc::Sender<Result<FedStep>>) -> Result<()> {
        let target = &self.target;
        let room = ReadRoom {
            window: Arc::new(Semaphore::new((WINDOW.min(target.window).max(PERMIT) / PERMIT) as usize)),
            reading: Arc::new(Semaphore::new(READING)),
        };
        let mut steps = PlanSteps::open(&self.plan, done)?;
        while let Some((line, earlier)) = steps.next_step()? {
            let Some(entry) = file_of(&line.step) else { continue };
            target.stop.check()?;
            let at = self.shared_reader.reached(target.index, entry.path.as_bytes());
            let earlier = earlier.filter(|done| is_as_noted(done, &line.step));
            let reads = earlier.is_none() && !matches!(line.step, Change::Renamed { .. });
            let limit = part_size(entry.size, &target.backend.capabilities());
            let read = if reads && entry.size <= limit { Some(self.small(entry, line.readers, limit, &room).await?) } else { None };
            if to.send(Ok(FedStep { line, earlier, read, at })).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn small(&self, entry: &Entry, readers: u64, limit: u64, room: &ReadRoom) -> Result<SmallRead> {
        let most = (WINDOW.min(self.target.window) / PERMIT).max(1) as u32;
        let permits = u32::try_from(entry.size.div_ceil(PERMIT)).unwrap_or(u32::MAX).clamp(1, most);
        let taken = Arc::clone(&room.window).acquire_many_owned(permits).await.map_err(|_| Error::Interrupted)?;
        let reading = Arc::clone(&room.reading).acquire_owned().await.map_err(|_| Error::Interrupted)?;
        let (reader, index, path, size) = (Arc::clone(&self.shared_reader), self.target.index, entry.path.clone(), entry.size);
        let read = tokio::spawn(async move {
            let _reading = reading;
            reader.whole(index, path.as_bytes(), size, readers, limit).await
        });
        Ok(SmallRead { read, _room: taken })
    }
}

/// The file whose content this step is about. Everything else is in the manifest only.
fn file_of(step: &Change) -> Option<&Entry> {
    match step {
        Change::Added { entry, .. } | Change::Changed { entry, .. } | Change::Renamed { entry, .. } => Some(entry),
        _ => None,
    }
    .filter(|entry| entry.kind == Kind::File)
}

fn is_as_noted(done: &Done, step: &Change) -> bool {
    let (Change::Added { entry, stamps } | Change::Changed { entry, stamps, .. } | Change::Renamed { entry, stamps, .. }) = step else {
        return false;
    };
    done.stamps == *stamps && done.entry.size == entry.size && done.entry.mtime == entry.mtime
}
