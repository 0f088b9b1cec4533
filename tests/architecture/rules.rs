//! The import rules of the house, checked on the source: who may see whom, who may print, who may read the
//! environment, who may publish files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::imports::{Module, imports, modules};

/// Every source file below a folder: its path from the workspace's root, and its code without tests.
fn sources(folder: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut out = Vec::new();
    let mut folders: Vec<PathBuf> = vec![root.join(folder)];
    while let Some(dir) = folders.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests.rs") {
                let text = fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
                out.push((path.strip_prefix(root).unwrap().to_string_lossy().into_owned(), code));
            }
        }
    }
    assert!(!out.is_empty(), "{folder} has no sources");
    out
}

/// A room of `src` may name only these others. A bare name of the crate, such as `random`, lies in `lib.rs`.
#[track_caller]
fn sees_only(room: &str, allowed: &[&str], all: &BTreeMap<Module, String>) {
    let own: Vec<&Module> = all.keys().filter(|module| module.first().is_some_and(|first| first == room)).collect();
    assert!(!own.is_empty(), "there is no room {room}");
    for module in own {
        for import in imports(module, all) {
            let Some(seen) = import.first() else { continue };
            assert!(seen == room || allowed.contains(&seen.as_str()), "{} imports {seen}; it may see {allowed:?}", module.join("::"));
        }
    }
}

#[track_caller]
fn only_in(folder: &str, needles: &[&str], allowed: &[&str]) {
    for (path, code) in sources(folder) {
        let code: String = code.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        for needle in needles {
            let fine = allowed.iter().any(|a| path.starts_with(a)) || !code.contains(needle);
            assert!(fine, "{path} has `{needle}`, which belongs in {allowed:?}");
        }
    }
}

/// The rooms of `src` and what each may name.
const ROOMS: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("open_files", &[]),
    ("model", &[]),
    ("containers", &[]),
    ("scan", &["model"]),
    ("plan", &["model"]),
    ("seal", &[]),
    ("spool", &["error"]),
    ("packs", &["error", "model", "seal", "spool"]),
    ("manifest", &["error", "model", "seal", "spool"]),
    ("transfer", &["error", "manifest", "model", "packs", "plan", "scan", "spool"]),
    ("engine", &["error", "manifest", "model", "packs", "plan", "scan", "seal", "spool", "transfer"]),
    ("config", &["containers", "engine", "error", "model", "plan", "scan"]),
    ("import", &["config", "model", "scan"]),
    ("schedule", &["error", "model"]),
    ("jobs", &["config", "engine", "error", "model", "plan", "scan", "transfer"]),
    // The program on top of the library, which it names by `offsite::`.
    ("cli", &[]),
];

#[test]
fn rooms_see_only_what_lies_below_them() {
    let all = modules("src");
    for (room, allowed) in ROOMS {
        sees_only(room, allowed, &all);
    }
    let rooms: BTreeSet<&str> = all.keys().filter_map(|module| module.first()).map(String::as_str).collect();
    let ruled: BTreeSet<&str> = ROOMS.iter().map(|(room, _)| *room).collect();
    assert_eq!(rooms, ruled, "each room has its rule");
}

#[test]
fn backends_know_nothing_of_the_engine() {
    only_in("backends/src", &["offsite::engine", "offsite::model", "use offsite", "snapshot", "manifest"], &[]);
}

/// What a destination says is read into shapes of its own, in few places: a general tree of values takes a hundred times
/// the memory, and whoever may write to a destination chooses what is in it.
#[test]
fn nothing_from_a_destination_becomes_a_tree_of_values() {
    for folder in ["src/manifest", "src/engine", "src/model", "src/transfer", "src/spool"] {
        only_in(folder, &["serde_json::Value", "serde_json::Map", "json!("], &[]);
    }
    // Records have one way in. The others read files of this machine.
    let local = ["src/engine/destination.rs", "src/engine/check/record.rs", "src/engine/plan_file.rs", "src/manifest/cache.rs"];
    let readers = [&["src/manifest/json.rs", "src/manifest/load.rs"], &local[..]].concat();
    only_in("src/manifest", &["serde_json::from_"], &readers);
    only_in("src/engine", &["serde_json::from_"], &readers);
}

#[test]
fn only_the_renderers_print() {
    only_in("src", &["println!", "print!(", "eprintln!", "eprint!("], &["src/cli/render", "src/cli/progress", "src/cli/interrupt"]);
    only_in("backends/src", &["println!", "eprintln!", "print!("], &["backends/src/fuzz.rs"]);
}

#[test]
fn only_resolve_reads_the_environment() {
    only_in("src", &["std::env::var", "use std::env"], &["src/config/env.rs"]);
}

#[test]
fn user_files_are_published_in_one_place() {
    only_in("backends/src", &["renameat"], &["backends/src/file/"]);
    only_in("src/transfer", &["fs::rename", "renameat"], &[]);
}

/// A lock is given back in one place, as the program's children may hold copies of it.
#[test]
fn files_are_locked_in_one_place() {
    only_in("backends/src", &["flock("], &["backends/src/file_lock.rs"]);
    only_in("src", &["flock("], &[]);
}

/// What is not trusted is reached through descriptors only: a path can be swapped for a symlink between two looks.
#[test]
fn the_target_of_a_pull_is_never_named_by_its_path() {
    let calls = ["std::fs", "rustix::fs", "tokio::fs", ".exists()", ".is_dir()", ".is_file()"];
    for room in ["src/transfer", "src/engine/pull/target.rs", "src/engine/pull/compare.rs", "src/engine/pull/privileges.rs"] {
        let files: Vec<_> = sources("src").into_iter().filter(|(path, _)| path.starts_with(room)).collect();
        assert!(!files.is_empty(), "{room}");
        // The journal is this machine's own file, in its own cache.
        for (path, code) in files.iter().filter(|(path, _)| !path.ends_with("journal.rs")) {
            for call in calls {
                assert!(!code.contains(call), "{path} has `{call}`; go through the tree");
            }
        }
    }
}

#[test]
fn no_file_is_too_long_and_each_says_what_it_owns() {
    for folder in ["src", "backends/src", "tests"] {
        for (path, _) in sources(folder) {
            let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(&path)).unwrap();
            assert!(text.lines().count() <= 500, "{path} has {} lines", text.lines().count());
            assert!(text.starts_with("//!"), "{path} does not say what it owns");
        }
    }
}

/// One name for one thing: docs/glossary.md.
#[test]
fn no_type_name_stands_twice_in_a_crate() {
    for (root, least) in [("src", 300), ("backends/src", 200)] {
        let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (path, code) in sources(root) {
            for name in code.lines().filter_map(type_named) {
                places.entry(name.to_owned()).or_default().push(path.clone());
            }
        }
        assert!(places.len() > least, "{} types were found in {root}", places.len());
        let twice: Vec<_> = places.iter().filter(|(_, paths)| paths.len() > 1).collect();
        assert!(twice.is_empty(), "{twice:#?}");
    }
}

/// The type that a line makes. One of a module stands at the beginning of its line; what an `impl` names is another one's.
fn type_named(line: &str) -> Option<&str> {
    if line.starts_with(' ') {
        return None;
    }
    let words: Vec<&str> = line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty()).collect();
    let at = words.iter().position(|word| ["struct", "enum", "trait", "type"].contains(word))?;
    let plain = words[..at].iter().all(|word| ["pub", "crate", "super", "in", "engine"].contains(word));
    words.get(at + 1).filter(|_| plain).copied()
}
