//! Exit codes, and what is said with them.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use std::process::Command;

use super::{Place, Ran, read};

#[test]
fn a_file_that_cannot_be_read_is_three() {
    let place = Place::synced();
    fs::write(place.path("site/secret"), "x").unwrap();
    fs::set_permissions(place.path("site/secret"), fs::Permissions::from_mode(0o000)).unwrap();
    // Root reads everything, so as root there is nothing to see here.
    if fs::read(place.path("site/secret")).is_ok() {
        return;
    }
    let ran = place.run(&["sync", "site", "copy"]);
    assert_eq!(ran.code, 3, "{}", ran.err);
    assert!(ran.out.contains("could not be read or stored (1)") && ran.out.contains("secret"), "{}", ran.out);
    let (code, document) = place.json(&["sync", "site", "copy"]);
    assert_eq!((code, &document["exit"]), (3, &3.into()));
}

#[test]
fn an_emptied_source_is_four() {
    let place = Place::synced();
    fs::remove_dir_all(place.path("site")).unwrap();
    fs::create_dir(place.path("site")).unwrap();
    let ran = place.run(&["sync", "site", "copy"]);
    assert_eq!(ran.code, 4, "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("--allow-empty"), "{}", ran.err);
    assert!(place.path("copy/docs/a.txt").exists());
    assert_eq!(place.run(&["plan", "site", "copy"]).code, 4);
    place.ok(&["sync", "site", "copy", "--allow-empty"]);
    assert!(!place.path("copy/docs/a.txt").exists());
}

#[test]
fn a_source_that_is_missing() {
    let place = Place::new();
    assert_eq!(place.run(&["sync", "nowhere", "copy"]).code, 2);
    place.ok(&["sync", "site", "copy"]);
    fs::rename(place.path("site"), place.path("gone")).unwrap();
    assert_eq!(place.run(&["sync", "site", "copy"]).code, 4);
}

#[test]
fn a_destination_that_is_named_twice_is_said_and_done_once() {
    let place = Place::new();
    let ran = place.run(&["sync", "site", "copy", "./copy"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains("named twice"), "{}", ran.err);
    assert_eq!(read(place.path("copy/docs/a.txt")), "first");
}

#[test]
fn a_budget_is_a_refusal() {
    let place = Place::new();
    let ran = place.run(&["sync", "site", "copy", "--max-bytes", "3"]);
    assert_eq!(ran.code, 4, "{}", ran.err);
    assert!(ran.err.contains("--max-bytes"), "{}", ran.err);
}

#[test]
fn a_saved_plan_is_held_against_a_budget_too() {
    let place = Place::new();
    place.ok(&["plan", "site", "copy", "--out", "plan", "--price", "aws/s3-standard"]);
    let ran = place.run(&["apply", "plan", "--max-cost", "0.000001"]);
    assert_eq!(ran.code, 4, "{}", ran.err);
    assert!(ran.err.contains("--max-cost"), "{}", ran.err);
    place.ok(&["apply", "plan", "--max-cost", "1"]);
}

#[test]
fn no_secret_is_repeated() {
    let place = Place::new();
    for args in
        [&["sync", "site", "s3://key:hush@bucket/x"][..], &["ls", "s3://key:hush@bucket/x"], &["pull", "s3://key:hush@bucket/x", "here"]]
    {
        for json in [&[][..], &["--json"]] {
            let ran = place.run(&[args, json].concat());
            assert_eq!(ran.code, 2, "{args:?}: {}", ran.err);
            assert!(!ran.out.contains("hush") && !ran.err.contains("hush"), "{args:?}: {}{}", ran.out, ran.err);
        }
    }
}

#[test]
fn one_failed_destination_does_not_stop_the_other() {
    let place = Place::new();
    fs::write(place.path("file"), "in the way").unwrap();
    let ran = place.run(&["sync", "site", "file/below", "copy"]);
    assert_ne!(ran.code, 0);
    assert!(place.path("copy/docs/a.txt").exists(), "{}", ran.err);
    assert!(ran.err.contains("file/below"), "{}", ran.err);
}

#[test]
fn a_closed_pipe_is_no_error() {
    let place = Place::synced();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_offsite"));
    command.args(["ls", "copy", "--recursive"]).current_dir(place.dir.path()).env("OFFSITE_CACHE_DIR", place.path("cache"));
    let mut child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"));
}

#[test]
fn what_can_be_done_goes_by_what_failed_and_where() {
    let place = Place::synced();
    let mut command = Command::new(env!("CARGO_BIN_EXE_offsite"));
    command.args(["cat", "copy", "index.html"]).current_dir(place.dir.path()).env("OFFSITE_CACHE_DIR", place.path("cache"));
    let ran = Ran::from(command.stdout(fs::File::create("/dev/full").unwrap()).output().unwrap());
    assert!(ran.code == 1 && ran.err.contains("make room on the disk of the output") && !ran.err.contains("cache"), "{}", ran.err);
    let (code, document) = place.json(&["ls", "nowhere/such"]);
    assert!(code != 0 && document["failure"]["place"].is_string() && document["failure"]["kind"].is_string(), "{document}");
}
