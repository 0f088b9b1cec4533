//! How far a run is: bars on a terminal, plain lines elsewhere, both on standard error.
//!
//! Owns the bars and the thread that reads the engine's counters. [`Screen`] is where everything else on
//! standard error goes through, so that a message never lands in the middle of a bar. Invariant: when
//! [`Bars`] is dropped its bars are gone and nothing more is printed.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use offsite::engine::Report;
use offsite::transfer::{Phase, Progress};

use super::args::Global;
use super::render::{count, place, size};

const TICK: Duration = Duration::from_millis(100);
/// Between two plain lines.
const LINE: Duration = Duration::from_secs(10);

const SPINNING: &str = "{spinner} {prefix}  {wide_msg}";
const MOVING: &str = "{spinner} {prefix}  [{bar:20}] {binary_bytes}/{binary_total_bytes}  {binary_bytes_per_sec}  ETA {eta}  {wide_msg}";

/// Standard error, with or without bars on it.
#[derive(Clone)]
pub struct Screen {
    bars: MultiProgress,
    drawn: bool,
}

impl Screen {
    pub fn new(global: &Global) -> Self {
        let drawn = io::stderr().is_terminal() && !global.quiet && !global.json && !global.no_progress;
        let target = if drawn { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self { bars: MultiProgress::with_draw_target(target), drawn }
    }

    /// A line beside the bars. If nobody reads it, nothing is lost but the line.
    pub fn aside(&self, line: &str) {
        self.bars.suspend(|| _ = writeln!(io::stderr().lock(), "{line}"));
    }
}

/// Progress that is being shown.
pub struct Bars {
    /// Dropped to end the thread.
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Bars {
    /// Shows a run with one destination a name.
    pub fn start(screen: &Screen, global: &Global, names: &[String], report: &Report) -> Self {
        let plain = !global.quiet && !global.json && !global.no_progress;
        if !screen.drawn && !plain {
            return Self { end: None, thread: None };
        }
        let runs: Vec<(String, Arc<Progress>)> = names.iter().map(|name| place(name)).zip(report.progress.iter().cloned()).collect();
        let (end, ended) = mpsc::channel();
        let screen = screen.clone();
        let work = move || if screen.drawn { draw(&screen, &runs, &ended) } else { tell(&screen, &runs, &ended) };
        // Without the thread there is no progress to see, and the run goes on all the same.
        let thread = std::thread::Builder::new().name("progress".into()).spawn(work).ok();
        Self { end: Some(end), thread }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn draw(screen: &Screen, runs: &[(String, Arc<Progress>)], ended: &Receiver<()>) {
    let style =
        |template| ProgressStyle::with_template(template).map(|s| s.progress_chars("=> ")).unwrap_or_else(|_| ProgressStyle::default_bar());
    let (spinning, moving) = (style(SPINNING), style(MOVING));
    let width = runs.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).min(40);
    let mut bars = Vec::new();
    for (name, progress) in runs {
        let bar = screen.bars.add(ProgressBar::no_length().with_style(spinning.clone()));
        bar.set_prefix(shortened(name, width));
        bars.push((bar, Phase::Waiting, progress));
    }
    while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
        for (bar, last, progress) in &mut bars {
            let phase = progress.phase();
            if phase != *last {
                let transfer = phase == Phase::Transfer;
                bar.set_style(if transfer { moving.clone() } else { spinning.clone() });
                if transfer {
                    // Rate and ETA are of the transfer alone.
                    bar.reset();
                }
                *last = phase;
            }
            if phase == Phase::Transfer {
                bar.set_length(progress.bytes_total.load(Relaxed));
                bar.set_position(progress.bytes.load(Relaxed));
            }
            bar.set_message(message(phase, progress));
            bar.tick();
        }
    }
    for (bar, ..) in &bars {
        bar.finish_and_clear();
        screen.bars.remove(bar);
    }
}

fn message(phase: Phase, progress: &Progress) -> String {
    match phase {
        Phase::Transfer => format!("{}  {}", files(progress), progress.current()),
        other => words(other, progress),
    }
}

/// Plain lines, for logs and pipes.
fn tell(screen: &Screen, runs: &[(String, Arc<Progress>)], ended: &Receiver<()>) {
    let started = Instant::now();
    while ended.recv_timeout(LINE) == Err(RecvTimeoutError::Timeout) {
        for (name, progress) in runs {
            let said = words(progress.phase(), progress);
            screen.aside(&format!("offsite: {name}: {said} ({} s)", started.elapsed().as_secs()));
        }
    }
}

fn words(phase: Phase, progress: &Progress) -> String {
    match phase {
        Phase::Waiting => "waiting".into(),
        Phase::Loading => "reading the manifest".into(),
        Phase::Scanning => format!("scanning, {} entries", count(progress.scanned.load(Relaxed))),
        Phase::Transfer => {
            let (bytes, total) = (progress.bytes.load(Relaxed), progress.bytes_total.load(Relaxed));
            format!("{}, {} of {}", files(progress), size(bytes), size(total))
        }
        Phase::Commit => "committing".into(),
        Phase::Tidy => "tidying up".into(),
        Phase::Finished => "done".into(),
        Phase::Failed => "failed".into(),
    }
}

fn files(progress: &Progress) -> String {
    format!("{}/{} files", count(progress.files.load(Relaxed)), count(progress.files_total.load(Relaxed)))
}

/// The end of a name says more than its beginning.
fn shortened(name: &str, width: usize) -> String {
    let length = name.chars().count();
    if length <= width {
        return format!("{name:<width$}");
    }
    let tail: String = name.chars().skip(length + 1 - width.max(1)).collect();
    format!("…{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_keep_their_end() {
        assert_eq!(shortened("abc", 5), "abc  ");
        assert_eq!(shortened("s3://bucket/site", 6), "…/site");
    }
}
