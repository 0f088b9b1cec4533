//! Directories that are destinations, made by hand: pages, an object that holds them, a snapshot.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// A destination in the making.
pub struct Made {
    pub root: PathBuf,
    object: Vec<u8>,
}

impl Made {
    pub fn new(root: PathBuf) -> Self {
        fs::create_dir_all(root.join(".offsite/snapshots")).unwrap();
        fs::create_dir_all(root.join(".offsite/pages")).unwrap();
        let format = json!({"format": 1, "id": "0".repeat(32), "made": "", "version": "", "keys": keys(), "create_only": true, "compare_and_swap": true});
        let made = Self { root, object: Vec::new() };
        made.put("format.json", format.to_string().as_bytes());
        made
    }

    /// An object of offsite's own.
    pub fn put(&self, name: &str, body: &[u8]) {
        fs::write(self.root.join(".offsite").join(name), body).unwrap();
    }

    /// Adds a page; the reference to it, with the frame that it is said to be.
    pub fn page(&mut self, raw: &[u8], level: u8, first: &str, entries: u64) -> Value {
        let frame = zstd::bulk::compress(raw, 1).unwrap();
        self.frame(&frame, raw.len() as u64, &blake3::hash(raw).to_string(), level, first, entries)
    }

    pub fn frame(&mut self, frame: &[u8], raw: u64, hash: &str, level: u8, first: &str, entries: u64) -> Value {
        let offset = self.object.len();
        self.object.extend_from_slice(frame);
        json!({"offset": offset, "length": frame.len(), "raw": raw, "hash": hash, "level": level, "first": first, "entries": entries, "bytes": 0})
    }

    /// Writes the object and a snapshot with this top page.
    pub fn finish(&self, number: u64, mut root: Value) {
        let object = blake3::hash(&self.object).to_string();
        self.put(&format!("pages/{object}.jsonl.zst"), &self.object);
        root["object"] = object.clone().into();
        let most = u64::MAX;
        let snapshot =
            snapshot(number, &json!({"root": root, "objects": [object], "totals": {"entries": most, "files": 0, "bytes": most}}));
        self.put(&format!("snapshots/{number:012}.json"), snapshot.to_string().as_bytes());
    }
}

fn keys() -> Value {
    json!({"any_name": true, "max_key": u64::MAX, "max_segment": u64::MAX, "changed": "", "trims": false})
}

/// A snapshot with some members of its own.
pub fn snapshot(number: u64, over: &Value) -> Value {
    let counts = json!({"added": 0, "changed": 0, "metadata": 0, "removed": 0, "renamed": 0, "unchanged": 0, "skipped": 0});
    let mut all = json!({"format": 1, "number": number, "time": "", "host": "h", "source": "/s", "program": "p", "run": "r",
        "keys": keys(), "objects": [], "changes": counts, "sent": 0, "tree": {"mode": 493, "mtime": "0.000000000", "uid": 0, "gid": 0},
        "totals": {"entries": 0, "files": 0, "bytes": 0}});
    for (name, value) in over.as_object().unwrap() {
        all[name] = value.clone();
    }
    all
}

/// One line of a page.
pub fn line(value: &Value) -> Vec<u8> {
    format!("{value}\n").into_bytes()
}

pub fn dir(name: &str) -> Value {
    json!({"path": name, "kind": "dir", "mtime": "0.000000000", "mode": "0755"})
}

/// All files below a directory and their contents, symlinks not followed.
pub fn files(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let (mut out, mut open) = (Vec::new(), vec![root.to_path_buf()]);
    while let Some(dir) = open.pop() {
        let Ok(entries) = fs::read_dir(&dir) else { continue };
        for entry in entries.flatten() {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                open.push(entry.path());
            } else {
                let content = if kind.is_file() { fs::read(entry.path()).unwrap() } else { Vec::new() };
                out.push((entry.path().strip_prefix(root).unwrap().to_path_buf(), content));
            }
        }
    }
    out.sort();
    out
}
