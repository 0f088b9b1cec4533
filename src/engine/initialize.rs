//! `init`: creates destinations as declared, or checks them.
//!
//! Owns the order and the exit code. It parses all URLs before it contacts the first store. Then it takes one
//! destination after the other, because two prefixes of a bucket share its settings. The backend owns what a setting
//! means. Invariant: the code is 0 only if every setting is as wanted.

use std::sync::Arc;

use offsite_backends::initialize::{Did, InitMode, Initialize, Setting};
use offsite_backends::{self as backends, Backend};
use serde::Serialize;

use crate::error::{Error, Failure, Result};
use crate::manifest::Format;

/// The results for all destinations.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct InitOutcome {
    /// Nothing was changed, only checked.
    pub check: bool,
    /// One for each destination, in the order of the URLs.
    pub destinations: Vec<InitReport>,
    /// The worst of the destinations' exit codes.
    pub exit: u8,
}

/// The result for one destination.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct InitReport {
    /// URL of the destination.
    pub url: String,
    /// One for each setting that was checked; empty if the destination could not be checked.
    pub settings: Vec<InitRow>,
    /// The permissions of a host that writes and never deletes (`--writer-policy`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Why the destination could not be checked at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The first thing that went wrong, as data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// 0: all is as wanted; 1: something is not.
    pub exit: u8,
}

impl InitReport {
    /// The settings that are not as declared, in one line, or the error; none if all are as declared.
    pub fn drift(&self) -> Option<String> {
        let rows = self.settings.iter().filter(|row| !matches!(row.did, Deed::Nothing | Deed::Changed));
        let rows = || rows.map(|row| format!("{} is `{}`, not `{}`", row.setting, row.was, row.wanted)).collect::<Vec<_>>().join("; ");
        (self.exit != 0).then(|| self.error.clone().unwrap_or_else(rows))
    }
}

/// The result for one setting.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct InitRow {
    /// `bucket`, `directory`, `region`, `versioning`, `abort unfinished uploads`, `expire old versions`,
    /// `encryption`, `block public access`, `object lock`.
    pub setting: &'static str,
    /// As it was found, in words; `unknown` where it could not be read.
    pub was: String,
    /// As it should be, in words.
    pub wanted: String,
    /// What was done.
    pub did: Deed,
    /// Why it is not as wanted, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// What was done for a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Deed {
    /// It was already as wanted.
    Nothing,
    /// It was changed, and is now as wanted.
    Changed,
    /// It is not as wanted, and `--check` changes nothing.
    WouldChange,
    /// The store does not have this setting.
    Cannot,
    /// The credentials lack the permission.
    Denied,
    /// The store returned an error.
    Failed,
}

/// Sets up every destination as `want` declares, or only checks them (`check`). All destinations share one
/// declaration.
///
/// # Errors
/// For a URL that is not valid. No store was contacted then. An error of a store is in the report of its destination.
///
/// # Examples
///
/// ```
/// use offsite::engine::{self, Deed};
/// use offsite_backends::Initialize;
///
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
/// # let dir = tempfile::tempdir()?;
/// # let at = |name: &str| dir.path().join(name);
/// let (urls, want) = ([at("backup").display().to_string()], Initialize::default());
/// let made = engine::initialize(&urls, &want, false).await?;
/// assert_eq!((made.exit, made.destinations[0].settings[0].did), (0, Deed::Changed));
///
/// let checked = engine::initialize(&urls, &want, true).await?;
/// assert_eq!((checked.exit, checked.destinations[0].settings[0].did), (0, Deed::Nothing));
/// assert_eq!(checked.destinations[0].drift(), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub async fn initialize(urls: &[String], want: &Initialize, check: bool) -> Result<InitOutcome> {
    let mut opened = Vec::new();
    for url in urls {
        opened.push(backends::open(url).await?);
    }
    Ok(initialize_over(&opened, want, check).await)
}

/// Like [`initialize`], over backends that are already open.
pub async fn initialize_over(opened: &[Arc<dyn Backend>], want: &Initialize, check: bool) -> InitOutcome {
    let mode = if check { InitMode::Check } else { InitMode::Make };
    let mut destinations = Vec::new();
    for backend in opened {
        destinations.push(one(backend, want, mode).await);
    }
    let exit = destinations.iter().map(|report| report.exit).max().unwrap_or(0);
    InitOutcome { check, destinations, exit }
}

/// Objects that a run writes once and never replaces, by the beginnings of their keys.
const ONCE: [&str; 6] = [Format::KEY, ".offsite/keys/", ".offsite/kept/", ".offsite/packs/", ".offsite/pages/", ".offsite/snapshots/"];

/// The permissions of a host that writes to these destinations and never deletes. Contacts no store.
///
/// # Errors
/// [`Error::Usage`] for a store without such rights. Otherwise for a URL that is not valid.
///
/// # Examples
///
/// ```
/// let outcome = offsite::engine::writer_policy(&["b2://acme-backup/site".into()])?;
/// assert!(outcome.destinations[0].policy.as_ref().is_some_and(|text| !text.contains("deleteFiles")));
/// assert!(offsite::engine::writer_policy(&["/srv/backup".into()]).is_err());
/// # Ok::<(), offsite::error::Error>(())
/// ```
pub fn writer_policy(urls: &[String]) -> Result<InitOutcome> {
    let mut destinations = Vec::new();
    for url in urls {
        let location = backends::Location::parse(url)?;
        let policy = backends::kinds::writer_policy(&location, &ONCE).map_err(|error| match error.kind {
            backends::ErrorKind::Unsupported => Error::Usage(error.to_string()),
            _ => error.into(),
        })?;
        let url = location.to_string();
        destinations.push(InitReport { url, settings: Vec::new(), policy: Some(policy), error: None, failure: None, exit: 0 });
    }
    Ok(InitOutcome { check: true, destinations, exit: 0 })
}

async fn one(backend: &Arc<dyn Backend>, want: &Initialize, mode: InitMode) -> InitReport {
    let url = backend.location().to_string();
    match backend.initialize(want, mode).await {
        Ok(settings) => {
            let exit = u8::from(!settings.iter().all(|setting| setting.did.is_as_wanted()));
            let failed = settings.iter().find_map(|setting| match &setting.did {
                Did::Failed(error) => Some(Failure::from(&Error::from((**error).clone()))),
                _ => None,
            });
            InitReport { url, settings: settings.into_iter().map(row).collect(), policy: None, error: None, failure: failed, exit }
        }
        Err(error) => {
            let error = Error::from(error);
            InitReport {
                url,
                settings: Vec::new(),
                policy: None,
                error: Some(error.to_string()),
                failure: Some(Failure::from(&error)),
                exit: error.exit_code(),
            }
        }
    }
}

fn row(setting: Setting) -> InitRow {
    let (did, why) = match setting.did {
        Did::Nothing => (Deed::Nothing, None),
        Did::Changed => (Deed::Changed, None),
        Did::WouldChange => (Deed::WouldChange, None),
        Did::Cannot(why) => (Deed::Cannot, Some(why)),
        Did::Denied(why) => (Deed::Denied, Some(why)),
        Did::Failed(error) => (Deed::Failed, Some(error.to_string())),
    };
    InitRow { setting: setting.name, was: setting.was, wanted: setting.wanted, did, why }
}
