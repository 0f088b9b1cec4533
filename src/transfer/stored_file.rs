//! A destination as the source of contents, and its large files, streamed from their beginning to their end.
//!
//! Owns the task that reads it and the few blocks between that task and its reader. Invariant: [`OpenContent::settle`]
//! succeeds only if the content had its BLAKE3. If a location turns out to have another content, the reader opens the
//! file again, and that location is passed over.

use std::sync::{Arc, PoisonError};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use offsite_backends::ErrorKind;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

use super::content_source::{ContentSource, OpenContent};
use super::fetch::read_old_content;
use super::sink::Sink;
use super::stored_contents::{StoredContents, TRIES, stat_of};
use crate::error::{Error, Result};
use crate::model::{Entry, Xattr};
use crate::scan::{Read, ReadError, Stat};

/// Blocks between the task and the reader.
const AHEAD: usize = 4;

/// How the task ended.
enum FileEnd {
    Whole,
    /// A location had another content, or the body broke off.
    Again,
    Failed(Error),
}

struct Stream {
    blocks: mpsc::Receiver<Bytes>,
    /// Bytes that came and were not asked for yet.
    held: BytesMut,
    offset: u64,
    task: Option<JoinHandle<FileEnd>>,
}

/// An open large file.
pub(super) struct StoredFile {
    source: Arc<StoredContents>,
    entry: Entry,
    stat: Stat,
    stream: Mutex<Stream>,
}

impl StoredFile {
    pub fn open(source: Arc<StoredContents>, entry: Entry) -> Self {
        let (to, blocks) = mpsc::channel(AHEAD);
        let task = tokio::spawn(read(Arc::clone(&source), entry.clone(), to));
        let stream = Stream { blocks, held: BytesMut::new(), offset: 0, task: Some(task) };
        Self { source, stat: stat_of(&entry), entry, stream: Mutex::new(stream) }
    }

    /// Waits for the end of the task.
    async fn ended(&self, stream: &mut Stream) -> Result<(), ReadError> {
        let Some(task) = stream.task.take() else { return Ok(()) };
        match task.await {
            Ok(FileEnd::Whole) => Ok(()),
            Ok(FileEnd::Again) => Err(ReadError::Changed),
            Ok(FileEnd::Failed(error)) => Err(self.source.failed(error).await),
            Err(error) => Err(ReadError::Io(std::io::Error::other(error))),
        }
    }
}

impl Drop for StoredFile {
    fn drop(&mut self) {
        if let Some(task) = &self.stream.get_mut().task {
            task.abort();
        }
    }
}

#[async_trait]
impl ContentSource for Arc<StoredContents> {
    async fn whole(&self, path: &[u8], limit: u64) -> Result<Read, ReadError> {
        self.read_whole(path, limit).await
    }

    async fn open(&self, path: &[u8]) -> Result<Arc<dyn OpenContent>, ReadError> {
        let (group, index) = self.find(path).await?;
        Ok(Arc::new(StoredFile::open(Arc::clone(self), group.files[index].entry.clone())))
    }
}

async fn read(source: Arc<StoredContents>, entry: Entry, to: mpsc::Sender<Bytes>) -> FileEnd {
    let path = &entry.path.0;
    let passed = source.passed.lock().unwrap_or_else(PoisonError::into_inner).get(path).copied().unwrap_or(0);
    let mut sink = BlockSink { to, source: &source, begun: false, sent: false, again: false };
    let read = read_old_content(&source.records, &source.rules, &entry, passed, &mut sink).await;
    let again = sink.again;
    match read {
        Ok(()) => FileEnd::Whole,
        Err(_) if again => {
            source.passed.lock().unwrap_or_else(PoisonError::into_inner).insert(path.clone(), passed + 1);
            FileEnd::Again
        }
        Err(error) if error.kind() == Some(ErrorKind::Transient) => {
            let mut breaks = source.breaks.lock().unwrap_or_else(PoisonError::into_inner);
            let count = breaks.entry(path.clone()).or_default();
            *count += 1;
            if *count < TRIES { FileEnd::Again } else { FileEnd::Failed(error) }
        }
        Err(error) => FileEnd::Failed(error),
    }
}

#[async_trait]
impl OpenContent for StoredFile {
    fn stat(&self) -> &Stat {
        &self.stat
    }

    async fn block(&self, offset: u64, size: u64) -> Result<Bytes, ReadError> {
        let mut stream = self.stream.lock().await;
        if stream.offset != offset {
            return Err(ReadError::Changed);
        }
        let want = size.min(self.stat.size.saturating_sub(offset)) as usize;
        while stream.held.len() < want {
            match stream.blocks.recv().await {
                Some(block) => stream.held.extend_from_slice(&block),
                None => {
                    self.ended(&mut stream).await?;
                    return Err(ReadError::Lost(format!("its content ends after {} bytes", offset + stream.held.len() as u64)));
                }
            }
        }
        stream.offset += want as u64;
        Ok(stream.held.split_to(want).freeze())
    }

    async fn settle(&self) -> Result<(Stat, Vec<Xattr>, bool), ReadError> {
        let mut stream = self.stream.lock().await;
        // The task ends when its last block was taken, and compares the hash.
        while stream.blocks.recv().await.is_some() {}
        self.ended(&mut stream).await?;
        Ok((self.stat, self.entry.xattrs.clone(), false))
    }
}

struct BlockSink<'a> {
    to: mpsc::Sender<Bytes>,
    source: &'a StoredContents,
    begun: bool,
    /// The reader has blocks of this location.
    sent: bool,
    /// The reader must begin again.
    again: bool,
}

#[async_trait]
impl Sink for BlockSink<'_> {
    async fn restart(&mut self) -> Result<()> {
        if self.begun && self.sent {
            self.again = true;
            return Err(Error::Interrupted);
        }
        self.begun = true;
        Ok(())
    }

    async fn write(&mut self, block: Bytes) -> Result<()> {
        self.source.limit.take(block.len() as u64).await;
        self.sent = true;
        // The reader has gone: it failed for another reason.
        self.to.send(block).await.map_err(|_| Error::Interrupted)
    }
}
