//! From the shape of the file to jobs that can be carried out.
//!
//! Owns the expansion of every string, the parsing of every value, and which pairs of job and type there are.
//! Reads nothing but the files that `exclude_from` names: variables come through a lookup.
//! Invariant: it is all resolved before anything runs, and the first thing that is wrong is an error.

use std::cell::Cell;
use std::path::{Path, PathBuf};

use offsite_backends::Initialize;

use super::expand::expand;
use super::job::{Dump, Hooks, Job, Made, Notify, Place, Plan, Profile, Settings, Told};
use super::parse::{Parsed, nearest};
use super::places;
use super::shape::{DestinationShape, DumpShape, InitializeShape, JobShape, KeepShape, Missing, NotifyShape, OptionsShape, ProfileShape};
use super::values;
use super::volumes::{self, Found};
use super::words::{Command, Either, Several, Word};
use crate::containers::Volumes;
use crate::error::{Error, Result};
use crate::model::KeepRules;
use crate::plan::Limits;
use crate::scan::Filter;

/// An hour: what a hook may take unless the config says something else.
const HOOK_TIMEOUT: u64 = 3600;
/// What a dump may take.
const DUMP_TIMEOUT: u64 = 12 * 3600;
/// What is kept where nothing is said, as with `offsite sync`.
const KEPT: u64 = 30 * 86_400;
/// The options of all types.
const ALL_TYPES: &str = "*";

/// What is to be resolved, and with what.
pub struct Asked<'a> {
    /// Names of jobs; all if there are none.
    pub jobs: &'a [String],
    pub kind: Option<&'a str>,
    /// `--set NAME=VALUE`.
    pub set: &'a [(String, String)],
    pub env: &'a dyn Fn(&str) -> Option<String>,
    pub host: &'a str,
    pub volumes: &'a dyn Volumes,
}

