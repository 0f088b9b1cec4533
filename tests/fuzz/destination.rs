//! A good destination, mutated: every verb ends, nothing outside is touched, and exit 0 means the right bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::child::run;
use crate::made::files;
use crate::random::{Random, cases, mutate};

type Tree = BTreeMap<PathBuf, Vec<u8>>;

/// A destination with three snapshots, and what each of them held.
struct Good {
    dir: tempfile::TempDir,
    states: Vec<Tree>,
}

impl Good {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let site = dir.path().join("site");
        fs::create_dir_all(site.join("d/e")).unwrap();
        let mut good = Self { dir, states: Vec::new() };
        for round in 0..3 {
            for name in ["a", "b", "d/c", "d/e/f", "odd\nname", "z"] {
                if round == 0 || matches!(name, "a" | "d/c") {
                    fs::write(site.join(name), format!("{name} in round {round}").repeat(1 + 100 * round)).unwrap();
                }
            }
            if round == 2 {
                fs::remove_file(site.join("b")).unwrap();
            }
            assert_eq!(run(good.dir.path(), &["sync", "site", "copy"]).code, 0);
            good.states.push(files(&site).into_iter().collect());
        }
        assert_eq!(run(good.dir.path(), &["check", "copy"]).code, 0);
        good
    }

    /// A copy to break, beside something that must stay as it is.
    fn copy(&self) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in files(&self.dir.path().join("copy")) {
            let path = dir.path().join("copy").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        fs::create_dir_all(dir.path().join("outside")).unwrap();
        fs::write(dir.path().join("outside/precious"), "precious").unwrap();
        fs::create_dir(dir.path().join("site")).unwrap();
        fs::write(dir.path().join("site/new"), "new").unwrap();
        dir
    }
}

/// One to three objects are changed; with `mend` what names a page is changed along with it. The names that were.
fn break_it(random: &mut Random, copy: &Path, mend: bool) -> Vec<String> {
    let names: Vec<PathBuf> = files(copy).into_iter().map(|(name, _)| name).collect();
    let mut broken = Vec::new();
    for _ in 0..=random.below(3) {
        let name = random.pick(&names);
        let path = copy.join(name);
        broken.push(name.display().to_string());
        if mend && random.one_in(2) {
            mended(random, copy);
            continue;
        }
        match random.below(6) {
            0 => drop(fs::remove_file(&path)),
            1 => {
                let other = copy.join(random.pick(&names));
                if let Ok(content) = fs::read(&other) {
                    fs::write(&path, content).unwrap();
                }
            }
            _ => {
                let mut content = fs::read(&path).unwrap_or_default();
                mutate(random, &mut content);
                fs::write(&path, content).unwrap();
            }
        }
    }
    broken
}

