//! Resolves the config file into jobs.
//!
//! Owns the expansion of every string, the parsing of every value, and the list of pairs of job and type.
//! Reads only the files that `exclude_from` names. Variables come through a lookup.
//! Invariant: everything is resolved before anything runs, and the first mistake is an error.

use std::path::{Path, PathBuf};

use super::asked::Selection;
use super::expand::encoded;
use super::job::{Job, JobDestination, ResolvedJobs};
use super::parse::{Parsed, nearest};
use super::scope::Scope;
use super::shape::{JobShape, Missing};
use super::volumes::{self, FoundVolume};
use super::words::Either;
use super::{places, values};
use crate::engine::SyncOptions;
use crate::error::{Error, Result};

/// Default time limit of a hook, in seconds.
const HOOK_TIMEOUT: u64 = 3600;
/// The key for the options of all types.
pub(super) const ALL_TYPES: &str = "*";

/// The selected jobs, in the order of the file.
///
/// # Errors
/// [`Error::Usage`] with file, line and path.
pub fn resolve(parsed: &Parsed, asked: &Selection<'_>) -> Result<ResolvedJobs> {
    let file = &parsed.file;
    for name in asked.jobs {
        if file.jobs.get(name).is_none() {
            return Err(unknown(parsed, "job", name, file.jobs.names()));
        }
    }
    for (name, said) in file.variables.names().map(|name| (name, "variables")).chain(asked.set.iter().map(|(name, _)| (&**name, "--set"))) {
        if name.starts_with("OFFSITE_") {
            let at = if said == "variables" { vec![said, name] } else { Vec::new() };
            return Err(parsed.error(&at, format!("{name}: names that begin with OFFSITE_ are reserved; choose another one")));
        }
    }
    let chosen = file.jobs.0.iter().filter(|(name, _)| asked.jobs.is_empty() || asked.jobs.contains(name));
    let whole = Scope::new(parsed, asked, Vec::new());
    let timeout = whole.value(&["hook_timeout"], file.hook_timeout.as_ref(), values::duration)?.unwrap_or(HOOK_TIMEOUT);
    let mut jobs = Vec::new();
    for (name, shape) in chosen {
        for found in found(parsed, asked, name, shape)? {
            jobs.push(job(parsed, asked, name, shape, found, timeout)?);
        }
    }
    type_is_known(parsed, asked, &jobs)?;
    places::apart(parsed, &jobs, &not_chosen(parsed, asked, timeout), asked.env)?;
    let hooks = whole.hooks(&[], (&file.before.0, &file.after.0, &file.on_failure.0, &file.finally.0), timeout)?;
    let notify = whole.notify(&["notify"], file.notify.as_ref())?;
    let metrics = file.metrics.as_ref().map(|path| whole.url(&["metrics"], path)).transpose()?.map(PathBuf::from);
    Ok(ResolvedJobs { jobs, hooks, notify, metrics, variables: whole.exported() })
}

/// The other jobs of the file, as far as they can be resolved. Their variables may be unset in this run.
fn not_chosen(parsed: &Parsed, asked: &Selection<'_>, timeout: u64) -> Vec<Job> {
    let asks_no_engine = |shape: &JobShape| !shape.source.as_ref().is_some_and(|source| source.starts_with(volumes::ALL_KINDS));
    let others = parsed.file.jobs.0.iter().filter(|(name, _)| !asked.jobs.is_empty() && !asked.jobs.contains(name));
    let resolved =
        |(name, shape): &(String, JobShape)| job(parsed, asked, name, shape, found(parsed, asked, name, shape).ok()?.pop()?, timeout).ok();
    others.filter(|(_, shape)| asks_no_engine(shape)).filter_map(resolved).collect()
}

fn unknown<'a>(parsed: &Parsed, what: &str, name: &str, known: impl Iterator<Item = &'a str> + Clone) -> Error {
    let hint = match nearest(name, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the names are {}", known.collect::<Vec<_>>().join(", ")),
    };
    Error::Usage(format!("{}: no {what} `{name}`; {hint}", parsed.name()))
}

