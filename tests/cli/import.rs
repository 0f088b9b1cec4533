//! `offsite config import`: what it prints is a config, and nothing is written over.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{Place, Ran, read};

const BACKUPS: &str = r#"{
  "local": {
    "process": "rsync -a --delete --exclude=*.log",
    "destination": "HERE/copy",
    "subdirectories": { "vsite": "docs", "vwp": "wp" },
    "options": { "vwp": "ignore" }
    "initialize": "mkdir -p $destination"
  }
}"#;

impl Place {
    fn backups(&self) -> String {
        BACKUPS.replace("HERE", &self.dir.path().display().to_string())
    }
}

/// The whole way: the old copy is there, the config is made, checked and run, and nothing is sent again.
#[test]
fn an_imported_config_is_checked_and_adopts_the_old_copy() {
    let place = Place::new();
    fs::write(place.path("backups.json"), place.backups()).unwrap();
    fs::create_dir_all(place.path("copy")).unwrap();
    let rsynced = Command::new("cp").args(["-a", "site/docs", "copy/docs"]).current_dir(place.dir.path()).status().unwrap();
    assert!(rsynced.success());
    fs::remove_file(place.path("copy/docs/b.log")).unwrap();
    let ran = place.run(&["config", "import", "backups.json", "--out", "offsite.json"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{}", ran.err);
    assert!(ran.err.contains("mended: the JSON is invalid: a comma is missing at the end of line 6"), "{}", ran.err);
    let source = format!("BACKUP_SOURCE={}", place.path("site").display());
    let checked = place.ok(&["config", "check", "--set", &source]);
    assert!(checked.contains("local (vsite)") && checked.contains("local (vwp)  ignored"), "{checked}");
    let (code, outcome) = place.json(&["run", "--type", "vsite", "--set", &source]);
    assert_eq!((code, outcome["jobs"][0]["destinations"][0]["bytes"]["sent"].as_u64()), (0, Some(0)), "{outcome}");
    assert_eq!(read(place.path("copy/docs/a.txt")), "first");
    assert!(!place.path("copy/docs/b.log").exists());
}

#[test]
fn the_config_goes_to_standard_output_and_the_notes_elsewhere() {
    let place = Place::new();
    fs::write(place.path("backups.json"), place.backups()).unwrap();
    let ran = place.run(&["config", "import", "backups.json"]);
    let config: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, config["jobs"]["local"]["options"]["vwp"].as_str()), (0, Some("ignore")));
    let (code, document) = place.json(&["config", "import", "backups.json", "--from", "backup-rsync"]);
    assert_eq!((code, &document["config"]), (0, &config));
    assert_eq!(document["notes"][0]["kind"], "mended");
}

#[test]
fn nothing_is_written_over_and_what_is_none_is_refused() {
    let place = Place::new();
    fs::write(place.path("backups.json"), place.backups()).unwrap();
    fs::write(place.path("offsite.json"), "mine").unwrap();
    let ran = place.run(&["config", "import", "backups.json", "--out", "offsite.json"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("exists already"), "{}", ran.err);
    assert_eq!(read(place.path("offsite.json")), "mine");
    for args in [&["site/index.html"][..], &["none.json"], &["site"], &["backups.json", "--from", "aws"]] {
        let ran = place.run(&[&["config", "import"], args].concat());
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{args:?}: {}", ran.err);
    }
}

#[test]
fn a_profile_is_a_directory_and_a_crontab_comes_by_standard_input() {
    let place = Place::new();
    let profile = place.path("duply/web");
    fs::create_dir_all(&profile).unwrap();
    fs::write(profile.join("conf"), "TARGET='file:///mnt/disk'\nTARGET_PASS='hush'\nSOURCE='/srv/site'\nMAX_AGE=1M\n").unwrap();
    fs::write(profile.join("exclude"), "- **.tmp\n").unwrap();
    fs::write(profile.join("pre"), "true\n").unwrap();
    let ran = place.run(&["config", "import", "duply/web", "--out", "duply.json"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(!ran.err.contains("hush") && !read(place.path("duply.json")).contains("hush"));
    // It was encrypted, so it runs only once somebody has said who may read it.
    let refused = place.run(&["config", "check", "--config", "duply.json"]);
    assert!(refused.code == 2 && refused.err.contains("$RECIPIENTS is not set"), "{}", refused.err);
    let checked = place.ok(&["config", "check", "--config", "duply.json", "--set", "RECIPIENTS=recipients.txt"]);
    assert!(checked.contains("to web: /mnt/disk/offsite") && checked.contains("duply/web/pre"), "{checked}");
    fs::write(place.path("crontab"), "0 3 * * * aws s3 sync /srv/site s3://acme/site --delete\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_offsite"));
    command.args(["config", "import", "-"]).current_dir(place.dir.path()).env_clear().env("HOME", place.dir.path());
    let ran = Ran::from(command.stdin(Stdio::from(fs::File::open(place.path("crontab")).unwrap())).output().unwrap());
    assert_eq!(ran.code, 0, "{}", ran.err);
    fs::write(place.path("aws.json"), &ran.out).unwrap();
    assert!(place.ok(&["config", "check", "--config", "aws.json"]).contains("to site: s3://acme/site"));
    assert!(ran.err.contains("--daily 03:00"), "{}", ran.err);
}

/// Dumps have no source; `config check` takes them all the same.
#[test]
fn dumps_are_jobs_that_are_taken() {
    let place = Place::new();
    let source = r#"{"type": "pgdump", "options": {"database": "shop", "password": "hush"}}"#;
    let target = r#"{"dirname": "/backup/%Y", "filename": "shop.sql", "compress": "gzip"}"#;
    let checks = r#"[{"type": "sizemin", "value": "2M"}]"#;
    let text = format!(r#"{{"backups": [{{"name": "db", "source": {source}, "target": {target}, "checks": {checks}}}]}}"#);
    fs::write(place.path("phpbu.json"), text).unwrap();
    let ran = place.run(&["config", "import", "phpbu.json", "--out", "offsite.json"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.err.contains("$PGPASSWORD") && !read(place.path("offsite.json")).contains("hush"), "{}", ran.err);
    let checked = place.ok(&["config", "check"]);
    assert!(checked.contains("to db-local: /backup/db"), "{checked}");
}
