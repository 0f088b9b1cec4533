//! The words of the house: phrases that `STYLE.md` excludes occur in no help, message or page, and links lead somewhere.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What a reader has to translate, and what to write instead.
const BANNED: &[(&str, &str)] = &[
    ("as it must be", "OK, valid"),
    ("did not do all", "failed"),
    ("was failed", "failed"),
    ("let go", "expire, delete"),
    ("lets go", "expire, delete"),
    ("is to be", "must be"),
    ("are to be", "must be"),
    ("there any more", "no longer exists"),
    ("has it no more", "no longer has it"),
    ("not there now", "missing"),
    ("it is not there", "missing"),
    ("written over", "overwritten"),
    ("write over", "overwrite"),
    ("made anew", "created again"),
    ("anew", "again"),
    ("brought over", "restored"),
    ("brings over", "restores"),
    ("cut off", "interrupted"),
    ("under way", "in progress"),
    ("leave word", "write a run record"),
    ("leaves word", "writes a run record"),
    ("so many bytes", "this many bytes"),
    ("at the most", "at most"),
    ("of systemd's", "systemd's"),
    ("of cron's", "cron's"),
    ("of others'", "other"),
    ("nobody's", "not offsite's"),
    ("blotted out", "redacted"),
    ("lie one inside", "are one inside"),
    ("stands in its place", "replaced it"),
    ("is no directory", "is not a directory"),
    ("is no number", "is not a number"),
    ("is no file", "is not a file"),
    ("place apart", "separate destination"),
    ("look whether", "check whether"),
    ("goes on where it stopped", "continues where it stopped"),
    ("to go on", "to continue"),
    ("runs out by itself", "expires by itself"),
    ("given back", "released"),
    ("whoever", "anyone who"),
    ("least rights", "permissions"),
    ("leer", "empty"),
];

/// Pages whose wording is not free: the glossary and the style name what they exclude.
const EXEMPT: &[&str] = &["STYLE.md", "docs/glossary.md"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![root().join(folder)]);
    while let Some(dir) = folders.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty(), "{folder}");
    found
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

/// The pages that people read.
fn pages() -> Vec<PathBuf> {
    let top = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path());
    let top = top.filter(|path| path.extension().is_some_and(|ending| ending == "md"));
    top.chain(fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "md"))
        .collect()
}

/// The phrases of the list that a text has, as whole words.
fn met(text: &str) -> Vec<String> {
    let text = text.to_lowercase();
    let edge = |c: Option<char>| !c.is_some_and(char::is_alphanumeric);
    let has = |phrase: &str| {
        text.match_indices(phrase).any(|(at, _)| edge(text[..at].chars().next_back()) && edge(text[at + phrase.len()..].chars().next()))
    };
    BANNED.iter().filter(|(phrase, _)| has(phrase)).map(|(phrase, better)| format!("`{phrase}` (write: {better})")).collect()
}

/// The string literals of a source file, without its tests and comments.
fn literals(source: &str) -> Vec<String> {
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    let mut found = Vec::new();
    for line in joined(code).lines().filter(|line| !line.trim_start().starts_with("//")) {
        let (mut inside, mut escaped, mut word) = (false, false, String::new());
        for c in line.chars() {
            match c {
                _ if escaped => (escaped, word) = (false, word + "."),
                '\\' => escaped = true,
                '"' if inside => (inside, ()) = (false, found.push(std::mem::take(&mut word))),
                '"' => inside = true,
                c if inside => word.push(c),
                _ => {}
            }
        }
    }
    found
}

/// A literal that goes on in the next line, on one line.
fn joined(code: &str) -> String {
    let (mut text, mut skips) = (String::new(), false);
    for line in code.lines() {
        let line = if skips { line.trim_start() } else { line };
        skips = line.ends_with('\\');
        text.push_str(line.strip_suffix('\\').unwrap_or(line));
        if !skips {
            text.push('\n');
        }
    }
    text
}

/// The doc comments that clap shows as help.
fn help(source: &str) -> Vec<String> {
    source.lines().filter_map(|line| line.trim_start().strip_prefix("/// ")).map(str::to_owned).collect()
}

#[test]
fn messages_and_help_have_none_of_the_banned_phrases() {
    let mut wrong = BTreeSet::new();
    for path in files("src", ".rs") {
        let name = shown(&path);
        if name.ends_with("tests.rs") {
            continue;
        }
        let source = fs::read_to_string(&path).unwrap();
        let is_help = name.starts_with("src/cli/args") || name.starts_with("src/cli/verbs/");
        for text in literals(&source).into_iter().chain(if is_help { help(&source) } else { Vec::new() }) {
            met(&text).into_iter().for_each(|phrase| _ = wrong.insert(format!("{name}: {phrase} in \"{text}\"")));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn pages_have_none_of_the_banned_phrases() {
    let mut wrong = BTreeSet::new();
    for path in pages().into_iter().filter(|path| !EXEMPT.contains(&shown(path).as_str())) {
        let mut fenced = false;
        for (index, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
            // Outputs are the program's.
            fenced ^= line.starts_with("```");
            if fenced {
                continue;
            }
            // What is in backticks is a name of a test, a file or a message.
            let prose = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
            met(&prose).into_iter().for_each(|phrase| _ = wrong.insert(format!("{}:{}: {phrase}", shown(&path), index + 1)));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A heading as its link's end.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_')).map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn links_lead_to_files_and_headings() {
    let mut wrong = Vec::new();
    for path in pages() {
        let text = fs::read_to_string(&path).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") || link.contains(' ') {
                continue;
            }
            let (file, heading) = link.split_once('#').map_or((link, None), |(file, heading)| (file, Some(heading)));
            let target = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            let found = target.exists()
                && heading.is_none_or(|heading| {
                    let text = fs::read_to_string(&target).unwrap_or_default();
                    text.lines().filter(|line| line.starts_with('#')).any(|line| anchor(line) == heading)
                });
            if !found {
                wrong.push(format!("{}: {link}", shown(&path)));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_banned_phrase_is_met_as_whole_words() {
    assert_eq!(met("the outlet goes").len(), 0);
    assert_eq!(met("Snapshots are LET GO.").len(), 1);
    assert_eq!(literals("f(\"one \\\n    two\"); // \"three\""), ["one two", "three"]);
}
