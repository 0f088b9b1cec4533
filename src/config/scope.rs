//! The variables at one position of the config.
//!
//! Owns the order of the lookup of a variable, and the expansion of texts, values and commands.
//! Invariant: a text that cannot be expanded or parsed is an error that names file, line and path.

use std::cell::Cell;

use super::asked::Selection;
use super::expand::{expand, expand_url};
use super::parse::Parsed;
use super::words::{Command, Several, Word};
use crate::error::Result;

/// A position of the config with its variables.
pub(super) struct Scope<'a> {
    /// The config file.
    pub parsed: &'a Parsed,
    /// The selection, with the values of variables.
    pub asked: &'a Selection<'a>,
    /// offsite's own variables, by their names without `OFFSITE_`.
    pub own: Vec<(String, String)>,
}

impl<'a> Scope<'a> {
    /// `own` are offsite's own variables at this position. The host is added to them.
    pub fn new(parsed: &'a Parsed, asked: &'a Selection<'a>, mut own: Vec<(String, String)>) -> Self {
        own.push(("HOST".to_owned(), asked.host.to_owned()));
        Self { parsed, asked, own }
    }

    /// The value of a variable. The order is: command line, offsite's own variables, environment, config.
    pub fn lookup(&self, name: &str) -> Option<String> {
        let found = |all: &[(String, String)]| all.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        found(self.asked.set)
            .or_else(|| found(&self.own))
            .or_else(|| (self.asked.env)(name))
            .or_else(|| self.parsed.file.variables.get(name).cloned())
    }

    /// Expands a text. `at` is the path of its key, for errors.
    pub fn text(&self, at: &[&str], text: &str) -> Result<String> {
        expand(text, &|name| self.lookup(name)).map_err(|what| self.parsed.error(at, what))
    }

    /// A URL or a path. An empty value counts as unset, because it would lead into the parent directory, which holds
    /// the destinations of other jobs. offsite's own variables may be empty (`$TYPE` of a job without a type).
    pub fn url(&self, at: &[&str], text: &str) -> Result<String> {
        let empty = Cell::new(false);
        let lookup = |name: &str| {
            let value = self.lookup(name)?;
            let given = self.asked.set.iter().any(|(known, _)| known == name) || !self.own.iter().any(|(known, _)| known == name);
            empty.set(empty.get() || (value.is_empty() && given));
            Some(value).filter(|value| !value.is_empty() || !given)
        };
        expand_url(text, &lookup).map_err(|what| {
            let said = "is empty, and in a path that means the directory above (write `${NAME:-}` if it is intended)";
            let what = if empty.get() { what.replacen("is not set", said, 1) } else { what };
            self.parsed.error(at, what)
        })
    }

    /// Expands several texts.
    pub fn texts(&self, at: &[&str], texts: &Several<String>) -> Result<Vec<String>> {
        texts.0.iter().map(|text| self.text(at, text)).collect()
    }

    /// Expands and parses a value.
    pub fn value<T>(&self, at: &[&str], word: Option<&Word>, parse: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>> {
        let Some(Word(text)) = word else { return Ok(None) };
        let text = self.text(at, text)?;
        parse(&text).map(Some).map_err(|what| self.parsed.error(at, what))
    }

    /// The variables in the environment of commands.
    pub fn exported(&self) -> Vec<(String, String)> {
        let own = self.own.iter().map(|(name, value)| (format!("OFFSITE_{name}"), value.clone()));
        let given = self.parsed.file.variables.0.iter().filter(|(name, _)| (self.asked.env)(name).is_none());
        own.chain(given.cloned()).chain(self.asked.set.iter().cloned()).collect()
    }

    /// Expands the arguments of programs. The shell expands the variables of a shell line.
    pub fn commands(&self, at: &[&str], commands: &[Command]) -> Result<Vec<Command>> {
        commands.iter().map(|command| self.command(at, command)).collect()
    }

    /// [`Self::commands`] for one command.
    pub fn command(&self, at: &[&str], command: &Command) -> Result<Command> {
        Ok(match command {
            Command::Shell(line) => Command::Shell(line.clone()),
            Command::Program(written) | Command::Expanded { written, .. } => Command::Expanded {
                words: written.iter().map(|word| self.text(at, word)).collect::<Result<_>>()?,
                written: written.clone(),
            },
        })
    }
}
