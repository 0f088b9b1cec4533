//! Parses the text of a config file.
//!
//! Owns the errors: each names the file, the line and the path of the key, and for an unknown key the nearest known
//! one.
//! Invariant: an accepted file has no duplicate keys.

use std::path::Path;

use super::lines::{LineIndex, too_deep};
use super::shape::ConfigFile;
use crate::error::{Error, Result};

/// A config file, with the lines of its keys.
#[derive(Debug)]
pub struct Parsed {
    /// The file, with nothing expanded.
    pub file: ConfigFile,
    lines: LineIndex,
    name: String,
}

impl Parsed {
    /// Parses a text. `path` is for errors.
    ///
    /// # Errors
    /// [`Error::Usage`] if the text is not a config.
    pub fn from_text(text: &str, path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let text = text.trim_start_matches('\u{feff}');
        if text.trim().is_empty() {
            return Err(Error::Usage(format!("{name}: the file is empty; `offsite config schema` shows what it can have")));
        }
        // This checks first that the text is JSON, because the positions in any other text would be wrong.
        if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text) {
            return Err(Error::Usage(format!("{name}:{}:{}: {}", error.line(), error.column(), bare(&error))));
        }
        if !text.trim_start().starts_with('{') {
            return Err(Error::Usage(format!("{name}:1: a config is a JSON object; `offsite config schema` shows what it can have")));
        }
        if let Some(line) = too_deep(text) {
            return Err(Error::Usage(format!("{name}:{line}: too many nested brackets")));
        }
        let lines = LineIndex::of(text);
        if let Some((path, line)) = &lines.twice {
            return Err(Error::Usage(format!("{name}:{line}: {}: this key appears twice; keep one of them", dotted(path))));
        }
        let mut json = serde_json::Deserializer::from_str(text);
        let file = serde_path_to_error::deserialize(&mut json).map_err(|error| {
            let path = path_of(error.path());
            let line = if path.is_empty() { error.inner().line() } else { lines.line(&path) };
            Error::Usage(format!("{name}:{line}: {}{}", with_colon(&path), advice(&bare(error.inner()))))
        })?;
        Ok(Self { file, lines, name })
    }

    /// An error about the value of a key, with file and line.
    pub fn error(&self, path: &[&str], what: impl std::fmt::Display) -> Error {
        let path: Vec<String> = path.iter().map(|part| (*part).to_owned()).collect();
        Error::Usage(format!("{}:{}: {}{what}", self.name, self.lines.line(&path), with_colon(&path)))
    }

    /// The file's name, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }
}

fn path_of(path: &serde_path_to_error::Path) -> Vec<String> {
    use serde_path_to_error::Segment;
    let parts = path.iter().filter_map(|segment| match segment {
        Segment::Seq { index } => Some(index.to_string()),
        Segment::Map { key } => Some(key.clone()),
        Segment::Enum { .. } | Segment::Unknown => None,
    });
    parts.collect()
}

/// A path in the notation of messages.
fn dotted(path: &[String]) -> String {
    path.join(".")
}

fn with_colon(path: &[String]) -> String {
    if path.is_empty() { String::new() } else { format!("{}: ", dotted(path)) }
}

/// `serde_json`'s message without the position, which offsite puts before it.
fn bare(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or(&text).to_owned()
}

/// serde's message. For an unknown key it names the nearest known one.
fn advice(text: &str) -> String {
    let Some(rest) = text.strip_prefix("unknown field `") else { return text.to_owned() };
    let mut quoted = rest.split('`');
    let unknown = quoted.next().unwrap_or_default();
    let known: Vec<&str> = quoted.skip(1).step_by(2).filter(|name| *name != "comment").collect();
    match nearest(unknown, known.iter().copied()) {
        Some(near) => format!("unknown key `{unknown}`; did you mean `{near}`?"),
        None => format!("unknown key `{unknown}`; the keys are {}", known.join(", ")),
    }
}

/// The known name that is most similar to `name`. None if no name is similar enough.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let scored = known.into_iter().map(|known| (strsim::damerau_levenshtein(name, known), known));
    let (distance, near) = scored.min_by_key(|(distance, _)| *distance)?;
    (distance <= name.chars().count().div_ceil(3).max(1)).then_some(near)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(text: &str, said: &str) {
        let error = Parsed::from_text(text, Path::new("c.json")).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }

    #[test]
    fn errors_name_line_path_and_the_nearest_key() {
        refused("", "c.json: the file is empty");
        refused("{\n \"jobs\": {,}\n}", "c.json:2:");
        refused(
            "{\n\"jobs\": {\n\"a\": {\"source\": \"/s\",\n\"destinatons\": []}}}",
            "jobs.a.destinatons: unknown key `destinatons`; did you mean `destinations`?",
        );
        refused("{\"jobs\": {\"a\": {\"source\": \"/s\"}}}", "jobs.a: missing field `destinations`");
        refused("{\n\"jobs\": {},\n\"jobs\": {}}", "c.json:3: jobs: this key appears twice");
        refused(
            "{\"jobs\": {\"a\": {\"source\": \"/s\", \"destinations\": [], \"options\": {\"t\":\n \"ignored\"}}}}",
            "jobs.a.options.t: unknown variant `ignored`, expected `ignore`",
        );
        refused("[]", "c.json:1: ");
        refused(&format!("{{\n\"comment\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000)), "c.json:2: too many nested brackets");
        refused("{\"jobs\": {\"comment\": {\"source\": \"/s\", \"destinations\": []}}}", "`comment` must be a string");
        refused("{\"wholly\": 1}", "the keys are $schema, variables");
    }

    #[test]
    fn the_order_of_the_file_stays_and_comments_stand_anywhere() {
        let text = r#"{ "comment": "x", "destinations": { "comment": "c", "nas": { "url": "/n", "comment": 1 }, "b": "/b" },
            "jobs": { "z": { "source": "/s", "destinations": ["nas"], "keep": { "daily": 7, "within": "3d" } },
                      "a": { "source": "/t", "destinations": [], "options": { "t": "ignore", "*": { "exclude": "x/" } },
                             "before": [["a", "b"], "c | d"] } } }"#;
        let file = Parsed::from_text(text, Path::new("c.json")).unwrap().file;
        assert_eq!(file.jobs.names().collect::<Vec<_>>(), ["z", "a"]);
        assert_eq!(file.destinations.names().collect::<Vec<_>>(), ["nas", "b"]);
    }
}
