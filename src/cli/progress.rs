//! The progress of a run: bars on a terminal, plain lines elsewhere, both on standard error.
//!
//! Owns the bars and the thread that reads the engine's counters. All other output to standard error passes
//! [`Screen`], so that a message never appears in the middle of a bar. Invariant: once [`Bars`] is dropped, its bars
//! have disappeared and nothing more is printed.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};
use offsite::engine::RunControl;
use offsite::transfer::{Phase, Progress};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::global::Global;
use super::render::{count, counted, printable_url, size};
use super::screen::Screen;

const TICK: Duration = Duration::from_millis(100);
/// Time between two plain lines.
const LINE: Duration = Duration::from_secs(10);

/// The line is built here, to the width of the terminal: a wrapped line could not be erased cleanly.
const LOOK: &str = "{spinner} {msg}";
/// The spinner with its blank, and one spare column.
const MARGIN: usize = 3;
/// The width if the terminal does not report one.
const COLUMNS: usize = 80;
const CELLS: usize = 20;

/// Progress on the screen, until it is dropped.
pub struct Bars {
    /// Dropped to end the thread.
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Bars {
    /// Shows the progress of a run, with one name for each destination.
    pub fn start(screen: &Screen, global: &Global, names: &[String], control: &RunControl) -> Self {
        let plain = !global.quiet && !global.json && !global.no_progress;
        if !screen.drawn && !plain {
            return Self { end: None, thread: None };
        }
        let runs: Vec<(String, Arc<Progress>)> =
            names.iter().map(|name| printable_url(name)).zip(control.progress.iter().cloned()).collect();
        let (end, ended) = mpsc::channel();
        let screen = screen.clone();
        let work = move || if screen.drawn { draw(&screen, &runs, &ended) } else { tell(&screen, &runs, &ended) };
        // Without the thread the run continues, only without progress.
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
    let style = ProgressStyle::with_template(LOOK).unwrap_or_else(|_| ProgressStyle::default_bar());
    let widest = runs.iter().map(|(name, _)| name.width()).max().unwrap_or(0).min(40);
    let mut bars = Vec::new();
    for (name, progress) in runs {
        let bar = screen.bars.add(ProgressBar::no_length().with_style(style.clone()));
        bars.push((bar, name, Phase::Waiting, progress));
    }
    while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
        let room = columns().saturating_sub(MARGIN);
        let place = widest.min(room / 3);
        for (bar, name, last, progress) in &mut bars {
            let phase = progress.phase();
            if phase != *last {
                *last = phase;
                if phase == Phase::Transfer {
                    // Rate and ETA count the transfer alone.
                    bar.reset();
                }
            }
            let name = shortened(name, place);
            bar.set_message(match phase {
                Phase::Transfer => fitted(room, &moving(bar, name, progress)),
                other => fitted(room, &[(0, name), (1, words(other, progress))]),
            });
            bar.tick();
        }
    }
    for (bar, ..) in &bars {
        bar.finish_and_clear();
        screen.bars.remove(bar);
    }
}

/// The pieces of a transfer's line, each with its rank. If space is short, those with the highest ranks are left out.
fn moving(bar: &ProgressBar, name: String, progress: &Progress) -> [(u8, String); 7] {
    let (bytes, total) = (progress.bytes.load(Relaxed), progress.bytes_total.load(Relaxed));
    bar.set_length(total);
    bar.set_position(bytes);
    let rate = bar.per_sec();
    let cells = usize::try_from(bytes.min(total) * CELLS as u64 / total.max(1)).unwrap_or(0);
    let head = if cells < CELLS { ">" } else { "" };
    // The first bytes say nothing about the rest: a part of a large file counts only when it has arrived.
    let eta = if bytes >= total / 100 && rate > 0.0 { format!("ETA {:#}", HumanDuration(bar.eta())) } else { "ETA …".into() };
    [
        (0, name),
        (4, format!("[{:<CELLS$}]", format!("{}{head}", "=".repeat(cells)))),
        (1, format!("{} of {}", size(bytes), size(total))),
        (3, format!("{}/s", size(rate as u64))),
        (2, eta),
        (5, files(progress)),
        (6, progress.current()),
    ]
}

/// The pieces that fit, in their order. The last of them may be cut.
fn fitted(room: usize, pieces: &[(u8, String)]) -> String {
    const GAP: &str = "  ";
    const WORTH: usize = 12;
    let mut by_rank: Vec<usize> = (0..pieces.len()).collect();
    by_rank.sort_by_key(|&i| pieces[i].0);
    let mut shown: Vec<Option<String>> = vec![None; pieces.len()];
    let mut left = room + GAP.len();
    for index in by_rank {
        let text = &pieces[index].1;
        let needs = text.width() + GAP.len();
        let may_be_cut = index + 1 == pieces.len() && left >= WORTH;
        if needs <= left {
            shown[index] = Some(text.clone());
        } else if may_be_cut {
            shown[index] = Some(shortened(text, left - GAP.len()));
        } else {
            break;
        }
        left = left.saturating_sub(needs);
    }
    shown.into_iter().flatten().collect::<Vec<_>>().join(GAP)
}

fn columns() -> usize {
    rustix::termios::tcgetwinsize(io::stderr()).ok().map(|size| usize::from(size.ws_col)).filter(|n| *n > 0).unwrap_or(COLUMNS)
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
        Phase::Scanning => format!("scanning, {}", counted(progress.scanned.load(Relaxed), "entry", "entries")),
        Phase::Transfer => {
            let (bytes, total) = (progress.bytes.load(Relaxed), progress.bytes_total.load(Relaxed));
            format!("{}, {} of {}", files(progress), size(bytes), size(total))
        }
        Phase::Commit => "committing".into(),
        Phase::Cleanup => "cleaning up".into(),
        Phase::Finished => "done".into(),
        Phase::Failed => "failed".into(),
    }
}

fn files(progress: &Progress) -> String {
    format!("{}/{} files", count(progress.files.load(Relaxed)), count(progress.files_total.load(Relaxed)))
}

/// The end of a name says more than its beginning.
fn shortened(name: &str, room: usize) -> String {
    if name.width() <= room {
        return format!("{name}{}", " ".repeat(room - name.width()));
    }
    let (mut tail, mut left) = (name.len(), room.saturating_sub(1));
    for (index, c) in name.char_indices().rev() {
        if c.width().unwrap_or(0) > left {
            break;
        }
        left -= c.width().unwrap_or(0);
        tail = index;
    }
    format!("…{}", &name[tail..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_keep_their_end() {
        assert_eq!(shortened("abc", 5), "abc  ");
        assert_eq!(shortened("s3://bucket/site", 6), "…/site");
        assert_eq!(shortened("ääää", 6), "ääää  ");
        assert_eq!(shortened("日本語", 5), "…本語");
    }

    #[test]
    fn a_line_never_wraps() {
        let bar = ProgressBar::hidden();
        let progress = Progress::default();
        progress.bytes_total.store(80 << 30, Relaxed);
        progress.bytes.store(1 << 30, Relaxed);
        progress.set_current(&"a/path/of/日本語/some-length-".repeat(4).as_str().into());
        for room in 20..220 {
            let line = fitted(room, &moving(&bar, shortened("s3://bucket/a/long/prefix", room / 3), &progress));
            assert!(line.width() <= room, "{room}: {line}");
            assert!(room < 40 || line.contains("of 80.0 GiB"), "{room}: {line}");
            assert!(room < 60 || line.contains("ETA"), "{room}: {line}");
        }
    }
}
