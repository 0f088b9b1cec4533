//! The sections of a job, resolved: hooks, notifications, destinations, dumps, profiles.
//!
//! Owns what each of their keys means. `options.rs` has the options, which differ by type.

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::Arc;

use offsite_backends::Initialize;

use super::expand::expand;
use super::job::{Hooks, InitializeMethod, JobDestination, JobDump, JobSeal, Notify, Profile, ReportMethod};
use super::parse::nearest;
use super::passphrase::PassphraseCommand;
use super::scope::Scope;
use super::shape::{Absent, DestinationShape, DumpShape, InitializeShape, JobShape, NotifyShape, ProfileShape, SealShape};
use super::words::{Command, Either, Several};
use super::{values, volumes};
use crate::engine::{PassphraseSource, SealWish};
use crate::error::Result;
use crate::model::Layout;

/// Default time limit of a dump, in seconds.
const DUMP_TIMEOUT: u64 = 12 * 3600;

impl Scope<'_> {
    /// Hooks from the lists of `before`, `after`, `on_failure` and `finally`. `timeout` is in seconds.
    pub fn hooks(&self, at: &[&str], lists: (&[Command], &[Command], &[Command], &[Command]), timeout: u64) -> Result<Hooks> {
        let of = |name, commands| self.commands(&[at, &[name]].concat(), commands);
        Ok(Hooks {
            before: of("before", lists.0)?,
            after: of("after", lists.1)?,
            on_failure: of("on_failure", lists.2)?,
            finally: of("finally", lists.3)?,
            timeout,
        })
    }

    /// Notifications.
    pub fn notify(&self, at: &[&str], shape: Option<&NotifyShape>) -> Result<Notify> {
        let Some(shape) = shape else { return Ok(Notify::default()) };
        let url = |name, text: &Option<String>| {
            let at = [at, &[name]].concat();
            let url = text.as_ref().map(|text| self.text(&at, text)).transpose()?;
            match url.as_ref().is_some_and(|url| !url.starts_with("https://") && !url.starts_with("http://")) {
                true => Err(self.parsed.error(&at, "this must be an http:// or https:// URL")),
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

    /// Whether a destination depends on the volume.
    pub fn tells_apart(&self, at: &[&str], text: &str) -> Result<bool> {
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

    /// A destination. `text` is its name or its URL.
    pub fn place(&self, at: &[&str], text: &str, subdirectory: &str) -> Result<JobDestination> {
        let (written, text) = (text, self.text(at, text)?);
        let named = self.parsed.file.destinations.get(&text);
        let looks_like_a_name = !text.contains(['/', ':']) && !text.starts_with('~') && !text.is_empty();
        let (name, shape) = match named {
            Some(Either::Full(shape)) => (Some(text.clone()), shape.clone()),
            Some(Either::Short(url)) => (Some(text.clone()), DestinationShape { url: url.clone(), ..DestinationShape::default() }),
            None if looks_like_a_name => {
                let near =
                    nearest(&text, self.parsed.file.destinations.names()).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
                return Err(self.parsed.error(at, format!("unknown destination `{text}`{near}")));
            }
            None => (None, DestinationShape { url: written.to_owned(), ..DestinationShape::default() }),
        };
        let there = ["destinations", name.as_deref().unwrap_or_default()];
        let at = if name.is_some() { &there[..] } else { at };
        let url_at = if name.is_some() { [at, &["url"]].concat() } else { at.to_vec() };
        let url = super::resolve::below(&self.url(&url_at, &shape.url)?, subdirectory);
        let spoken = offsite_backends::Location::parse(&url)
            .and_then(|location| offsite_backends::spoken(&location).map(|()| location.is_directory()));
        let is_directory = spoken.map_err(|e| self.parsed.error(&url_at, e))?;
        let mut own = self.own.clone();
        own.push(("DESTINATION".to_owned(), url.clone()));
        let scope = Scope::new(self.parsed, self.asked, own);
        let initialize = match &shape.initialize {
            None => InitializeMethod::AsNeeded,
            Some(Either::Short(command)) => InitializeMethod::By(scope.command(&[at, &["initialize"]].concat(), command)?),
            Some(Either::Full(wishes)) => InitializeMethod::Declared(scope.wishes(&[at, &["initialize"]].concat(), wishes)?),
        };
        let (report, price, list) = match &shape.report {
            None => (ReportMethod::BuiltIn, None, false),
            Some(Either::Short(command)) => (ReportMethod::By(scope.command(&[at, &["report"]].concat(), command)?), None, false),
            Some(Either::Full(how)) => {
                let price = scope.value(&[at, &["report", "price"]].concat(), how.price.as_ref(), values::price)?;
                (ReportMethod::BuiltIn, price, how.list)
            }
        };
        let max_age = scope.value(&[at, &["max_age"]].concat(), shape.max_age.as_ref(), values::duration)?;
        if shape.absent == Absent::Skip && !is_directory {
            let what = "only a directory can be absent; remove `absent`, and a server that cannot be reached fails the job";
            return Err(self.parsed.error(&[at, &["absent"]].concat(), what));
        }
        let seal = shape.seal.as_ref().map(|seal| scope.seal(&[at, &["seal"]].concat(), seal)).transpose()?;
        if seal.is_some() && shape.layout == Some(Layout::Mirror) {
            return Err(self.parsed.error(&[at, &["layout"]].concat(), "a sealed destination is packed; remove `layout`"));
        }
        if shape.append_only && is_directory {
            let what = "a directory cannot be append-only, because anyone who may write there may also delete; remove `append_only`";
            return Err(self.parsed.error(&[at, &["append_only"]].concat(), what));
        }
        let (layout, append_only, repack) = (shape.layout, shape.append_only, shape.repack.unwrap_or(true));
        Ok(JobDestination { seal, append_only, repack, name, url, initialize, report, price, list, absent: shape.absent, max_age, layout })
    }

    fn seal(&self, at: &[&str], shape: &SealShape) -> Result<JobSeal> {
        let to = shape.to.0.iter().map(|text| self.text(&[at, &["to"]].concat(), text)).collect::<Result<Vec<_>>>()?;
        let file = |name, text: &Option<String>| text.as_ref().map(|text| self.text(&[at, &[name]].concat(), text)).transpose();
        let (key, identity) = (file("key", &shape.key)?, file("identity", &shape.identity)?);
        let command = shape.passphrase_command.as_ref();
        let command = command.map(|command| self.command(&[at, &["passphrase_command"]].concat(), command)).transpose()?;
        let source = |command| Arc::new(PassphraseCommand::new(command, self.own.clone())) as Arc<dyn PassphraseSource>;
        let wish = SealWish { to, only_key: shape.only_key, passphrase: command.map(source) };
        Ok(JobSeal { wish, key: key.map(PathBuf::from), identity: identity.map(PathBuf::from) })
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
            encryption: self.value(&at("encryption"), shape.encryption.as_ref(), values::encryption)?,
            block_public: shape.block_public,
            lock: self.value(&at("lock"), shape.lock.as_ref(), values::lock)?,
            region: self.value(&at("region"), shape.region.as_ref(), |text| Ok(text.to_owned()))?,
        })
    }

    /// Dumps, in order of their names.
    pub fn dumps(&self, name: &str, shape: &JobShape) -> Result<Vec<JobDump>> {
        let resolved = |(file, shape): &(String, Either<Command, DumpShape>)| {
            let at = |key| ["jobs", name, "dumps", file.as_str(), key];
            let file_name = self.text(&at("")[..4], file)?;
            if file_name.is_empty() || file_name.contains('/') || file_name == ".offsite" || file_name == "." || file_name == ".." {
                return Err(self
                    .parsed
                    .error(&at("")[..4], "the name of a dump is that of a file at the top of the snapshot, without a slash"));
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
            Ok(JobDump {
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

    /// Profiles, in the order of the file.
    pub fn profiles(&self, name: &str, shape: &JobShape) -> Result<Vec<(String, Profile)>> {
        let resolved = |(profile, shape): &(String, ProfileShape)| {
            let at = |key| vec!["jobs", name, "profiles", profile.as_str(), key];
            let resolved = Profile {
                only: self.texts(&at("only"), &shape.only)?,
                rules: self.rules(&at, &shape.exclude, &shape.include, &Several::default())?,
                max_size: self.value(&at("max_size"), shape.max_size.as_ref(), values::size)?,
                delete: shape.delete.unwrap_or(false),
                privileges: shape.privileges,
                after: self.commands(&at("after"), &shape.after.0)?,
            };
            Ok((profile.clone(), resolved))
        };
        shape.profiles.0.iter().map(resolved).collect()
    }
}
