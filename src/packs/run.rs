//! A sorted run: a file of records in the order of their hashes, which never changes once it is written.
//!
//! Owns its bytes: blocks of 4 KiB (51 records, then zeros), then a table with 16 bytes a block, which is in memory too:
//! the first 8 bytes of its first hash, and 8 bytes of its BLAKE3. Invariant: nothing is told of a block whose BLAKE3
//! is another one. A reader knows that of the table beforehand.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::spool::private_file;

pub(super) type Digest = [u8; 32];
/// Everything of a record but its hash.
pub(super) type RecordRest = [u8; 48];
/// A record in a file.
type Raw = [u8; RECORD];
type Block = [u8; BLOCK];

const RECORD: usize = size_of::<Digest>() + size_of::<RecordRest>();
const BLOCK: usize = 4096;
const RECORDS: usize = 51;
/// Blocks that are read at once if all are.
const AHEAD: usize = 16;

/// A line of the table. The hash is of the whole block, because BLAKE3 takes 3 times as long if it ends in an odd place.
#[derive(Debug, Clone, Copy)]
struct BlockFence {
    first: u64,
    hash: u64,
}

impl BlockFence {
    const LENGTH: usize = 16;

    fn of(block: &Block) -> Self {
        Self { first: prefix(block), hash: prefix(blake3::hash(block).as_bytes()) }
    }

    fn to_bytes(self) -> [u8; Self::LENGTH] {
        (u128::from(self.first) << 64 | u128::from(self.hash)).to_be_bytes()
    }

    fn from_bytes(bytes: &[u8; Self::LENGTH]) -> Self {
        Self { first: prefix(bytes), hash: prefix(&bytes[8..]) }
    }
}

/// Where a piece is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// BLAKE3 of the piece.
    pub hash: [u8; 32],
    /// Name of its pack.
    pub pack: [u8; 32],
    /// Where the frame begins in the pack.
    pub frame: u32,
    /// Bytes of the frame.
    pub length: u32,
    /// Where the piece begins in the unpacked frame.
    pub skip: u32,
    /// Bytes of the piece.
    pub size: u32,
}

impl Record {
    pub(super) fn new(hash: Digest, rest: &RecordRest) -> Self {
        let (pack, numbers) = rest.split_at(32);
        let mut numbers = numbers.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes));
        let mut next = || numbers.next().unwrap_or_default();
        let pack = pack.first_chunk().copied().unwrap_or_default();
        Self { hash, pack, frame: next(), length: next(), skip: next(), size: next() }
    }

    pub(super) fn rest(&self) -> RecordRest {
        let mut rest = [0; 48];
        let (pack, fields) = rest.split_at_mut(32);
        pack.copy_from_slice(&self.pack);
        let numbers = [self.frame, self.length, self.skip, self.size];
        fields.as_chunks_mut().0.iter_mut().zip(numbers).for_each(|(bytes, number)| *bytes = number.to_le_bytes());
        rest
    }
}

