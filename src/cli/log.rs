//! The log: lines about a run, on standard error, in a file or in the journal.
//!
//! Owns what is logged (`-v`, `-vv`, `OFFSITE_LOG`), the form of a line and its destination. The subscriber is
//! offsite's own and passes only events of this program: those of its libraries hold headers, and so credentials.
//! Invariants: a line never appears in the middle of a progress bar and never controls a terminal; a log that cannot
//! be written fails no run.

use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use chrono::Utc;
use offsite::error::{Error, Result};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use super::global::{Global, LogPlace};
use super::screen::Screen;

/// Beginning of the targets of this program's events.
const OURS: &str = "offsite";
const JOURNAL: &str = "/run/systemd/journal/socket";

/// Starts the log, if a flag asks for one.
///
/// # Errors
/// [`Error::Usage`] for a filter that is not valid or a journal that does not exist; errors of the log file.
pub fn start(global: &Global, screen: &Screen) -> Result<()> {
    let asked = global.log.is_some() || global.log_file.is_some();
    let filter = match (&global.log_filter, global.verbose) {
        (Some(text), _) if !text.trim().is_empty() => LogFilter::parse(text)?,
        (_, 0) if asked => LogFilter::of(LevelFilter::INFO),
        (_, 0) => return Ok(()),
        (_, 1) => LogFilter::of(LevelFilter::INFO),
        (_, 2) => LogFilter::of(LevelFilter::DEBUG),
        (_, _) => LogFilter::of(LevelFilter::TRACE),
    };
    let sink = match (&global.log_file, global.log) {
        (Some(path), _) => LogSink::File(Mutex::new(open(path)?)),
        (None, Some(LogPlace::Journald)) => LogSink::Journal(journal(Path::new(JOURNAL))?),
        (None, _) => LogSink::Screen(screen.clone()),
    };
    // It fails only for a second log in one process, and there is none.
    let _ = tracing::subscriber::set_global_default(Log { filter, sink });
    Ok(())
}

fn open(path: &Path) -> Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path).map_err(|error| Error::local(path, error))
}

fn journal(path: &Path) -> Result<UnixDatagram> {
    let connected = UnixDatagram::unbound().and_then(|socket| socket.connect(path).map(|()| socket));
    connected.map_err(|error| Error::Usage(format!("this machine has no journal ({}: {error}); remove --log", path.display())))
}

/// The level of each target. The longest target that matches decides.
#[derive(Debug, PartialEq, Eq)]
struct LogFilter {
    all: LevelFilter,
    targets: Vec<(String, LevelFilter)>,
}

impl LogFilter {
    fn of(all: LevelFilter) -> Self {
        Self { all, targets: Vec::new() }
    }

    /// `debug`, `offsite::request=debug,info`.
    fn parse(text: &str) -> Result<Self> {
        let mut filter = Self::of(LevelFilter::OFF);
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (target, level) = part.split_once('=').map_or((None, part), |(target, level)| (Some(target), level));
            let level = level.parse().map_err(|_| {
                let what = "one level (off, error, warn, info, debug, trace), or TARGET=LEVEL";
                Error::Usage(format!("OFFSITE_LOG: `{part}` is not {what}; targets are offsite::run, offsite::request, offsite::call"))
            })?;
            match target {
                None => filter.all = level,
                Some(target) => filter.targets.push((target.to_owned(), level)),
            }
        }
        filter.targets.sort_by_key(|(target, _)| std::cmp::Reverse(target.len()));
        Ok(filter)
    }

    fn allows(&self, target: &str, level: Level) -> bool {
        let own = target == OURS || target.strip_prefix(OURS).is_some_and(|rest| rest.starts_with("::"));
        let most = self.targets.iter().find(|(prefix, _)| target.starts_with(prefix.as_str())).map_or(self.all, |(_, level)| *level);
        own && level <= most
    }

    fn most(&self) -> LevelFilter {
        self.targets.iter().map(|(_, level)| *level).fold(self.all, LevelFilter::max)
    }
}

enum LogSink {
    Screen(Screen),
    File(Mutex<File>),
    Journal(UnixDatagram),
}

struct Log {
    filter: LogFilter,
    sink: LogSink,
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        !metadata.is_span() && self.filter.allows(metadata.target(), *metadata.level())
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.filter.most())
    }

    fn event(&self, event: &Event<'_>) {
        let (level, target) = (*event.metadata().level(), event.metadata().target());
        let mut fields = Fields(String::new());
        event.record(&mut fields);
        let line = format!("{} {}{}", level.as_str().to_ascii_lowercase(), target, fields.0);
        // A log that cannot be written is no reason to stop.
        match &self.sink {
            LogSink::Screen(screen) => screen.aside(&format!("{} {line}", now())),
            LogSink::File(file) => {
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                let _ = file.write_all(format!("{} {line}\n", now()).as_bytes());
            }
            LogSink::Journal(socket) => drop(socket.send(entry(level, &line).as_bytes())),
        }
    }

    /// This program has no spans.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

fn now() -> impl fmt::Display {
    Utc::now().format("%Y-%m-%dT%H:%M:%S%.3fZ")
}

/// An entry in the journal's form. `line` has no line break.
fn entry(level: Level, line: &str) -> String {
    let priority = match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    };
    format!("MESSAGE={line}\nPRIORITY={priority}\nSYSLOG_IDENTIFIER=offsite\n")
}

/// The fields of an event as ` name=value`, in their order; values with blanks in quotes.
struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let bare = !value.is_empty() && value.chars().all(|c| c.is_alphanumeric() || c.is_ascii_punctuation() && c != '"');
        let _ = match bare {
            true => write!(self.0, " {field}={value}"),
            false => write!(self.0, " {field}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_names_levels_and_targets() {
        let filter = LogFilter::parse("info, offsite::request=debug,offsite::call=off").unwrap();
        assert!(filter.allows("offsite::run", Level::INFO) && !filter.allows("offsite::run", Level::DEBUG));
        assert!(filter.allows("offsite::request", Level::DEBUG) && !filter.allows("offsite::call", Level::ERROR));
        assert_eq!(filter.most(), LevelFilter::DEBUG);
        let error = LogFilter::parse("offsite=loud").unwrap_err().to_string();
        assert!(error.contains("`offsite=loud`") && error.contains("debug"), "{error}");
    }

    #[test]
    fn what_libraries_say_is_never_logged() {
        let all = LogFilter::parse("trace,hyper=trace,aws_smithy_runtime=trace,offsitely=trace").unwrap();
        for target in ["hyper::client", "aws_smithy_runtime::client", "object_store", "reqwest", "offsitely"] {
            assert!(!all.allows(target, Level::ERROR), "{target}");
        }
        assert!(all.allows("offsite::request", Level::TRACE));
    }

    #[test]
    fn an_entry_of_the_journal_is_sent_as_it_takes_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listens = UnixDatagram::bind(&path).unwrap();
        let socket = journal(&path).unwrap();
        socket.send(entry(Level::DEBUG, "debug offsite::request verb=GET").as_bytes()).unwrap();
        let mut buffer = [0; 200];
        let length = listens.recv(&mut buffer).unwrap();
        let wanted = "MESSAGE=debug offsite::request verb=GET\nPRIORITY=7\nSYSLOG_IDENTIFIER=offsite\n";
        assert_eq!(std::str::from_utf8(&buffer[..length]).unwrap(), wanted);
        assert!(matches!(journal(&folder.path().join("none")), Err(Error::Usage(_))));
    }
}
