//! The program itself, run and watched: how it ends, how long it takes, how much memory.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What no run may take.
pub const MEMORY: u64 = 256 << 20;
/// A debug build on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

/// How a run ended.
pub struct Ran {
    pub code: i32,
    pub out: Vec<u8>,
    pub err: String,
    /// Most memory seen, in bytes.
    pub peak: u64,
}

/// Runs it in a directory, with a cache of its own there.
#[track_caller]
pub fn run(dir: &Path, args: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_offsite"));
    command.args(args).current_dir(dir).env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env("OFFSITE_CACHE_DIR", dir.join("cache")).env("HOME", dir).env("TZ", "UTC");
    command.env("AWS_ACCESS_KEY_ID", "AKIDFUZZ").env("AWS_SECRET_ACCESS_KEY", "fuzz").env("AWS_EC2_METADATA_DISABLED", "true");
    let started = Instant::now();
    let mut child = command.spawn().unwrap();
    let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let out = std::thread::spawn(move || {
        let mut all = Vec::new();
        out.read_to_end(&mut all).map(|_| all)
    });
    let err = std::thread::spawn(move || {
        let mut all = Vec::new();
        err.read_to_end(&mut all).map(|_| all)
    });
    let (mut peak, mut code) = (0, None);
    let status = format!("/proc/{}/status", child.id());
    while code.is_none() && started.elapsed() < PATIENCE && peak <= 2 * MEMORY {
        peak = peak.max(high_water(&status));
        code = child.try_wait().unwrap();
        std::thread::sleep(Duration::from_millis(3));
    }
    if code.is_none() {
        let _ = child.kill();
    }
    let ended = child.wait().unwrap();
    assert!(code.is_some(), "{args:?}: {:?}, {} MiB and no end", started.elapsed(), peak >> 20);
    let err = String::from_utf8_lossy(&err.join().unwrap().unwrap()).into_owned();
    let code = ended.code().unwrap_or_else(|| panic!("{args:?} ended by a signal: {err}"));
    assert!(!err.contains("panicked"), "{args:?}: {err}");
    assert!(matches!(code, 0..=4), "{args:?}: exit {code}: {err}");
    assert!(peak <= MEMORY, "{args:?}: {} MiB: {err}", peak >> 20);
    Ran { code, out: out.join().unwrap().unwrap(), err, peak }
}

fn high_water(status: &str) -> u64 {
    let text = std::fs::read_to_string(status).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) << 10
}
