//! What each source file imports, read from its text.
//!
//! A path counts as an import of the file that its last module is in: `super::super::error::Error` of `src/error/mod.rs`,
//! also where the name is only shown there. So a file below a folder names the module that holds a type, and never the
//! folder's own face, which names the file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A module, as the names that lead to it from the root of its crate.
pub type Module = Vec<String>;

/// The code of each module of a crate, without comments, texts and tests.
pub fn modules(sources: &str) -> BTreeMap<Module, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(sources);
    let mut found = BTreeMap::new();
    let mut folders: Vec<PathBuf> = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ext| ext == "rs") && !path.ends_with("tests.rs") {
                let below = path.strip_prefix(&root).unwrap().with_extension("");
                let mut module: Module = below.iter().map(|part| part.to_string_lossy().into_owned()).collect();
                if module.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
                    module.pop();
                }
                // `main.rs` beside `lib.rs` only begins the program.
                if !path.ends_with("src/main.rs") {
                    found.insert(module, code(&fs::read_to_string(&path).unwrap()));
                }
            }
        }
    }
    assert!(found.len() > 50, "{sources} has {} files", found.len());
    found
}

/// Code without its tests, its comments and what stands between quotes.
pub fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    let mut out = String::new();
    let mut quoted = false;
    let mut before = ' ';
    for c in lines.flat_map(|line| line.chars().chain(['\n'])) {
        // A quote as a character (`'"'`) opens nothing.
        if c == '"' && before != '\\' && before != '\'' {
            quoted = !quoted;
        } else if !quoted {
            out.push(c);
        }
        before = if before == '\\' && c == '\\' { ' ' } else { c };
    }
    out
}

/// The paths of a tree of imports: `a::{b, c::{d as e}}` is `a::b` and `a::c::d`.
fn paths(tree: &str, before: &str, out: &mut Vec<String>) {
    let tree = tree.trim();
    let Some((head, rest)) = tree.split_once('{') else {
        let path = tree.split_whitespace().next().unwrap_or_default();
        out.push(format!("{before}{path}"));
        return;
    };
    let inner = rest.rsplit_once('}').map_or(rest, |(inner, _)| inner);
    let (mut depth, mut from) = (0_i32, 0);
    for (at, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                paths(&inner[from..at], &format!("{before}{head}"), out);
                from = at + 1;
            }
            _ => {}
        }
    }
    if !inner[from..].trim().is_empty() {
        paths(&inner[from..], &format!("{before}{head}"), out);
    }
}

/// Every path that code names: those of its imports, and those in the text.
fn named(code: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut text = String::new();
    for statement in code.split_inclusive(';') {
        let at = statement.rfind("use ").filter(|at| !statement[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_'));
        match at {
            Some(at) if statement.ends_with(';') && !statement[at..].contains('(') => {
                text.push_str(&statement[..at]);
                paths(&statement[at + 4..statement.len() - 1], "", &mut out);
            }
            _ => text.push_str(statement),
        }
    }
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':');
    out.extend(words.filter(|word| word.contains("::")).map(str::to_owned));
    out
}

/// The module that a path leads to from `own`; none if it leads out of the crate.
fn target(own: &Module, path: &str, all: &BTreeMap<Module, String>) -> Option<Module> {
    let mut parts = path.split("::").filter(|part| !part.is_empty()).peekable();
    let mut at = match *parts.peek()? {
        "crate" => {
            parts.next();
            Module::new()
        }
        "self" => {
            parts.next();
            own.clone()
        }
        "super" => own.clone(),
        first => {
            let child: Module = own.iter().cloned().chain([first.to_owned()]).collect();
            return all.contains_key(&child).then(|| below(child, parts.skip(1), all));
        }
    };
    while parts.next_if_eq(&"super").is_some() {
        at.pop();
    }
    Some(below(at, parts, all))
}

/// As far as the rest of a path names modules.
fn below<'a>(mut at: Module, parts: impl Iterator<Item = &'a str>, all: &BTreeMap<Module, String>) -> Module {
    for part in parts {
        at.push(part.to_owned());
        if !all.contains_key(&at) {
            at.pop();
            break;
        }
    }
    at
}

/// The modules that a file names, itself not among them.
pub fn imports(own: &Module, all: &BTreeMap<Module, String>) -> BTreeSet<Module> {
    named(&all[own]).iter().filter_map(|path| target(own, path, all)).filter(|module| module != own).collect()
}
