//! Documents and contents that are written while they arrive.
//!
//! Owns the buffer in front of standard output and the state of a half-written JSON document. Invariant: a document
//! that was begun always ends as one valid document. If the reader closes the pipe, the verb stops without an error.

use std::io::{self, BufWriter, Stdout, Write};

use base64::engine::general_purpose::{GeneralPurpose, STANDARD};
use base64::write::EncoderWriter;
use offsite::error::{Error, Result};
use offsite::model::RelPath;
use serde::Serialize;

use super::Out;
use super::documents::{CatDocument, ErrorDocument};

/// Standard output that remembers whether its reader has closed the pipe.
pub struct StreamSink {
    out: BufWriter<Stdout>,
    closed: bool,
}

impl StreamSink {
    pub fn new() -> Self {
        Self { out: BufWriter::with_capacity(64 << 10, io::stdout()), closed: false }
    }

    fn noted<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        self.closed |= result.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::BrokenPipe);
        result
    }

    /// The fields of an object after those written before, and its closing brace.
    fn close_object(&mut self, fields: &impl Serialize) -> io::Result<()> {
        let fields = serde_json::to_string(fields)?;
        let inner = fields.strip_prefix('{').unwrap_or(&fields);
        writeln!(self, "{}{inner}", if inner == "}" { "" } else { "," })?;
        self.flush()
    }
}

impl Write for StreamSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.out.write(bytes);
        self.noted(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.out.flush();
        self.noted(result)
    }
}

/// A verb's lines: text, or one array of a document.
pub struct LineStream<'a> {
    out: &'a Out,
    sink: StreamSink,
    /// Name of the array.
    array: &'static str,
    begun: bool,
}

impl<'a> LineStream<'a> {
    pub fn new(out: &'a Out, array: &'static str) -> Self {
        Self { out, sink: StreamSink::new(), array, begun: false }
    }

    /// Writes a line: as an element of the array, or as text for people.
    pub fn line(&mut self, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
        self.write(value, text).map_err(Error::output)
    }

    fn write(&mut self, value: &impl Serialize, text: impl FnOnce() -> String) -> io::Result<()> {
        if !self.out.json {
            return writeln!(self.sink, "{}", RelPath::from(text().as_str()));
        }
        if std::mem::replace(&mut self.begun, true) {
            self.sink.write_all(b",\n")?;
        } else {
            write!(self.sink, "{{\"{}\":[", self.array)?;
        }
        serde_json::to_writer(&mut self.sink, value).map_err(io::Error::from)
    }

    /// Writes the sums at the end, as fields of the document or as text on standard error, or the error. Returns the
    /// exit code.
    pub fn end<F: Serialize>(mut self, sums: Result<(F, String)>) -> Result<u8> {
        if self.sink.closed {
            return Ok(0);
        }
        let ended = match &sums {
            Ok((fields, _)) if self.out.json => self.close(fields),
            Err(error) if self.begun => self.close(&failure(error)),
            _ => self.sink.flush(),
        };
        if self.sink.closed {
            return Ok(0);
        }
        match sums {
            Ok((_, text)) => {
                ended.map_err(Error::output)?;
                if !self.out.json {
                    self.out.info(&text);
                }
                Ok(0)
            }
            Err(error) if self.begun => Ok(self.out.show_error(&error)),
            Err(error) => Err(error),
        }
    }

    fn close(&mut self, fields: &impl Serialize) -> io::Result<()> {
        if !self.begun {
            write!(self.sink, "{{\"{}\":[", self.array)?;
        }
        self.sink.write_all(b"]")?;
        self.sink.close_object(fields)
    }
}

/// A file's content: raw, or as base64 in a document.
pub struct CatContent<'a> {
    out: &'a Out,
    url: String,
    path: String,
    way: StreamFormat,
}

enum StreamFormat {
    Plain(StreamSink),
    /// Nothing was written yet.
    Json,
    Begun(Box<EncoderWriter<'static, GeneralPurpose, StreamSink>>),
}

impl<'a> CatContent<'a> {
    pub fn new(out: &'a Out, url: String, path: String) -> Self {
        let way = if out.json { StreamFormat::Json } else { StreamFormat::Plain(StreamSink::new()) };
        Self { out, url, path, way }
    }

    fn begin(&mut self) -> io::Result<()> {
        if matches!(self.way, StreamFormat::Json) {
            let mut sink = StreamSink::new();
            sink.write_all(b"{\"content_b64\":\"")?;
            self.way = StreamFormat::Begun(Box::new(EncoderWriter::new(sink, &STANDARD)));
        }
        Ok(())
    }

    /// Ends the content, or reports the error. Returns the exit code.
    pub fn end(mut self, result: Result<()>) -> Result<u8> {
        if result.is_ok() {
            // An empty file also gets its document.
            self.begin().map_err(Error::output)?;
        }
        match self.way {
            StreamFormat::Json => result.map(|()| 0),
            StreamFormat::Plain(mut sink) => {
                let flushed = sink.flush();
                if sink.closed {
                    return Ok(0);
                }
                result?;
                flushed.map_err(Error::output).map(|()| 0)
            }
            StreamFormat::Begun(mut encoder) => {
                let mut sink = encoder.finish().map_err(Error::output)?;
                let ended = sink.write_all(b"\"").and_then(|()| match &result {
                    Ok(()) => sink.close_object(&CatDocument { content_b64: None, url: &self.url, path: &self.path }),
                    Err(error) => sink.close_object(&failure(error)),
                });
                match result {
                    _ if sink.closed => Ok(0),
                    Ok(()) => ended.map_err(Error::output).map(|()| 0),
                    Err(error) => Ok(self.out.show_error(&error)),
                }
            }
        }
    }
}

impl Write for CatContent<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.begin()?;
        match &mut self.way {
            StreamFormat::Plain(sink) => sink.write(bytes),
            StreamFormat::Begun(encoder) => encoder.write(bytes),
            StreamFormat::Json => Ok(0),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.way {
            StreamFormat::Plain(sink) => sink.flush(),
            _ => Ok(()),
        }
    }
}

fn failure(error: &Error) -> ErrorDocument {
    ErrorDocument::of(error)
}