/// All jobs that were asked for, in file order.
///
/// # Errors
/// [`Error::Usage`] with file, line and path.
pub fn resolve(parsed: &Parsed, asked: &Asked<'_>) -> Result<Plan> {
    let file = &parsed.file;
    for name in asked.jobs {
        if file.jobs.get(name).is_none() {
            return Err(unknown(parsed, "job", name, file.jobs.names()));
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
    places::apart(parsed, &jobs)?;
    let hooks = whole.hooks(&[], (&file.before, &file.after, &file.on_failure, &file.finally), timeout)?;
    let notify = whole.notify(&["notify"], file.notify.as_ref())?;
    let metrics = file.metrics.as_ref().map(|path| whole.text(&["metrics"], path)).transpose()?.map(PathBuf::from);
    Ok(Plan { jobs, hooks, notify, metrics, variables: whole.exported() })
}

fn unknown<'a>(parsed: &Parsed, what: &str, name: &str, known: impl Iterator<Item = &'a str> + Clone) -> Error {
    let hint = match nearest(name, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known are {}", known.collect::<Vec<_>>().join(", ")),
    };
    Error::Usage(format!("{}: there is no {what} `{name}`; {hint}", parsed.name()))
}

/// A type is one that a job tells apart, or that the label of a volume says.
fn type_is_known(parsed: &Parsed, asked: &Asked<'_>, jobs: &[Job]) -> Result<()> {
    let Some(kind) = asked.kind else { return Ok(()) };
    let known = known_types(parsed);
    if known.iter().any(|known| known == kind) || jobs.iter().any(|job| job.volume.is_some() || job.unknown().is_some()) {
        return Ok(());
    }
    Err(unknown(parsed, "type", kind, known.iter().map(String::as_str)))
}

/// Types that any job tells apart.
pub fn known_types(parsed: &Parsed) -> Vec<String> {
    let jobs = parsed.file.jobs.0.iter().map(|(_, job)| job);
    let names = jobs.flat_map(|job| job.subdirectories.names().chain(job.options.names()));
    let mut all: Vec<String> = names.filter(|name| *name != ALL_TYPES).map(str::to_owned).collect();
    all.sort();
    all.dedup();
    all
}

/// `"ignore"` for a type, or for all of them.
fn is_ignored(shape: &JobShape, kind: Option<&str>) -> bool {
    let says = |kind| matches!(shape.options.get(kind), Some(Either::Short(_)));
    says(ALL_TYPES) || kind.is_some_and(says)
}

/// What a job's source comes to; a pair of job and type that is left out is nothing to ask an engine about.
fn found(parsed: &Parsed, asked: &Asked<'_>, name: &str, shape: &JobShape) -> Result<Vec<Found>> {
    let kind = asked.kind.unwrap_or_default().to_owned();
    let scope = Scope::new(parsed, asked, vec![("JOB".to_owned(), name.to_owned()), ("TYPE".to_owned(), kind)]);
    let source = match &shape.source {
        Some(source) => scope.text(&["jobs", name, "source"], source)?,
        None if shape.dumps.0.is_empty() => {
            return Err(parsed.error(&["jobs", name], "a job needs a `source`, or `dumps`, or both"));
        }
        None => String::new(),
    };
    if is_ignored(shape, asked.kind) {
        return Ok(vec![Found { kind: asked.kind.map(str::to_owned), source, ..Found::default() }]);
    }
    let label = shape.label.as_ref().map(|label| scope.text(&["jobs", name, "label"], label)).transpose()?;
    let root = parsed.file.volumes_root.as_ref().map(|root| scope.text(&["volumes_root"], root)).transpose()?;
    volumes::find(&source, label.as_deref(), root.as_ref().map(Path::new), asked)
        .map_err(|what| parsed.error(&["jobs", name, "source"], what))
}

fn job(parsed: &Parsed, asked: &Asked<'_>, name: &str, shape: &JobShape, found: Found, timeout: u64) -> Result<Job> {
    let at = ["jobs", name];
    let kind = found.kind.as_deref();
    let fine = |c: char| c.is_alphanumeric() || "-_. ".contains(c);
    if name.is_empty() || name.starts_with(['-', '.', ' ']) || !name.chars().all(fine) {
        return Err(
            parsed.error(&at, "a job's name is of letters, digits, `-`, `_`, `.` and spaces, and begins with none of the last four")
        );
    }
    let mut own = vec![("JOB".to_owned(), name.to_owned()), ("TYPE".to_owned(), kind.unwrap_or_default().to_owned())];
    own.extend(found.volume.iter().map(|volume| (volumes::VARIABLE.to_owned(), volume.clone())));
    let scope = Scope::new(parsed, asked, own.clone());
    if kind.is_none() && !found.by_label && !shape.subdirectories.0.is_empty() {
        let types = shape.subdirectories.names().collect::<Vec<_>>().join(", ");
        return Err(parsed.error(&at, format!("this job has types ({types}); say which with --type")));
    }
    let ignored = found.ignored || is_ignored(shape, kind);
    let subdirectory = match kind.and_then(|kind| Some((kind, shape.subdirectories.get(kind)?))) {
        Some((kind, text)) => {
            inside(parsed, &scope.text(&["jobs", name, "subdirectories", kind], text)?, &[&at[..], &["subdirectories", kind]].concat())?
        }
        None => String::new(),
    };
    let source = shape.source.as_ref().map(|_| below(&found.source, &subdirectory));
    own.extend([("SOURCE".to_owned(), source.clone().unwrap_or_default()), ("SUBDIRECTORY".to_owned(), subdirectory.clone())]);
    let scope = Scope::new(parsed, asked, own);
    let mut places = Vec::new();
    for (index, place) in shape.destinations.iter().enumerate().filter(|_| !found.nowhere) {
        let (index, is_found) = (index.to_string(), found.volume.is_some());
        let at = [&at[..], &["destinations", &index]].concat();
        if is_found && !scope.tells_apart(&at, place)? {
            return Err(parsed.error(&at, format!("the volumes of `{}` each need a place apart; put $VOLUME into this URL", volumes::ALL)));
        }
        places.push(scope.place(&at, place, &subdirectory)?);
    }
    if shape.destinations.is_empty() && !ignored {
        return Err(parsed.error(&["jobs", name, "destinations"], "a job needs a destination"));
    }
    Ok(Job {
        name: name.to_owned(),
        settings: scope.settings(name, shape, kind)?,
        volume: found.volume,
        kind: found.kind,
        source: source.map(PathBuf::from),
        dumps: scope.dumps(name, shape)?,
        mounted: found.mounted,
        must_exist: shape.missing == Missing::Fail,
        ignored,
        places,
        hooks: scope.hooks(&at, (&shape.before, &shape.after, &shape.on_failure, &shape.finally), timeout)?,
        notify: scope.notify(&["jobs", name, "notify"], shape.notify.as_ref())?,
        profiles: scope.profiles(name, shape)?,
        variables: scope.exported(),
    })
}

/// A subdirectory stays below what it is a subdirectory of.
fn inside(parsed: &Parsed, text: &str, at: &[&str]) -> Result<String> {
    let text = text.trim_matches('/');
    match text.split('/').any(|part| part == ".." || part == ".") {
        true => Err(parsed.error(at, format!("`{text}` is no subdirectory"))),
        false => Ok(text.to_owned()),
    }
}

/// A path or URL with a subdirectory, in front of a URL's query.
fn below(place: &str, subdirectory: &str) -> String {
    if subdirectory.is_empty() {
        return place.to_owned();
    }
    let (path, query) =
        if place.contains("://") { place.split_once('?').map_or((place, None), |(p, q)| (p, Some(q))) } else { (place, None) };
    let joined = format!("{}/{subdirectory}", path.trim_end_matches('/'));
    query.map_or(joined.clone(), |query| format!("{joined}?{query}"))
}

/// What `$NAME` is at one place, and the parsers that use it.
struct Scope<'a> {
    parsed: &'a Parsed,
    asked: &'a Asked<'a>,
    /// Offsite's own variables, by their names without `OFFSITE_`.
    own: Vec<(String, String)>,
}

