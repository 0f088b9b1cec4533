//! Very many paths that cannot be read: the snapshot names some, a list beside it all, and everything stays readable.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{Place, Ran, read};

const NOBODY: u32 = 65_534;
/// More than a snapshot names, by far.
const MANY: usize = 3_000;

/// The program, run by somebody who cannot read everything.
struct Nobody {
    place: Place,
}

impl Nobody {
    fn new() -> Self {
        let place = Place { dir: tempfile::tempdir().unwrap() };
        let nobody = Self { place };
        fs::create_dir(nobody.place.path("site")).unwrap();
        for i in 0..MANY {
            nobody.write(&format!("site/secret-{i:05}"));
        }
        nobody.write("site/open");
        if rustix::process::geteuid().is_root() {
            let program = nobody.place.path("offsite");
            if fs::hard_link(env!("CARGO_BIN_EXE_offsite"), &program).is_err() {
                fs::copy(env!("CARGO_BIN_EXE_offsite"), &program).unwrap();
            }
            for dir in ["", "site"] {
                let dir = nobody.place.path(dir);
                std::os::unix::fs::chown(&dir, Some(NOBODY), Some(NOBODY)).unwrap();
                fs::set_permissions(dir, Permissions::from_mode(0o755)).unwrap();
            }
        }
        nobody
    }

    fn write(&self, name: &str) {
        fs::write(self.place.path(name), name).unwrap();
        self.mode(name, 0o644);
    }

    fn mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.place.path(name), Permissions::from_mode(mode)).unwrap();
    }

    fn modes(&self, mode: u32) {
        (0..MANY).for_each(|i| self.mode(&format!("site/secret-{i:05}"), mode));
    }

    fn run(&self, args: &[&str]) -> Ran {
        let root = rustix::process::geteuid().is_root();
        let own = self.place.path("offsite");
        let mut command = Command::new(if root { &own } else { Path::new(env!("CARGO_BIN_EXE_offsite")) });
        if root {
            command.uid(NOBODY).gid(NOBODY);
        }
        command.args(args).current_dir(self.place.dir.path()).env_clear();
        command.env("OFFSITE_CACHE_DIR", self.place.path("cache")).env("TZ", "UTC").env("HOME", self.place.dir.path());
        Ran::from(command.output().unwrap())
    }

    fn snapshot(&self, number: u64) -> Value {
        serde_json::from_str(&read(self.place.path(&format!("copy/.offsite/snapshots/{number:012}.json")))).unwrap()
    }

    fn objects(&self) -> usize {
        fs::read_dir(self.place.path("copy/.offsite/pages")).unwrap().count()
    }
}

#[test]
fn the_list_is_kept_beside_the_snapshot() {
    let nobody = Nobody::new();
    assert_eq!(nobody.run(&["sync", "site", "copy"]).code, 0);
    nobody.modes(0o000);
    nobody.write("site/open");
    let ran = nobody.run(&["sync", "site", "copy", "--json"]);
    assert_eq!(ran.code, 3, "{}{}", ran.out, ran.err);
    let said = &serde_json::from_str::<Value>(&ran.out).unwrap()["destinations"][0];
    assert_eq!((said["unread"].as_array().unwrap().len(), &said["unread_total"]), (1_000, &MANY.into()));
    let snapshot = nobody.snapshot(2);
    assert_eq!((snapshot["unread"].as_array().unwrap().len(), &snapshot["unread_total"]), (1_000, &MANY.into()));
    // What could not be read keeps the content that it had, whether the snapshot names it or not.
    assert_eq!(snapshot["totals"]["files"], MANY + 1);
    let back = nobody.run(&["pull", "copy", "back"]);
    assert_eq!((back.code, fs::read_dir(nobody.place.path("back")).unwrap().count()), (0, MANY + 1), "{}", back.err);
    let listed = nobody.run(&["ls", "copy", "--unread"]);
    assert_eq!((listed.code, listed.out.lines().count()), (0, MANY), "{}", listed.err);
    assert!(listed.out.lines().last().unwrap().starts_with("secret-02999: "), "{}", listed.out);
    assert!(listed.err.contains("3,000 could not be read"), "{}", listed.err);
    let document: Value = serde_json::from_str(&nobody.run(&["ls", "copy", "--unread", "--json"]).out).unwrap();
    assert_eq!((document["troubles"].as_array().unwrap().len(), &document["unread"]), (MANY, &MANY.into()));

    // A night like the last one sends no list, and one where all is well needs none.
    let objects = nobody.objects();
    assert_eq!(nobody.run(&["sync", "site", "copy"]).code, 3);
    assert_eq!((nobody.objects(), nobody.snapshot(3)["troubles"] == snapshot["troubles"]), (objects, true));
    nobody.modes(0o644);
    assert_eq!(nobody.run(&["sync", "site", "copy"]).code, 0);
    assert_eq!(nobody.snapshot(4).get("unread_total"), None);
    assert_eq!(nobody.run(&["check", "copy"]).code, 0);
    assert_eq!(nobody.run(&["prune", "copy", "--keep-last", "1"]).code, 0);
    assert!(nobody.objects() < objects, "the list goes with the snapshots that name it");
    assert_eq!(nobody.run(&["check", "copy"]).code, 0);
}
