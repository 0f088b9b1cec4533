//! The options of a job: those of all types, and over them those of the one that is run.
//!
//! Owns their order and their defaults, which are those of the flags of `offsite sync`.

use super::job::JobSettings;
use super::resolve::ALL_TYPES;
use super::scope::Scope;
use super::shape::{JobShape, KeepShape, OptionsShape};
use super::values;
use super::words::{Either, Several, Word};
use crate::error::{Error, Result};
use crate::model::{KeepRules, Zone};
use crate::plan::Limits;
use crate::scan::Filter;

/// What is kept where nothing is said, as with `offsite sync`: 30 days.
const KEPT: u64 = 30 * 86_400;

impl Scope<'_> {
    fn keep(&self, at: &[&str], shape: &KeepShape) -> Result<KeepRules> {
        let number = |name, word: &Option<Word>| {
            let parse = |text: &str| text.parse::<u64>().map_err(|_| format!("`{text}` is no number of snapshots"));
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
            let what = "no rule says what stays, so everything but the newest would go; say `\"within\": \"30d\"` or another, or `\"last\": 1` if you mean it";
            return Err(self.parsed.error(at, what));
        }
        Ok(rules)
    }

    pub fn settings(&self, name: &str, shape: &JobShape, kind: Option<&str>) -> Result<JobSettings> {
        let mut settings = JobSettings {
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
    fn apply(&self, at: &[&str], options: &OptionsShape, settings: &mut JobSettings, rules: &mut Vec<String>) -> Result<()> {
        let at = |name| [at, &[name]].concat();
        rules.extend(self.rules(&at, &options.exclude, &options.include, &options.exclude_from)?);
        let set = |to: &mut bool, value: Option<bool>| *to = value.unwrap_or(*to);
        set(&mut settings.exclude_caches, options.exclude_caches);
        set(&mut settings.one_file_system, options.one_file_system);
        set(&mut settings.checksum, options.checksum);
        set(&mut settings.adopt, options.adopt);
        set(&mut settings.limits.allow_empty, options.allow_empty);
        set(&mut settings.limits.take_over, options.take_over);
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