pub(super) fn damaged(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// The first 8 bytes, which compare like all of them as long as they differ.
fn prefix(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

fn records(block: &Block) -> &[Raw] {
    block.as_chunks().0
}

fn split(raw: &Raw) -> Option<(&Digest, &RecordRest)> {
    let (hash, rest) = raw.split_first_chunk()?;
    Some((hash, rest.first_chunk()?))
}

/// A run that can be read.
#[derive(Debug)]
pub(super) struct IndexRun {
    file: File,
    /// Number in its name.
    pub id: u64,
    /// Number of records.
    pub count: u64,
    /// BLAKE3 of the table.
    pub digest: Digest,
    table: Vec<BlockFence>,
}

impl IndexRun {
    /// Opens a run of which the other values are known.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] if the file has another length or another table.
    pub fn open(path: &Path, id: u64, count: u64, digest: Digest) -> io::Result<Self> {
        let file = private_file().read(true).open(path)?;
        let blocks = count.div_ceil(RECORDS as u64);
        let whole = blocks.checked_mul((BLOCK + BlockFence::LENGTH) as u64);
        if count == 0 || whole != Some(file.metadata()?.len()) {
            return Err(damaged("a run of the index has another length"));
        }
        let mut bytes = vec![0; blocks as usize * BlockFence::LENGTH];
        file.read_exact_at(&mut bytes, blocks * BLOCK as u64)?;
        if *blake3::hash(&bytes).as_bytes() != digest {
            return Err(damaged("a run of the index has another table"));
        }
        Ok(Self { file, id, count, digest, table: bytes.as_chunks().0.iter().map(BlockFence::from_bytes).collect() })
    }

    /// Looks up a record: one read, two if the hash begins like the first one of a block.
    pub fn find(&self, hash: &Digest) -> io::Result<Option<Record>> {
        let wanted = prefix(hash);
        let first = self.table.partition_point(|fence| fence.first < wanted).saturating_sub(1);
        let mut block = [0; BLOCK];
        for (number, fence) in self.table.iter().enumerate().skip(first).take_while(|(_, fence)| fence.first <= wanted) {
            self.read(&mut block, number)?;
            check(&block, fence)?;
            let records = &records(&block)[..self.held_by(number)];
            if let Ok(at) = records.binary_search_by(|record| record[..size_of::<Digest>()].cmp(hash)) {
                return Ok(split(&records[at]).map(|(hash, rest)| Record::new(*hash, rest)));
            }
        }
        Ok(None)
    }

    /// Reads from this block on. A file that was cut off since it was opened is damaged too.
    fn read(&self, bytes: &mut [u8], number: usize) -> io::Result<()> {
        self.file.read_exact_at(bytes, (number * BLOCK) as u64).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => damaged("a run of the index is truncated"),
            _ => error,
        })
    }

    /// Number of records in a block.
    fn held_by(&self, number: usize) -> usize {
        (self.count as usize).saturating_sub(number * RECORDS).min(RECORDS)
    }

    /// Waits until the file is on the disk.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

fn check(block: &Block, fence: &BlockFence) -> io::Result<()> {
    if BlockFence::of(block).hash == fence.hash { Ok(()) } else { Err(damaged("a block of the index is damaged")) }
}

/// Writes a run.
pub(super) struct RunWriter {
    out: BufWriter<File>,
    id: u64,
    count: u64,
    table: Vec<BlockFence>,
    block: Block,
    /// Bytes of the block that are filled.
    filled: usize,
}

impl RunWriter {
    /// Creates the file, or empties what a run that was killed has left of it.
    pub fn create(path: &Path, id: u64) -> io::Result<Self> {
        let file = private_file().read(true).write(true).create(true).truncate(true).open(path)?;
        let out = BufWriter::with_capacity(AHEAD * BLOCK, file);
        Ok(Self { out, id, count: 0, table: Vec::new(), block: [0; BLOCK], filled: 0 })
    }

    /// Adds a record. Each must have a greater hash than the one before.
    pub fn push(&mut self, hash: &Digest, rest: &RecordRest) -> io::Result<()> {
        let (to_hash, to_rest) = self.block[self.filled..self.filled + RECORD].split_at_mut(hash.len());
        to_hash.copy_from_slice(hash);
        to_rest.copy_from_slice(rest);
        self.filled += RECORD;
        self.count += 1;
        if self.filled + RECORD > BLOCK { self.end_block() } else { Ok(()) }
    }

    fn end_block(&mut self) -> io::Result<()> {
        if self.filled > 0 {
            self.table.push(BlockFence::of(&self.block));
            self.out.write_all(&self.block)?;
            (self.block, self.filled) = ([0; BLOCK], 0);
        }
        Ok(())
    }

    /// Ends the file. It is not necessarily on the disk.
    pub fn finish(mut self) -> io::Result<IndexRun> {
        self.end_block()?;
        self.table.shrink_to_fit();
        let mut digest = blake3::Hasher::new();
        for fence in &self.table {
            digest.update(&fence.to_bytes());
            self.out.write_all(&fence.to_bytes())?;
        }
        let digest = *digest.finalize().as_bytes();
        let file = self.out.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(IndexRun { file, id: self.id, count: self.count, digest, table: self.table })
    }
}

/// Merges runs. Of records with one hash that of the last run in the list stays.
pub(super) fn merge(runs: &[IndexRun], mut out: RunWriter) -> io::Result<IndexRun> {
    let mut cursors: Vec<_> = runs.iter().map(RunCursor::new).collect();
    for cursor in &mut cursors {
        cursor.step()?;
    }
    loop {
        let next = cursors.iter().rev().filter_map(|cursor| split(cursor.head.as_ref()?)).min_by(|a, b| a.0.cmp(b.0));
        let Some((&hash, &rest)) = next else { return out.finish() };
        out.push(&hash, &rest)?;
        for cursor in &mut cursors {
            if cursor.head.as_ref().is_some_and(|head| head.starts_with(&hash)) {
                cursor.step()?;
            }
        }
    }
}

/// Reads a run in order.
struct RunCursor<'a> {
    run: &'a IndexRun,
    bytes: Vec<u8>,
    /// Number of records read so far.
    at: u64,
    head: Option<Raw>,
}

impl<'a> RunCursor<'a> {
    fn new(run: &'a IndexRun) -> Self {
        Self { run, bytes: Vec::new(), at: 0, head: None }
    }

    /// Takes the next record into `head`.
    fn step(&mut self) -> io::Result<()> {
        let (number, record) = ((self.at / RECORDS as u64) as usize, (self.at % RECORDS as u64) as usize);
        if self.at == self.run.count {
            self.head = None;
            return Ok(());
        }
        let index = number % AHEAD;
        if record == 0 {
            if index == 0 {
                let blocks = (self.run.table.len() - number).min(AHEAD);
                self.bytes.resize(blocks * BLOCK, 0);
                self.run.read(&mut self.bytes, number)?;
            }
            check(&self.bytes.as_chunks().0[index], &self.run.table[number])?;
        }
        self.head = Some(records(&self.bytes.as_chunks().0[index])[record]);
        self.at += 1;
        Ok(())
    }
}