impl<'a> Scope<'a> {
    fn new(parsed: &'a Parsed, asked: &'a Asked<'a>, mut own: Vec<(String, String)>) -> Self {
        own.push(("HOST".to_owned(), asked.host.to_owned()));
        Self { parsed, asked, own }
    }

    /// What was given on the command line, what offsite says, the environment, the config.
    fn lookup(&self, name: &str) -> Option<String> {
        let found = |all: &[(String, String)]| all.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        found(self.asked.set)
            .or_else(|| found(&self.own))
            .or_else(|| (self.asked.env)(name))
            .or_else(|| self.parsed.file.variables.get(name).cloned())
    }

    fn text(&self, at: &[&str], text: &str) -> Result<String> {
        expand(text, &|name| self.lookup(name)).map_err(|what| self.parsed.error(at, what))
    }

    fn texts(&self, at: &[&str], texts: &Several<String>) -> Result<Vec<String>> {
        texts.0.iter().map(|text| self.text(at, text)).collect()
    }

    fn value<T>(&self, at: &[&str], word: Option<&Word>, parse: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>> {
        let Some(Word(text)) = word else { return Ok(None) };
        let text = self.text(at, text)?;
        parse(&text).map(Some).map_err(|what| self.parsed.error(at, what))
    }

    /// What commands find in their environment.
    fn exported(&self) -> Vec<(String, String)> {
        let own = self.own.iter().map(|(name, value)| (format!("OFFSITE_{name}"), value.clone()));
        let given = self.parsed.file.variables.0.iter().filter(|(name, _)| (self.asked.env)(name).is_none());
        own.chain(given.cloned()).chain(self.asked.set.iter().cloned()).collect()
    }

    /// Arguments are expanded here; a text is the shell's.
    fn commands(&self, at: &[&str], commands: &[Command]) -> Result<Vec<Command>> {
        commands.iter().map(|command| self.command(at, command)).collect()
    }

    fn command(&self, at: &[&str], command: &Command) -> Result<Command> {
        Ok(match command {
            Command::Shell(line) => Command::Shell(line.clone()),
            Command::Program(words) => Command::Program(words.iter().map(|word| self.text(at, word)).collect::<Result<_>>()?),
        })
    }

    fn hooks(&self, at: &[&str], lists: (&[Command], &[Command], &[Command], &[Command]), timeout: u64) -> Result<Hooks> {
        let of = |name, commands| self.commands(&[at, &[name]].concat(), commands);
        Ok(Hooks {
            before: of("before", lists.0)?,
            after: of("after", lists.1)?,
            on_failure: of("on_failure", lists.2)?,
            finally: of("finally", lists.3)?,
            timeout,
        })
    }

    fn notify(&self, at: &[&str], shape: Option<&NotifyShape>) -> Result<Notify> {
        let Some(shape) = shape else { return Ok(Notify::default()) };
        let url = |name, text: &Option<String>| {
            let at = [at, &[name]].concat();
            let url = text.as_ref().map(|text| self.text(&at, text)).transpose()?;
            match url.as_ref().is_some_and(|url| !url.starts_with("https://") && !url.starts_with("http://")) {
                true => Err(self.parsed.error(&at, "this is to be an http:// or https:// URL")),
                false => Ok(url),
            }
        };
        Ok(Notify {
            ping: url("ping", &shape.ping)?,
            webhook: url("webhook", &shape.webhook)?,
            mail: self.texts(&[at, &["mail"]].concat(), &shape.mail)?,
            only_failures: shape.only_failures,
        })
    }

    /// Whether a place is another one for another volume.
    fn tells_apart(&self, at: &[&str], text: &str) -> Result<bool> {
        let asked_for = Cell::new(false);
        let lookup = |name: &str| {
            asked_for.set(asked_for.get() || name == volumes::VARIABLE);
            self.lookup(name)
        };
        let expanded = |text: &str| expand(text, &lookup).map_err(|what| self.parsed.error(at, what));
        match self.parsed.file.destinations.get(&expanded(text)?) {
            Some(Either::Full(shape)) => drop(expanded(&shape.url)?),
            Some(Either::Short(url)) => drop(expanded(url)?),
            None => {}
        }
        Ok(asked_for.get())
    }

    fn place(&self, at: &[&str], text: &str, subdirectory: &str) -> Result<Place> {
        let text = self.text(at, text)?;
        let named = self.parsed.file.destinations.get(&text);
        let looks_like_a_name = !text.contains('/') && !text.is_empty();
        let (name, shape) = match named {
            Some(Either::Full(shape)) => (Some(text.clone()), shape.clone()),
            Some(Either::Short(url)) => (Some(text.clone()), DestinationShape { url: url.clone(), ..DestinationShape::default() }),
            None if looks_like_a_name => {
                let near =
                    nearest(&text, self.parsed.file.destinations.names()).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
                return Err(self.parsed.error(at, format!("there is no destination `{text}`{near}")));
            }
            None => (None, DestinationShape { url: text, ..DestinationShape::default() }),
        };
        let there = ["destinations", name.as_deref().unwrap_or_default()];
        let at = if name.is_some() { &there[..] } else { at };
        let url_at = [at, &["url"]].concat();
        let url = below(&self.text(&url_at, &shape.url)?, subdirectory);
        offsite_backends::Location::parse(&url).map_err(|e| self.parsed.error(&url_at, e))?;
        let mut own = self.own.clone();
        own.push(("DESTINATION".to_owned(), url.clone()));
        let scope = Scope::new(self.parsed, self.asked, own);
        let initialize = match &shape.initialize {
            None => Made::AsNeeded,
            Some(Either::Short(command)) => Made::By(scope.command(&[at, &["initialize"]].concat(), command)?),
            Some(Either::Full(wishes)) => Made::Declared(scope.wishes(&[at, &["initialize"]].concat(), wishes)?),
        };
        let (report, price, list) = match &shape.report {
            None => (Told::Built, None, false),
            Some(Either::Short(command)) => (Told::By(scope.command(&[at, &["report"]].concat(), command)?), None, false),
            Some(Either::Full(how)) => {
                let price = scope.value(&[at, &["report", "price"]].concat(), how.price.as_ref(), |text| Ok(text.to_owned()))?;
                (Told::Built, price, how.list)
            }
        };
        Ok(Place { name, url, initialize, report, price, list })
    }

    fn wishes(&self, at: &[&str], shape: &InitializeShape) -> Result<Initialize> {
        let at = |name| [at, &[name]].concat();
        Ok(Initialize {
            versioning: shape.versioning,
            abort_uploads_after_days: self.value(&at("abort_uploads_after"), shape.abort_uploads_after.as_ref(), values::days)?,
            expire_old_versions_after_days: self.value(
                &at("expire_old_versions_after"),
                shape.expire_old_versions_after.as_ref(),
                values::days,
            )?,
            block_public: shape.block_public,
            lock: self.value(&at("lock"), shape.lock.as_ref(), values::lock)?,
            region: self.value(&at("region"), shape.region.as_ref(), |text| Ok(text.to_owned()))?,
        })
    }

    fn keep(&self, at: &[&str], shape: &KeepShape) -> Result<KeepRules> {
        let number = |name, word: &Option<Word>| {
            let parse = |text: &str| text.parse::<u64>().map_err(|_| format!("`{text}` is no number of snapshots"));
            Ok::<_, Error>(self.value(&[at, &[name]].concat(), word.as_ref(), parse)?.unwrap_or(0))
        };
        Ok(KeepRules {
            last: number("last", &shape.last)?,
            daily: number("daily", &shape.daily)?,
            weekly: number("weekly", &shape.weekly)?,
            monthly: number("monthly", &shape.monthly)?,
            within: self.value(&[at, &["within"]].concat(), shape.within.as_ref(), values::duration)?,
        })
    }

    fn settings(&self, name: &str, shape: &JobShape, kind: Option<&str>) -> Result<Settings> {
        let mut settings = Settings {
            filter: Filter::default(),
            exclude_caches: false,
            one_file_system: false,
            checksum: false,
            adopt: false,
            keep: KeepRules { within: Some(KEPT), ..KeepRules::default() },
            limits: Limits::default(),
            limit_upload: None,
            limit_download: None,
            transfers: None,
        };
        if let Some(keep) = &shape.keep {
            settings.keep = self.keep(&["jobs", name, "keep"], keep)?;
        }
        let mut rules = Vec::new();
        for types in [Some(ALL_TYPES), kind].into_iter().flatten() {
            if let Some(Either::Full(options)) = shape.options.get(types) {
                self.apply(&["jobs", name, "options", types], options, &mut settings, &mut rules)?;
            }
        }
        settings.filter = Filter::new(&rules, &[]).map_err(|what| self.parsed.error(&["jobs", name, "options"], what))?;
        Ok(settings)
    }

    /// What one object of options says, over what was said before.
    fn apply(&self, at: &[&str], options: &OptionsShape, settings: &mut Settings, rules: &mut Vec<String>) -> Result<()> {
        let at = |name| [at, &[name]].concat();
        rules.extend(self.rules(&at, &options.exclude, &options.include, &options.exclude_from)?);
        let set = |to: &mut bool, value: Option<bool>| *to = value.unwrap_or(*to);
        set(&mut settings.exclude_caches, options.exclude_caches);
        set(&mut settings.one_file_system, options.one_file_system);
        set(&mut settings.checksum, options.checksum);
        set(&mut settings.adopt, options.adopt);
        set(&mut settings.limits.allow_empty, options.allow_empty);
        if let Some(keep) = &options.keep {
            settings.keep = self.keep(&at("keep"), keep)?;
        }
        let limits = &mut settings.limits;
        limits.removals = self.value(&at("max_removals"), options.max_removals.as_ref(), values::share)?.unwrap_or(limits.removals);
        limits.rewrites = self.value(&at("max_rewrites"), options.max_rewrites.as_ref(), values::share)?.unwrap_or(limits.rewrites);
        limits.max_bytes = self.value(&at("max_bytes"), options.max_bytes.as_ref(), values::size)?.or(limits.max_bytes);
        limits.max_cost = self.value(&at("max_cost"), options.max_cost.as_ref(), values::dollars)?.or(limits.max_cost);
        settings.limit_upload = self.value(&at("limit_upload"), options.limit_upload.as_ref(), values::rate)?.or(settings.limit_upload);
        settings.limit_download =
            self.value(&at("limit_download"), options.limit_download.as_ref(), values::rate)?.or(settings.limit_download);
        settings.transfers = self.value(&at("transfers"), options.transfers.as_ref(), values::count)?.or(settings.transfers);
        Ok(())
    }

    /// Rules of a filter: what is left out first, then what is taken after all.
    fn rules<'b>(
        &self,
        at: &impl Fn(&'static str) -> Vec<&'b str>,
        exclude: &Several<String>,
        include: &Several<String>,
        from: &Several<String>,
    ) -> Result<Vec<String>> {
        let mut rules = Vec::new();
        for file in self.texts(&at("exclude_from"), from)? {
            let text = std::fs::read_to_string(&file).map_err(|e| self.parsed.error(&at("exclude_from"), format!("{file}: {e}")))?;
            rules.extend(text.trim_start_matches('\u{feff}').lines().map(str::to_owned));
        }
        rules.extend(self.texts(&at("exclude"), exclude)?.iter().map(|pattern| Filter::leaving_out(pattern)));
        rules.extend(self.texts(&at("include"), include)?.iter().map(|pattern| Filter::taking(pattern)));
        Ok(rules)
    }

    fn dumps(&self, name: &str, shape: &JobShape) -> Result<Vec<Dump>> {
        let resolved = |(file, shape): &(String, Either<Command, DumpShape>)| {
            let at = |key| ["jobs", name, "dumps", file.as_str(), key];
            let file_name = self.text(&at("")[..4], file)?;
            if file_name.is_empty() || file_name.contains('/') || file_name == ".offsite" || file_name == "." || file_name == ".." {
                return Err(self.parsed.error(&at("")[..4], "a dump has the name of a file at the top of the snapshot, without a slash"));
            }
            let own = DumpShape {
                comment: None,
                command: Command::Shell(String::new()),
                compress: None,
                min_size: None,
                max_shrink: None,
                timeout: None,
            };
            let (command, shape) = match shape {
                Either::Short(command) => (command, &own),
                Either::Full(shape) => (&shape.command, shape),
            };
            Ok(Dump {
                name: file_name,
                command: self.command(&at("command"), command)?,
                compress: self.value(&at("compress"), shape.compress.as_ref(), values::zstd)?,
                min_size: self.value(&at("min_size"), shape.min_size.as_ref(), values::size)?.unwrap_or(1),
                max_shrink: self.value(&at("max_shrink"), shape.max_shrink.as_ref(), values::share)?,
                timeout: self.value(&at("timeout"), shape.timeout.as_ref(), values::duration)?.unwrap_or(DUMP_TIMEOUT),
            })
        };
        let mut dumps = shape.dumps.0.iter().map(resolved).collect::<Result<Vec<_>>>()?;
        dumps.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(dumps)
    }

    fn profiles(&self, name: &str, shape: &JobShape) -> Result<Vec<(String, Profile)>> {
        let resolved = |(profile, shape): &(String, ProfileShape)| {
            let at = |key| vec!["jobs", name, "profiles", profile.as_str(), key];
            let resolved = Profile {
                only: self.texts(&at("only"), &shape.only)?,
                rules: self.rules(&at, &shape.exclude, &shape.include, &Several::default())?,
                max_size: self.value(&at("max_size"), shape.max_size.as_ref(), values::size)?,
                delete: shape.delete.unwrap_or(false),
                after: self.commands(&at("after"), &shape.after)?,
            };
            Ok((profile.clone(), resolved))
        };
        shape.profiles.0.iter().map(resolved).collect()
    }
}
