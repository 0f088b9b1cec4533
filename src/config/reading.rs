//! Finds and reads the config file.
//!
//! Owns the order of paths to try (`env.rs` names them) and three refusals: a file that others can write, a file that
//! holds a secret (`secrets.rs`) and that others can read, and a file that the user did not name and does not own.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use offsite_backends::{Location, kinds};

use super::asked::Selection;
use super::expand::is_name;
use super::job::ResolvedJobs;
use super::parse::Parsed;
use super::resolve::{known_types, resolve};
use super::shape::JobShape;
use super::words::Command;
use super::{env, secrets, volumes};
use crate::containers::Engine;
use crate::error::{Error, Result};

/// Mode bits of group and others for reading and for writing.
const OTHERS_READ: u32 = 0o044;
const OTHERS_WRITE: u32 = 0o022;

/// Which jobs of a config to run.
#[derive(Debug, Clone, Default)]
pub struct Chosen {
    /// Names of jobs. Empty for all jobs.
    pub jobs: Vec<String>,
    /// The type, from `--type`.
    pub kind: Option<String>,
    /// Names and values, from `--set NAME=VALUE`.
    pub set: Vec<(String, String)>,
}

/// Reads the config file that the user named, or the first one that exists.
///
/// # Errors
/// [`Error::Usage`] if no file exists, if the file is not a config, if others can write it, or if it holds a secret
/// that others can read.
///
/// # Examples
///
/// ```
/// use offsite::config;
///
/// # let dir = tempfile::tempdir()?;
/// let path = dir.path().join("offsite.json");
/// std::fs::write(&path, r#"{"jobs": {"site": {"source": "/srv/site", "destinations": "/mnt/usb/site"}}}"#)?;
/// # std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
///
/// let parsed = config::load(Some(&path))?;
/// assert_eq!(parsed.file.jobs.names().collect::<Vec<_>>(), ["site"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn load(asked: Option<&Path>) -> Result<Parsed> {
    let path = match env::config_places(asked) {
        Ok(path) => path,
        Err(places) => {
            let found = places.iter().find(|path| path.is_file()).cloned();
            let path = found.ok_or_else(|| {
                let shown: Vec<String> = places.iter().map(|path| path.display().to_string()).collect();
                Error::Usage(format!("no config file found; looked for {}; name one with --config", shown.join(", ")))
            })?;
            trusted(&path)?;
            path
        }
    };
    let fail = |e: std::io::Error| Error::Usage(format!("{}: {e}", path.display()));
    let mut file = File::open(&path).map_err(fail)?;
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(fail)?;
    let mode = file.metadata().map_err(fail)?.permissions().mode();
    // Its commands run with the rights of the current user.
    if mode & OTHERS_WRITE != 0 {
        return Err(Error::Usage(format!(
            "{0}: other users of this machine can write it, so they could run commands as you; run `chmod go-w {0}` (a umask of 002, or git, may be the cause)",
            path.display()
        )));
    }
    if mode & OTHERS_READ != 0 && secrets::held(&text) {
        return Err(Error::Usage(format!(
            "{0}: it contains a password or a key, and other users of this machine can read it; run `chmod 600 {0}`, or better remove the secret: a hook can read it from its environment or from a file",
            path.display()
        )));
    }
    Parsed::from_text(&text, &path)
}

/// Refuses a config that offsite found and another user owns. Its commands would run with the rights of a user who only
/// works in that directory. For root, other users must not be able to write to the directory either.
fn trusted(path: &Path) -> Result<()> {
    let fail = |e: std::io::Error| Error::Usage(format!("{}: {e}", path.display()));
    let own = rustix::process::geteuid();
    let refused = |what: String| {
        let shown = path.display();
        Err(Error::Usage(format!("{shown}: {what}, and its commands would run as you; if that is intended, use --config {shown}")))
    };
    let owner = std::fs::metadata(path).map_err(fail)?.uid();
    if owner != 0 && owner != own.as_raw() {
        return refused(format!("it was found here and belongs to another user (uid {owner})"));
    }
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let above = std::fs::metadata(dir).map_err(fail)?;
    if own.is_root() && (above.uid() != 0 || above.mode() & OTHERS_WRITE != 0) {
        return refused("it was found in a directory in which other users can put one".to_owned());
    }
    Ok(())
}

/// The chosen jobs, resolved on this machine. Asks the container engine if a source is a volume.
///
/// # Errors
/// [`Error::Usage`] with file, line and path.
///
/// # Examples
///
/// ```
/// use std::path::Path;
///
/// use offsite::config::{self, Chosen, Parsed};
///
/// let text = r#"{
///     "destinations": {"usb": "/mnt/usb/$CUSTOMER"},
///     "jobs": {"site": {"source": "/srv/site", "destinations": "usb"}}
/// }"#;
/// let parsed = Parsed::from_text(text, Path::new("offsite.json"))?;
/// let chosen = Chosen { set: vec![("CUSTOMER".into(), "acme".into())], ..Chosen::default() };
/// let resolved = config::plan(&parsed, &chosen)?;
/// assert_eq!(resolved.jobs[0].destinations[0].url, "/mnt/usb/acme");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn plan(parsed: &Parsed, chosen: &Chosen) -> Result<ResolvedJobs> {
    plan_with(parsed, chosen, &env::variable)
}

/// Names of variables that only the environment sets, neither the command line nor the config.
#[derive(Debug, Clone, Default)]
pub struct Borrowed {
    /// Variables in texts of the config. Without them the config is invalid or has another meaning.
    pub config: Vec<String>,
    /// Other variables: those that shell commands use, and those that a store needs.
    pub around: Vec<String>,
}

