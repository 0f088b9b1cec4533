//! Flags that every verb takes.

use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};

/// Flags that every verb takes.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Print one JSON document on standard output, also on failure (default: text)
    #[arg(long, global = true)]
    pub json: bool,
    /// Print only results and problems
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// List every change, and log what the run is doing; -vv logs every request, -vvv every call
    #[arg(long, short, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// Where to write the log (default: stderr)
    #[arg(long, value_name = "WHERE", global = true, value_enum, conflicts_with = "log_file")]
    pub log: Option<LogPlace>,
    /// Append the log to this file
    #[arg(long, value_name = "FILE", global = true)]
    pub log_file: Option<PathBuf>,
    /// What to log: a level, or TARGET=LEVEL,… (docs/logs.md)
    #[arg(long, value_name = "FILTER", global = true, env = "OFFSITE_LOG", hide_env_values = true)]
    pub log_filter: Option<String>,
    /// Where to cache manifests and journals between runs (default: $`OFFSITE_CACHE_DIR`, then
    /// $`XDG_CACHE_HOME/offsite`, then ~/.cache/offsite)
    #[arg(long, value_name = "DIR", global = true)]
    pub cache_dir: Option<PathBuf>,
    /// A file with your key to a sealed destination, as `age -i` takes it: an age identity, an SSH key, or of a plugin;
    /// one or more (default: the key of this machine, which opens no contents)
    #[arg(long, value_name = "FILE", global = true, env = "OFFSITE_IDENTITY_FILE", hide_env_values = true)]
    pub identity: Vec<PathBuf>,
    /// Show no progress (default: bars on a terminal, otherwise a line every 10 s)
    #[arg(long, global = true)]
    pub no_progress: bool,
}

/// Where the log goes, if not to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogPlace {
    Stderr,
    /// systemd's journal
    Journald,
}