/// Refuses a type that no job names and that no label of a volume can have.
fn type_is_known(parsed: &Parsed, asked: &Selection<'_>, jobs: &[Job]) -> Result<()> {
    let Some(kind) = asked.kind else { return Ok(()) };
    let known = known_types(parsed);
    if known.iter().any(|known| known == kind) || jobs.iter().any(|job| job.volume.is_some() || job.unknown().is_some()) {
        return Ok(());
    }
    Err(unknown(parsed, "type", kind, known.iter().map(String::as_str)))
}

/// Types that the jobs name in `subdirectories` or `options`, sorted.
pub fn known_types(parsed: &Parsed) -> Vec<String> {
    let jobs = parsed.file.jobs.0.iter().map(|(_, job)| job);
    let names = jobs.flat_map(|job| job.subdirectories.names().chain(job.options.names()));
    let mut all: Vec<String> = names.filter(|name| *name != ALL_TYPES).map(str::to_owned).collect();
    all.sort();
    all.dedup();
    all
}

/// Whether the job has `"ignore"` for this type or for all types.
fn is_ignored(shape: &JobShape, kind: Option<&str>) -> bool {
    let says = |kind| matches!(shape.options.get(kind), Some(Either::Short(_)));
    says(ALL_TYPES) || kind.is_some_and(says)
}

/// What the source of a job stands for. Does not ask the engine about an ignored pair of job and type.
fn found(parsed: &Parsed, asked: &Selection<'_>, name: &str, shape: &JobShape) -> Result<Vec<FoundVolume>> {
    let kind = asked.kind.unwrap_or_default().to_owned();
    let scope = Scope::new(parsed, asked, vec![("JOB".to_owned(), name.to_owned()), ("TYPE".to_owned(), kind)]);
    let source = match &shape.source {
        Some(source) => scope.url(&["jobs", name, "source"], source)?,
        None if shape.dumps.0.is_empty() => {
            return Err(parsed.error(&["jobs", name], "a job needs a `source`, or `dumps`, or both"));
        }
        None => String::new(),
    };
    if is_ignored(shape, asked.kind) {
        return Ok(vec![FoundVolume { kind: asked.kind.map(str::to_owned), source, ..FoundVolume::default() }]);
    }
    let label = shape.label.as_ref().map(|label| scope.text(&["jobs", name, "label"], label)).transpose()?;
    let root = parsed.file.volumes_root.as_ref().map(|root| scope.url(&["volumes_root"], root)).transpose()?;
    if !source.starts_with(volumes::ALL_KINDS) && shape.source.is_some() {
        values::directory(Path::new(&source)).map_err(|what| parsed.error(&["jobs", name, "source"], what))?;
    }
    volumes::find(&source, label.as_deref(), root.as_ref().map(Path::new), asked)
        .map_err(|what| parsed.error(&["jobs", name, "source"], what))
}

