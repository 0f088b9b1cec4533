//! Dumps: the output of a command as a file of the snapshot.
//!
//! Owns the child process and the compression. offsite streams the output of the command to the destinations and never
//! stores it on this machine's disk. Invariant: offsite reports a dump as complete to a destination only after the
//! command has ended with code 0 and the destination has received all of its output.

use std::fmt;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc::Sender;

use super::hooks;
use crate::config::{self, Command, Job, Redactions};
use crate::model::RelPath;
use crate::transfer::{Dump, DumpChunk, Source, Stop};

/// Approximate length of a block before compression, in bytes.
const BLOCK: usize = 1 << 20;
/// How much of a command's error output is reported, in bytes.
const COMPLAINT: usize = 2 << 10;

/// The dumps of a job, in the form that the engine expects.
pub fn of(job: &Job) -> Vec<Dump> {
    let dump = |dump: &config::JobDump| Dump {
        path: RelPath::from(dump.name.as_str()),
        source: Arc::new(Output {
            command: dump.command.clone(),
            variables: job.variables.clone(),
            seconds: dump.timeout,
            compress: dump.compress,
        }),
        min_size: dump.min_size,
        max_shrink: dump.max_shrink,
    };
    job.dumps.iter().map(dump).collect()
}

/// The output of a command.
struct Output {
    command: Command,
    variables: Vec<(String, String)>,
    /// Time limit of the command.
    seconds: u64,
    /// Level of zstd. `None` for no compression.
    compress: Option<i32>,
}

/// Omits the values of the variables, which may be secrets.
impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Output({})", hooks::shown(&self.command))
    }
}

impl Source for Output {
    fn start(&self, to: Vec<Sender<DumpChunk>>, stop: Arc<Stop>) {
        let mut process = tokio::process::Command::from(self.command.process());
        process.envs(self.variables.iter().map(|(name, value)| (name, value)));
        process.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
        let (seconds, compress, redactions) = (self.seconds, self.compress, Redactions::of(&self.variables));
        tokio::spawn(async move {
            let mut listeners = Listeners(to);
            let ended = tokio::select! {
                ended = run(process, compress, &mut listeners, seconds) => ended.map_err(|why| redactions.redact(&why)),
                () = stop.wait() => Err("the run was interrupted".to_owned()),
            };
            listeners.send(DumpChunk::End(ended)).await;
        });
    }
}

/// Runs the command to its end and streams its output to the listeners.
async fn run(mut process: tokio::process::Command, compress: Option<i32>, to: &mut Listeners, seconds: u64) -> Result<(), String> {
    let mut child = process.spawn().map_err(|e| format!("its command cannot be started: {e}"))?;
    let mut group = hooks::ProcessGroup::of(&child);
    let complaint = Arc::new(Mutex::new(Vec::new()));
    let listening = child.stderr.take().map(|err| tokio::spawn(hooks::keep(err, Arc::clone(&complaint))));
    let Some(mut out) = child.stdout.take() else { return Err("its output cannot be read".into()) };
    let mut packer = compress.map(Packer::new).transpose()?;
    let working = async {
        loop {
            let block = fill(&mut out).await.map_err(|e| format!("its output cannot be read: {e}"))?;
            if block.is_empty() {
                break;
            }
            let block = match &mut packer {
                None => block,
                Some(packer) => tokio::task::block_in_place(|| packer.pack(&block))?,
            };
            to.send(DumpChunk::Block(Bytes::from(block))).await;
            if to.0.is_empty() {
                return Err("no destination accepts it any more".to_owned());
            }
        }
        if let Some(packer) = packer.take() {
            to.send(DumpChunk::Block(Bytes::from(packer.end()?))).await;
        }
        child.wait().await.map_err(|e| format!("offsite lost track of its command: {e}"))
    };
    let ended = tokio::time::timeout(Duration::from_secs(seconds.max(1)), working).await;
    let status = match ended {
        Ok(status) => status?,
        Err(_) => return Err(format!("its command took longer than {seconds} s and was ended; `timeout` allows more")),
    };
    group.forget();
    if let Some(listening) = listening {
        let _ = tokio::time::timeout(Duration::from_secs(1), listening).await;
    }
    if status.success() {
        return Ok(());
    }
    let said = complaint.lock().unwrap_or_else(PoisonError::into_inner);
    let said = offsite_backends::error::redact(&String::from_utf8_lossy(&said[said.len().saturating_sub(COMPLAINT)..]));
    let code = status.code().map_or_else(|| "was ended by a signal".to_owned(), |code| format!("ended with exit code {code}"));
    let said = said.trim();
    Err(if said.is_empty() { format!("its command {code}") } else { format!("its command {code}: {said}") })
}

/// Reads about [`BLOCK`] bytes. Returns fewer at the end of the output, and none after it.
async fn fill(out: &mut tokio::process::ChildStdout) -> std::io::Result<Vec<u8>> {
    let mut block = Vec::with_capacity(BLOCK);
    while block.len() < BLOCK && out.read_buf(&mut block).await? > 0 {}
    Ok(block)
}

/// The destinations that still receive the dump.
struct Listeners(Vec<Sender<DumpChunk>>);

impl Listeners {
    async fn send(&mut self, piece: DumpChunk) {
        if matches!(&piece, DumpChunk::Block(block) if block.is_empty()) {
            return;
        }
        let mut left = Vec::new();
        for to in self.0.drain(..) {
            if to.send(piece.clone()).await.is_ok() {
                left.push(to);
            }
        }
        self.0 = left;
    }
}

/// Compresses with zstd, block by block.
struct Packer(zstd::stream::write::Encoder<'static, Vec<u8>>);

impl Packer {
    fn new(level: i32) -> Result<Self, String> {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), level).map_err(failed)?;
        encoder.include_checksum(true).map_err(failed)?;
        Ok(Self(encoder))
    }

    fn pack(&mut self, block: &[u8]) -> Result<Vec<u8>, String> {
        std::io::Write::write_all(&mut self.0, block).map_err(failed)?;
        Ok(std::mem::take(self.0.get_mut()))
    }

    fn end(self) -> Result<Vec<u8>, String> {
        self.0.finish().map_err(failed)
    }
}

fn failed(error: std::io::Error) -> String {
    format!("it cannot be compressed: {error}")
}
