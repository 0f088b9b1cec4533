//! Flags that every verb takes.

use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};

/// Flags that every verb takes.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Everywhere")]
pub struct Global {
    /// Print one JSON document on standard output, also on failure (default: text for people)
    #[arg(long, global = true)]
    pub json: bool,
    /// Say only what was asked for and what went wrong
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// List every change, and log what the run is doing; -vv logs every request, -vvv every call
    #[arg(long, short, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// Where the log goes (default: stderr)
    #[arg(long, value_name = "WHERE", global = true, value_enum, conflicts_with = "log_file")]
    pub log: Option<LogPlace>,
    /// Append the log to a file instead
    #[arg(long, value_name = "FILE", global = true)]
    pub log_file: Option<PathBuf>,
    /// What is logged: a level, or TARGET=LEVEL,… (docs/logs.md)
    #[arg(long, value_name = "FILTER", global = true, env = "OFFSITE_LOG", hide_env_values = true)]
    pub log_filter: Option<String>,
    /// Where manifests, journals and spools are kept between runs (default: $OFFSITE_CACHE_DIR, else
    /// $XDG_CACHE_HOME/offsite, else ~/.cache/offsite)
    #[arg(long, value_name = "DIR", global = true)]
    pub cache_dir: Option<PathBuf>,
    /// No progress bars and no progress lines (default: bars on a terminal, else a line every 10 s)
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
