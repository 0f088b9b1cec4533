//! One JSON document per line, written and read in order.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::private::private_file;
use crate::error::{Error, Result};

/// Appends documents to a file.
///
/// # Examples
///
/// ```
/// use offsite::spool::{Reader, Writer};
///
/// # let dir = tempfile::tempdir()?;
/// let path = dir.path().join("sizes.jsonl");
/// let mut writer = Writer::create(&path)?;
/// writer.push(&("index.html".to_owned(), 14_u64))?;
/// writer.flush()?;
///
/// let mut reader = Reader::<(String, u64)>::open(&path)?;
/// assert_eq!(reader.next_line()?, Some(("index.html".to_owned(), 14)));
/// assert_eq!(reader.next_line()?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Writer<T> {
    out: BufWriter<File>,
    path: PathBuf,
    count: u64,
    shape: PhantomData<fn(&T)>,
}

impl<T: Serialize> Writer<T> {
    /// Creates the file, or empties it. Only its owner can read it, because names of files can be confidential.
    ///
    /// # Errors
    /// [`Error::Local`] if the file cannot be opened for writing, also because its name is a symlink.
    pub fn create(path: &Path) -> Result<Self> {
        let file = private_file().write(true).create(true).truncate(true).open(path);
        Self::over(file, path)
    }

    /// Appends to a file, and creates it if it is missing.
    ///
    /// # Errors
    /// [`Error::Local`] if the file cannot be opened for writing, also because its name is a symlink.
    pub fn append(path: &Path) -> Result<Self> {
        Self::over(private_file().append(true).create(true).open(path), path)
    }

    fn over(file: std::io::Result<File>, path: &Path) -> Result<Self> {
        let file = file.map_err(|e| Error::cache(path, e))?;
        Ok(Self { out: BufWriter::with_capacity(1 << 16, file), path: path.into(), count: 0, shape: PhantomData })
    }

    /// Appends a document. It may stay in memory until [`Self::flush`].
    ///
    /// # Errors
    /// [`Error::Local`] if the file cannot be written or the document has no form in JSON.
    pub fn push(&mut self, value: &T) -> Result<()> {
        self.count += 1;
        serde_json::to_writer(&mut self.out, value)
            .map_err(std::io::Error::from)
            .and_then(|()| self.out.write_all(b"\n"))
            .map_err(|e| Error::cache(&self.path, e))
    }

    /// Number of documents pushed by this writer.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Writes everything pushed so far to the file, but not necessarily to the disk.
    ///
    /// # Errors
    /// [`Error::Local`] if the file cannot be written.
    pub fn flush(&mut self) -> Result<()> {
        self.out.flush().map_err(|e| Error::cache(&self.path, e))
    }
}

/// Reads documents in order.
#[derive(Debug)]
pub struct Reader<T> {
    input: BufReader<File>,
    path: PathBuf,
    line: Vec<u8>,
    number: u64,
    shape: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Reader<T> {
    /// Opens a file at its first line.
    ///
    /// # Errors
    /// [`Error::Local`] if the file is missing or cannot be opened.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::cache(path, e))?;
        Ok(Self::over(file, path))
    }

    pub(super) fn over(file: File, path: &Path) -> Self {
        Self { input: BufReader::with_capacity(1 << 16, file), path: path.into(), line: Vec::new(), number: 0, shape: PhantomData }
    }

    /// The next document. `None` at the end, or if the last line is incomplete.
    ///
    /// # Errors
    /// [`Error::Local`] if the file cannot be read. [`Error::Damaged`] if a complete line is not such a document. It
    /// names the file and the line.
    pub fn next_line(&mut self) -> Result<Option<T>> {
        self.line.clear();
        self.number += 1;
        self.input.read_until(b'\n', &mut self.line).map_err(|e| Error::cache(&self.path, e))?;
        if self.line.last() != Some(&b'\n') {
            return Ok(None);
        }
        serde_json::from_slice(&self.line)
            .map(Some)
            .map_err(|e| Error::damaged(format_args!("{}, line {}", self.path.display(), self.number), e))
    }
}
