//! The options of a job: those of all types, overridden by those of the type that is run.
//!
//! Owns their order and their defaults, which are those of the flags of `offsite sync`.

use super::resolve::ALL_TYPES;
use super::scope::Scope;
use super::shape::{JobShape, KeepShape, OptionsShape};
use super::values;
use super::words::{Either, Several, Word};
use crate::engine::SyncOptions;
use crate::error::{Error, Result};
use crate::model::{KeepRules, Zone};
use crate::scan::Filter;

impl Scope<'_> {
    fn keep(&self, at: &[&str], shape: &KeepShape) -> Result<KeepRules> {
        let number = |name, word: &Option<Word>| {
            let parse = |text: &str| text.parse::<u64>().map_err(|_| format!("`{text}` is not a number of snapshots"));
            Ok::<_, Error>(self.value(&[at, &[name]].concat(), word.as_ref(), parse)?.unwrap_or(0))
        };
        let rules = KeepRules {
            last: number("last", &shape.last)?,
            daily: number("daily", &shape.daily)?,
            weekly: number("weekly", &shape.weekly)?,
            monthly: number("monthly", &shape.monthly)?,
            within: self.value(&[at, &["within"]].concat(), shape.within.as_ref(), values::duration)?,
            zone: self.value(&[at, &["zone"]].concat(), shape.zone.as_ref(), Zone::named)?.unwrap_or_default(),
        };
        if rules.is_empty() {
            let what = "no rule keeps any snapshot, so all but the newest would be deleted; write `\"within\": \"30d\"` or another, or `\"last\": 1` if you mean it";
            return Err(self.parsed.error(at, what));
        }
        Ok(rules)
    }

    /// The options of the sync of a job.
    pub fn options(&self, name: &str, shape: &JobShape, kind: Option<&str>) -> Result<SyncOptions> {
        let mut to = SyncOptions { job: Some(name.to_owned()), kind: kind.map(str::to_owned), ..SyncOptions::default() };
        if let Some(keep) = &shape.keep {
            to.keep = self.keep(&["jobs", name, "keep"], keep)?;
        }
        let mut rules = Vec::new();
        for types in [Some(ALL_TYPES), kind].into_iter().flatten() {
            if let Some(Either::Full(options)) = shape.options.get(types) {
                self.apply(&["jobs", name, "options", types], options, &mut to, &mut rules)?;
            }
        }
        to.walk.filter = Filter::new(&rules, &[]).map_err(|what| self.parsed.error(&["jobs", name, "options"], what))?;
        Ok(to)
    }

    /// Applies one object of options over the earlier ones.
    fn apply(&self, at: &[&str], options: &OptionsShape, to: &mut SyncOptions, rules: &mut Vec<String>) -> Result<()> {
        let at = |name| [at, &[name]].concat();
        rules.extend(self.rules(&at, &options.exclude, &options.include, &options.exclude_from)?);
        let set = |flag: &mut bool, value: Option<bool>| *flag = value.unwrap_or(*flag);
        set(&mut to.walk.exclude_caches, options.exclude_caches);
        set(&mut to.walk.one_file_system, options.one_file_system);
        set(&mut to.checksum, options.checksum);
        set(&mut to.adopt, options.adopt);
        set(&mut to.limits.allow_empty, options.allow_empty);
        set(&mut to.limits.take_over, options.take_over);
        if let Some(keep) = &options.keep {
            to.keep = self.keep(&at("keep"), keep)?;
        }
        let most = self.value(&at("exclude_larger_than"), options.exclude_larger_than.as_ref(), values::size)?;
        to.walk.exclude_larger_than = most.or(to.walk.exclude_larger_than);
        let limits = &mut to.limits;
        limits.removals = self.value(&at("max_removals"), options.max_removals.as_ref(), values::share)?.unwrap_or(limits.removals);
        limits.rewrites = self.value(&at("max_rewrites"), options.max_rewrites.as_ref(), values::share)?.unwrap_or(limits.rewrites);
        limits.max_bytes = self.value(&at("max_bytes"), options.max_bytes.as_ref(), values::size)?.or(limits.max_bytes);
        limits.max_cost = self.value(&at("max_cost"), options.max_cost.as_ref(), values::dollars)?.or(limits.max_cost);
        to.limit_upload = self.value(&at("limit_upload"), options.limit_upload.as_ref(), values::rate)?.or(to.limit_upload);
        to.limit_download = self.value(&at("limit_download"), options.limit_download.as_ref(), values::rate)?.or(to.limit_download);
        to.transfers = self.value(&at("transfers"), options.transfers.as_ref(), values::count)?.or(to.transfers);
        Ok(())
    }

    /// Rules of a filter: those of `from` files, then the exclusions, then the inclusions. A later rule wins.
    pub fn rules<'b>(
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
}
