//! `offsite config check`, `config schema` and `config import`
//!
//! Owns the files that an import reads and writes. The library owns the conversion.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use offsite::config::ConfigFile;
use offsite::error::{Error, Result};
use offsite::import::{ForeignConfig, System, import};
use schemars::schema_for;

use super::super::args_config::ConfigArgs;
use crate::cli::context::Context;

/// Arguments of `config`.
#[derive(Debug, Args)]
pub struct ConfigVerbArgs {
    #[command(subcommand)]
    what: ConfigVerb,
}

#[derive(Debug, Subcommand)]
enum ConfigVerb {
    /// Resolve every job for every type and show what would run; contacts no destination
    Check(CheckConfigArgs),
    /// Print the JSON Schema of the config file
    Schema,
    /// Convert the config of another tool: backup-rsync, duply, phpbu, scripts with `aws s3 sync`
    Import(ImportArgs),
}

#[derive(Debug, Args)]
struct CheckConfigArgs {
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, Args)]
struct ImportArgs {
    /// The old config: a file, the directory of a duply profile, or `-` for standard input
    file: PathBuf,
    /// The tool it belongs to (default: recognised by the file)
    #[arg(long)]
    from: Option<From>,
    /// Write the config to this new file instead of printing it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum From {
    BackupRsync,
    Duply,
    Phpbu,
    Aws,
}

impl From {
    fn system(self) -> System {
        match self {
            Self::BackupRsync => System::BackupRsync,
            Self::Duply => System::Duply,
            Self::Phpbu => System::Phpbu,
            Self::Aws => System::Aws,
        }
    }
}

pub fn run(args: ConfigVerbArgs, context: &Context) -> Result<u8> {
    match args.what {
        ConfigVerb::Import(args) => {
            let imported = import(&old(&args.file)?, args.from.map(From::system))?;
            if let Some(path) = &args.out {
                write(path, &crate::cli::render::Out::config_text(&imported.config)?)?;
            }
            context.out.config_imported(&imported, args.out.as_deref())?;
        }
        ConfigVerb::Schema => context.out.schema(&schema_for!(ConfigFile))?,
        ConfigVerb::Check(args) => {
            let parsed = args.config.parsed()?;
            let plans = args.config.plans(&parsed, &[])?;
            context.out.config_checked(parsed.name(), &plans)?;
        }
    }
    Ok(0)
}

/// The old config, with the files beside it.
fn old(path: &Path) -> Result<ForeignConfig> {
    let fail = |path: &Path, e: std::io::Error| Error::Usage(format!("{}: {e}", path.display()));
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(|e| fail(Path::new("standard input"), e))?;
        return Ok(ForeignConfig { path: "standard input".to_owned(), text, beside: Vec::new() });
    }
    let path = std::path::absolute(path).map_err(|e| fail(path, e))?;
    let path = if path.is_dir() { path.join("conf") } else { path };
    let text = fs::read_to_string(&path).map_err(|e| fail(&path, e))?;
    let mut beside = Vec::new();
    if path.file_name().is_some_and(|name| name == "conf") {
        for name in ["exclude", "pre", "post"] {
            let path = path.with_file_name(name);
            match fs::read_to_string(&path) {
                Ok(text) => beside.push((name.to_owned(), text)),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(fail(&path, e)),
            }
        }
    }
    Ok(ForeignConfig { path: path.display().to_string(), text, beside })
}

/// Writes a new file. It never replaces a file.
fn write(path: &Path, text: &str) -> Result<()> {
    let mut file = fs::File::create_new(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::AlreadyExists => Error::Usage(format!("{} exists already; name another file", path.display())),
        _ => Error::local(path, e),
    })?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(|e| Error::local(path, e))
}