/// One pair of job and type.
fn job(parsed: &Parsed, asked: &Selection<'_>, name: &str, shape: &JobShape, found: FoundVolume, timeout: u64) -> Result<Job> {
    let at = ["jobs", name];
    let kind = found.kind.as_deref();
    may_be_named(parsed, name)?;
    if kind.is_none() && !found.by_label && !shape.subdirectories.0.is_empty() {
        let types = shape.subdirectories.names().collect::<Vec<_>>().join(", ");
        return Err(parsed.error(&at, format!("this job has types ({types}); choose one with --type")));
    }
    let mut own = vec![("JOB".to_owned(), name.to_owned()), ("TYPE".to_owned(), kind.unwrap_or_default().to_owned())];
    own.extend(found.volume.iter().map(|volume| (volumes::VARIABLE.to_owned(), volume.clone())));
    let subdirectory = subdirectory(&Scope::new(parsed, asked, own.clone()), name, shape, kind)?;
    let source = shape.source.as_ref().map(|_| below(&found.source, &subdirectory));
    own.extend([("SOURCE".to_owned(), source.clone().unwrap_or_default()), ("SUBDIRECTORY".to_owned(), subdirectory.clone())]);
    let scope = Scope::new(parsed, asked, own);
    let ignored = found.ignored || is_ignored(shape, kind);
    if shape.destinations.0.is_empty() && !ignored {
        return Err(parsed.error(&["jobs", name, "destinations"], "a job needs a destination"));
    }
    Ok(Job {
        name: name.to_owned(),
        config: PathBuf::from(parsed.name()),
        options: SyncOptions { inner: PathBuf::from(&subdirectory), ..scope.options(name, shape, kind)? },
        destinations: destinations_of(&scope, name, shape, &found, &subdirectory)?,
        volume: found.volume,
        kind: found.kind,
        source: source.map(PathBuf::from),
        dumps: scope.dumps(name, shape)?,
        mounted: found.mounted,
        must_exist: shape.missing == Missing::Fail,
        ignored,
        hooks: scope.hooks(&at, (&shape.before.0, &shape.after.0, &shape.on_failure.0, &shape.finally.0), timeout)?,
        notify: scope.notify(&["jobs", name, "notify"], shape.notify.as_ref())?,
        profiles: scope.profiles(name, shape)?,
        variables: scope.exported(),
    })
}

/// Refuses a job name that cannot be a file name.
fn may_be_named(parsed: &Parsed, name: &str) -> Result<()> {
    let fine = |c: char| c.is_alphanumeric() || "-_. ".contains(c);
    if name.is_empty() || name.starts_with(['-', '.', ' ']) || !name.chars().all(fine) {
        let what = "job names may contain letters, digits, spaces, `-`, `_` and `.`, and must begin with a letter or digit";
        return Err(parsed.error(&["jobs", name], what));
    }
    Ok(())
}

/// The subdirectory of a type, below the source and below each destination. Empty if there is none.
fn subdirectory(scope: &Scope<'_>, name: &str, shape: &JobShape, kind: Option<&str>) -> Result<String> {
    let Some((kind, text)) = kind.and_then(|kind| Some((kind, shape.subdirectories.get(kind)?))) else { return Ok(String::new()) };
    let at = ["jobs", name, "subdirectories", kind];
    inside(scope.parsed, &scope.url(&at, text)?, &at)
}

/// The destinations of a job. Each volume with a label needs a separate destination.
fn destinations_of(
    scope: &Scope<'_>,
    name: &str,
    shape: &JobShape,
    found: &FoundVolume,
    subdirectory: &str,
) -> Result<Vec<JobDestination>> {
    let resolved = |(index, place): (usize, &String)| {
        let index = index.to_string();
        let at = ["jobs", name, "destinations", &index];
        if found.volume.is_some() && !scope.tells_apart(&at, place)? {
            let what = format!("the volumes of `{}` each need a separate destination; put $VOLUME into this URL", volumes::ALL);
            return Err(scope.parsed.error(&at, what));
        }
        scope.place(&at, place, subdirectory)
    };
    shape.destinations.0.iter().enumerate().filter(|_| !found.nowhere).map(resolved).collect()
}

/// Refuses a subdirectory that leads out of its parent.
fn inside(parsed: &Parsed, text: &str, at: &[&str]) -> Result<String> {
    let text = text.trim_matches('/');
    match text.split('/').any(|part| part == ".." || part == ".") {
        true => Err(parsed.error(at, format!("`{text}` is not a subdirectory"))),
        false => Ok(text.to_owned()),
    }
}

/// A path or URL with a subdirectory. In a URL it precedes the query.
pub(super) fn below(place: &str, subdirectory: &str) -> String {
    if subdirectory.is_empty() {
        return place.to_owned();
    }
    if !place.contains("://") {
        return format!("{}/{subdirectory}", place.trim_end_matches('/'));
    }
    let (path, query) = place.split_once('?').map_or((place, None), |(path, query)| (path, Some(query)));
    let joined = format!("{}/{}", path.trim_end_matches('/'), encoded(subdirectory));
    query.map_or(joined.clone(), |query| format!("{joined}?{query}"))
}