/// The variables that the chosen jobs take from the environment.
///
/// # Errors
/// Those of [`plan`].
pub fn borrowed(parsed: &Parsed, chosen: &Chosen) -> Result<Borrowed> {
    let met = RefCell::new(BTreeSet::new());
    let env = |name: &str| {
        let value = env::variable(name);
        if value.is_some() {
            met.borrow_mut().insert(name.to_owned());
        }
        value
    };
    let plan = plan_with(parsed, chosen, &env)?;
    let known = |name: &String| parsed.file.variables.get(name).is_some() || chosen.set.iter().any(|(set, _)| set == name);
    let config: Vec<String> = met.take().into_iter().filter(|name| !known(name) && !kinds::is_endpoint(name)).collect();
    let places = plan.jobs.iter().flat_map(|job| &job.destinations).filter_map(|place| Location::parse(&place.url).ok());
    let of_stores = places.flat_map(|location| kinds::variables(&location));
    // offsite itself sets the variables that begin with OFFSITE_.
    let of_hooks = plan.commands().filter_map(of_shell).flat_map(names).filter(|name| !name.starts_with("OFFSITE_"));
    let mut around: Vec<String> = of_hooks.chain(of_stores).collect();
    around.sort();
    around.dedup();
    around.retain(|name| !known(name) && !config.contains(name) && env::variable(name).is_some_and(|value| !value.is_empty()));
    Ok(Borrowed { config, around })
}

fn of_shell(command: &Command) -> Option<&str> {
    if let Command::Shell(line) = command { Some(line) } else { None }
}

/// Names after a `$` in a shell line.
fn names(line: &str) -> impl Iterator<Item = String> {
    let after = line.split('$').skip(1).map(|rest| rest.strip_prefix('{').unwrap_or(rest));
    after.map(|rest| rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()).filter(|name: &String| is_name(name))
}

fn plan_with(parsed: &Parsed, chosen: &Chosen, env: &dyn Fn(&str) -> Option<String>) -> Result<ResolvedJobs> {
    let host = env::host();
    let engine = Engine::new(env::engine_sockets());
    let kind = chosen.kind.as_deref();
    resolve(parsed, &Selection { jobs: &chosen.jobs, kind, set: &chosen.set, env, host: &host, volumes: &engine })
}

/// The chosen jobs with the chosen type. If no type was chosen, one element for each type that the config knows, and
/// one for jobs without types.
///
/// # Errors
/// Those of [`plan`].
pub fn plans(parsed: &Parsed, chosen: &Chosen) -> Result<Vec<ResolvedJobs>> {
    let jobs = &parsed.file.jobs.0;
    // The labels of volumes say their types.
    let brings_types = |job: &JobShape| job.source.as_deref() == Some(volumes::ALL);
    let goes_without = |(_, job): &(String, JobShape)| job.subdirectories.0.is_empty() || brings_types(job);
    let mut kinds: Vec<Option<String>> = known_types(parsed).into_iter().map(Some).collect();
    if jobs.iter().any(goes_without) {
        kinds.insert(0, None);
    }
    if chosen.kind.is_some() {
        kinds = vec![chosen.kind.clone()];
    }
    let mut plans = Vec::new();
    for kind in kinds {
        let fits = |job: &&(String, JobShape)| match &kind {
            None => goes_without(job),
            Some(_) if brings_types(&job.1) => chosen.kind.is_some(),
            Some(kind) => chosen.kind.is_some() || job.1.subdirectories.get(kind).is_some() || job.1.options.get(kind).is_some(),
        };
        let wanted = |job: &&(String, JobShape)| chosen.jobs.is_empty() || chosen.jobs.contains(&job.0);
        let names: Vec<String> = jobs.iter().filter(fits).filter(wanted).map(|(name, _)| name.clone()).collect();
        if !names.is_empty() {
            plans.push(plan(parsed, &Chosen { jobs: names, kind, set: chosen.set.clone() })?);
        }
    }
    Ok(plans)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn a_file_of_somebody_else_is_only_taken_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let path: PathBuf = dir.path().join("offsite.json");
        std::fs::write(&path, "{}").unwrap();
        trusted(&path).unwrap();
        // Only root can give a file away.
        if std::os::unix::fs::chown(&path, Some(65_534), None).is_ok() {
            assert!(trusted(&path).unwrap_err().to_string().contains("use --config"));
            load(Some(&path)).unwrap();
            std::os::unix::fs::chown(&path, Some(0), None).unwrap();
            trusted(&path).unwrap();
            std::os::unix::fs::chown(dir.path(), Some(65_534), None).unwrap();
            assert!(trusted(&path).unwrap_err().to_string().contains("other users can put one"));
        }
    }

    #[test]
    fn a_file_with_a_secret_is_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path: PathBuf = dir.path().join("c.json");
        let secret = r#"{"jobs": {}, "finally": ["curl https://me:hush@x/"]}"#;
        std::fs::write(&path, secret).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = load(Some(&path)).unwrap_err().to_string();
        assert!(error.contains("chmod 600") && !error.contains("hush"), "{error}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        load(Some(&path)).unwrap();
        std::fs::write(&path, "{\"jobs\": {}}").unwrap();
        for mode in [0o620, 0o602, 0o666] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert!(load(Some(&path)).unwrap_err().to_string().contains("chmod go-w"));
        }
    }
}
