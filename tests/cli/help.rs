//! Help and wrong arguments.

use super::Place;

#[test]
fn help_shows_every_verb_in_its_group() {
    let place = Place::new();
    let help = place.ok(&["--help"]);
    let at = |word: &str| help.find(word).unwrap_or_else(|| panic!("no {word} in {help}"));
    let order = [
        "Back up and restore:",
        "  sync ",
        "  apply ",
        "Inspect:",
        "  snapshots ",
        "  cat ",
        "Verify:",
        "  check ",
        "  repair ",
        "Maintain:",
        "  init ",
        "  prune ",
        "Set up:",
        "  completions ",
    ];
    assert!(order.windows(2).all(|pair| at(pair[0]) < at(pair[1])), "{help}");
    assert!(help.contains("offsite sync ./site /mnt/backup/site s3://acme/site"), "{help}");
    assert!(!help.contains("  schema "), "{help}");
}

#[test]
fn every_verb_has_help() {
    let place = Place::new();
    for verb in [
        "sync",
        "plan",
        "apply",
        "pull",
        "snapshots",
        "ls",
        "diff",
        "history",
        "cat",
        "report",
        "check",
        "repair",
        "copy",
        "init",
        "prune",
        "completions",
    ] {
        assert!(place.ok(&[verb, "--help"]).contains("Usage:"), "{verb}");
    }
    assert!(place.ok(&["--version"]).starts_with("offsite "));
}

#[test]
fn wrong_arguments_are_usage_errors() {
    let place = Place::new();
    let wrong: [&[&str]; 15] = [
        &[],
        &["sync", "site"],
        &["sync", "site", "copy", "--no-such-flag"],
        &["sync", "site", "copy", "--max-removals", "25"],
        &["sync", "site", "copy", "--limit-upload", "fast"],
        &["sync", "site", "copy", "--quiet", "--verbose"],
        &["prune", "copy"],
        &["check", "copy", "--read-data=0%"],
        &["check", "copy", "--read-data=5"],
        &["repair", "copy"],
        &["repair", "site", "copy", "--from", "second"],
        &["copy", "copy"],
        &["copy", "copy", "second", "--snapshots", "9..7"],
        &["copy", "copy", "second", "--last", "2", "--newest"],
        &["plan", "site", "a", "b", "--out", "x.plan"],
    ];
    for args in wrong {
        assert_eq!(place.run(args).code, 2, "{args:?}");
    }
}

#[test]
fn a_usage_error_is_a_document_too() {
    let (code, document) = Place::new().json(&["sync", "site"]);
    assert_eq!((code, &document["exit"]), (2, &2.into()));
    assert!(document["error"].is_string(), "{document}");
}

#[test]
fn completions_are_scripts() {
    assert!(Place::new().ok(&["completions", "bash"]).contains("_offsite"));
}
