//! Others on this machine: what a container puts into its volume, a cache and a config that are not the caller's, and
//! offsite's own files below the source.

use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::process::Command;

use super::{Place, Ran, read};

#[test]
fn a_link_in_a_volume_is_not_followed() {
    let place = Place::new();
    fs::create_dir_all(place.path("secret")).unwrap();
    fs::write(place.path("secret/shadow"), "HOST-SECRET").unwrap();
    fs::create_dir_all(place.path("volumes/acme/web")).unwrap();
    fs::create_dir_all(place.path("real/acme/web/files")).unwrap();
    symlink(place.path("secret"), place.path("volumes/acme/web/files")).unwrap();
    let config = |source: &str| {
        place.config(&format!(
            r#"{{ "jobs": {{ "j": {{ "source": "$HERE/{source}/acme", "destinations": "$HERE/copy", "subdirectories": {{ "t": "web/files" }} }} }} }}"#
        ));
    };
    config("volumes");
    for args in [["run", "--type", "t"].as_slice(), &["run", "--type", "t", "--dry-run"]] {
        let ran = place.run(args);
        assert!(ran.code == 1 && ran.err.contains("is a symlink to") && ran.err.contains("/secret"), "{}{}", ran.out, ran.err);
    }
    assert!(!place.path("copy/web/files/shadow").exists());
    // What lies above the subdirectory is the user's own.
    fs::write(place.path("real/acme/web/files/own"), "own").unwrap();
    symlink("real", place.path("linked")).unwrap();
    config("linked");
    place.ok(&["run", "--type", "t"]);
    assert_eq!(read(place.path("copy/web/files/own")), "own");
}

#[test]
fn its_own_cache_below_the_source_is_left_out_and_said_once() {
    let (place, elsewhere) = (Place::new(), tempfile::tempdir().unwrap());
    let to = elsewhere.path().join("copy").display().to_string();
    let first = place.run(&["sync", ".", &to]);
    assert!(first.code == 0 && first.err.contains("own cache is below the source"), "{}", first.err);
    for _ in 0..2 {
        let ran = place.run(&["sync", ".", &to, "--json"]);
        let outcome: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        let changes = &outcome["destinations"][0]["changes"];
        let moved: u64 = ["added", "changed", "metadata", "removed"].iter().map(|key| changes[*key].as_u64().unwrap()).sum();
        assert!(ran.code == 0 && moved == 0 && ran.err.is_empty(), "{} {}", ran.out, ran.err);
    }
    assert!(!place.ok(&["ls", "--recursive", &to]).contains("cache/"));
}

#[test]
fn a_cache_that_cannot_be_used_names_the_flag_and_a_pull_does_without() {
    let place = Place::synced();
    fs::write(place.path("no-dir"), "").unwrap();
    let cache = place.path("no-dir/cache").display().to_string();
    let sync = place.run(&["sync", "site", "copy", "--cache-dir", &cache]);
    assert!(sync.code == 1 && sync.err.contains("--cache-dir"), "{}", sync.err);
    place.ok(&["pull", "copy", "back", "--cache-dir", &cache]);
    place.ok(&["check", "copy", "--cache-dir", &cache]);
    assert_eq!(read(place.path("back/index.html")), "<html>");
    // Another user's; only root can give one away.
    fs::create_dir(place.path("theirs")).unwrap();
    if chown(place.path("theirs"), Some(65_534), None).is_ok() {
        let cache = place.path("theirs").display().to_string();
        let sync = place.run(&["sync", "site", "copy", "--cache-dir", &cache]);
        assert!(sync.code == 1 && sync.err.contains("another user") && sync.err.contains("--cache-dir"), "{}", sync.err);
        place.ok(&["pull", "copy", "again", "--cache-dir", &cache]);
        assert_eq!(fs::read_dir(place.path("theirs")).unwrap().count(), 0);
    }
}

#[test]
fn a_config_of_another_user_is_only_taken_by_its_name() {
    let place = Place::new();
    place.config(r#"{ "jobs": { "j": { "source": "$HERE/site", "destinations": "$HERE/copy", "before": "touch $HERE/ran" } } }"#);
    if chown(place.path("offsite.json"), Some(65_534), None).is_err() {
        return;
    }
    for args in [["run"].as_slice(), &["config", "check"], &["status"]] {
        let ran = place.run(args);
        assert!(ran.code == 2 && ran.err.contains("--config") && ran.err.contains("another user"), "{args:?}: {}", ran.err);
    }
    assert!(!place.path("ran").exists());
    place.ok(&["run", "--config", "offsite.json"]);
    // Found in a directory where others may put one.
    chown(place.path("offsite.json"), Some(0), None).unwrap();
    chown(place.path(""), Some(65_534), None).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_offsite"));
    command.arg("run").current_dir(place.dir.path()).env("OFFSITE_CACHE_DIR", place.path("cache"));
    let ran = Ran::from(command.output().unwrap());
    assert!(ran.code == 2 && ran.err.contains("other users can put one"), "{}", ran.err);
    chown(place.path(""), Some(0), None).unwrap();
}