/// Changes the lines of a page, and makes every hash and length above them right again.
fn mended(random: &mut Random, copy: &Path) {
    let number = 1 + random.below(3);
    let path = copy.join(format!(".offsite/snapshots/{number:012}.json"));
    let Some(mut snapshot) = fs::read(&path).ok().and_then(|body| serde_json::from_slice::<Value>(&body).ok()) else { return };
    let Some(object) = snapshot["root"]["object"].as_str().map(str::to_owned) else { return };
    let Ok(packed) = fs::read(copy.join(format!(".offsite/pages/{object}.jsonl.zst"))) else { return };
    let (offset, length) =
        (snapshot["root"]["offset"].as_u64().unwrap_or(0) as usize, snapshot["root"]["length"].as_u64().unwrap_or(0) as usize);
    let Some(mut raw) = packed.get(offset..offset.saturating_add(length)).and_then(|frame| zstd::bulk::decompress(frame, 1 << 20).ok())
    else {
        return;
    };
    for _ in 0..=random.below(2) {
        mutate_lines(random, &mut raw);
    }
    let frame = zstd::bulk::compress(&raw, 3).unwrap();
    let name = blake3::hash(&frame).to_string();
    fs::write(copy.join(format!(".offsite/pages/{name}.jsonl.zst")), &frame).unwrap();
    let lines: Vec<Value> = raw.split(|b| *b == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    let root = &mut snapshot["root"];
    root["object"] = name.clone().into();
    root["offset"] = 0.into();
    root["length"] = frame.len().into();
    root["raw"] = raw.len().into();
    root["hash"] = blake3::hash(&raw).to_string().into();
    root["first"] = lines.first().map_or(Value::Null, |line| line["path"].clone());
    root["entries"] = lines.len().into();
    root["bytes"] = lines.iter().filter_map(|line| line["size"].as_u64()).fold(0u64, u64::wrapping_add).into();
    snapshot["objects"] = Value::from(vec![name]);
    snapshot["totals"]["entries"] = u64::MAX.into();
    snapshot["totals"]["bytes"] = u64::MAX.into();
    fs::write(path, snapshot.to_string()).unwrap();
}

fn mutate_lines(random: &mut Random, raw: &mut Vec<u8>) {
    let mut lines: Vec<Vec<u8>> = raw.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
    let at = random.below(lines.len());
    match random.below(5) {
        0 if !lines.is_empty() => drop(lines.remove(at)),
        1 if !lines.is_empty() => lines.insert(at, lines[at].clone()),
        2 if !lines.is_empty() => {
            let other = random.below(lines.len());
            lines.swap(at, other);
        }
        _ => {
            if let Some(line) = lines.get_mut(at) {
                mutate(random, line);
            }
        }
    }
    *raw = lines.concat();
}

#[test]
fn a_mutated_destination_gives_the_right_bytes_or_none() {
    let good = Good::new();
    let contents: BTreeSet<&Vec<u8>> = good.states.iter().flat_map(|state| state.values()).collect();
    let done = cases("destination", |random| {
        let place = good.copy();
        let mend = random.one_in(2);
        let broken = break_it(random, &place.path().join("copy"), mend);
        let at = 1 + random.below(3);
        let number = at.to_string();
        let pulled = run(place.path(), &["pull", "copy", "back", "--at", &number]);
        let back: Tree = files(&place.path().join("back")).into_iter().filter(|(name, _)| !name.starts_with(".offsite-pull")).collect();
        // With hashes that were made right again the manifest says what it says; even then a content is one that was stored.
        if pulled.code == 0 && !mend {
            assert!(back == good.states[at - 1], "{broken:?}: exit 0 and another tree: {:?}", back.keys());
        }
        for (name, content) in back.iter().filter(|(_, content)| !content.is_empty()) {
            assert!(contents.contains(content), "{broken:?}: {} has a content that was never stored", name.display());
        }
        let verbs: [&[&str]; 10] = [
            &["ls", "copy", "-r"],
            &["check", "copy", "--read-data"],
            &["snapshots", "copy"],
            &["history", "copy", "a"],
            &["diff", "copy", "1", "3"],
            &["status", "copy"],
            &["report", "copy"],
            &["cat", "copy", "a"],
            &["sync", "site", "copy", "--max-removals", "100%"],
            &["prune", "copy", "--keep-last", "1"],
        ];
        let verb = random.pick(&verbs);
        let ran = run(place.path(), verb);
        if verb[0] == "cat" && ran.code == 0 {
            assert!(ran.out.is_empty() || contents.contains(&ran.out), "{broken:?}: cat");
        }
        let outside = files(&place.path().join("outside"));
        assert_eq!(outside, [(PathBuf::from("precious"), b"precious".to_vec())], "{broken:?}: {verb:?}");
        let mut names: Vec<_> = fs::read_dir(place.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| !matches!(name.as_str(), "copy" | "outside" | "site" | "back" | "cache"));
        assert_eq!(names, Vec::<String>::new(), "{broken:?}: {verb:?}: {}", ran.err);
    });
    assert!(done > 0);
}
