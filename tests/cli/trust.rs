//! `check` and `repair` as a user meets them: exit codes and what is said.

use std::fs;

use super::{Place, read};

#[test]
fn a_check_is_zero_or_one_and_names_what_is_wrong() {
    let place = Place::synced();
    let out = place.ok(&["check", "copy"]);
    assert!(out.contains(": OK") && out.contains("missing 0  changed 0  damaged 0  foreign 0"), "{out}");
    assert_eq!(place.ok(&["check", "copy", "--quiet"]), "");
    fs::write(place.path("copy/mine"), "x").unwrap();
    assert!(place.ok(&["check", "copy"]).contains("foreign, left alone (1)"));
    fs::remove_file(place.path("copy/docs/a.txt")).unwrap();
    let ran = place.run(&["check", "copy"]);
    assert_eq!(ran.code, 1, "{}", ran.out);
    assert!(ran.out.contains("missing  docs/a.txt: not found") && ran.out.contains("offsite repair"), "{}", ran.out);
    let quiet = place.run(&["check", "copy", "--quiet"]);
    assert_eq!((quiet.code, quiet.out.as_str()), (1, ""));
    assert!(quiet.err.contains("docs/a.txt"), "{}", quiet.err);
    let (code, document) = place.json(&["check", "copy"]);
    assert_eq!((code, &document["missing"], &document["findings"][0]["flaw"]), (1, &1.into(), &"missing".into()), "{document}");
}

/// At a packed destination, packs are what is there.
#[test]
fn packs_are_counted_as_packs() {
    let place = Place::synced();
    for times in [100, 200] {
        fs::write(place.path("site/more"), "more".repeat(times)).unwrap();
        place.ok(&["sync", "site", "vault", "--packed"]);
    }
    let out = place.ok(&["check", "vault", "--read-data"]);
    assert!(out.contains("\n  2 packs, ") && out.contains("\n  read back 2 packs, ") && !out.contains("content"), "{out}");
    let (_, document) = place.json(&["check", "vault"]);
    assert_eq!((&document["layout"], &document["contents"]), (&"packed".into(), &2.into()), "{document}");
    fs::remove_file(place.path("site/more")).unwrap();
    place.ok(&["sync", "site", "vault", "--packed"]);
    let out = place.ok(&["prune", "vault", "--keep-last", "1"]);
    assert!(out.contains("\n  freed 1 pack, "), "{out}");
    assert!(place.ok(&["check", "copy"]).contains("\n  3 contents, "));
}

#[test]
fn a_share_is_read_and_the_round_goes_on() {
    let place = Place::synced();
    assert!(place.ok(&["check", "copy", "--read-data"]).contains("read back 3 contents, 14 B\n"));
    assert!(place.ok(&["check", "copy", "--read-data=50%"]).contains("50 % of this round"));
    assert!(place.ok(&["check", "copy", "--read-data=0.5", "--no-record"]).contains("100 % of this round"));
    let record: serde_json::Value = serde_json::from_str(&read(place.path("copy/.offsite/check.json"))).unwrap();
    assert_eq!((&record["result"], &record["share"], &record["next"]), (&"good".into(), &0.5.into(), &(1u64 << 31).into()), "{record}");
}

#[test]
fn a_repair_sends_again_and_says_what_is_lost() {
    let place = Place::synced();
    fs::remove_file(place.path("copy/docs/a.txt")).unwrap();
    fs::remove_file(place.path("copy/index.html")).unwrap();
    let dry = place.ok(&["repair", "site", "copy", "--dry-run"]);
    assert!(dry.contains("to repair 2") && !place.path("copy/index.html").exists(), "{dry}");
    fs::remove_file(place.path("site/index.html")).unwrap();
    let ran = place.run(&["repair", "site", "copy"]);
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("repaired 1") && ran.out.contains("missing  index.html"), "{}", ran.out);
    assert_eq!(read(place.path("copy/docs/a.txt")), "first");
    fs::remove_dir_all(place.path("site")).unwrap();
    fs::create_dir(place.path("site")).unwrap();
    let refused = place.run(&["repair", "site", "copy"]);
    assert_eq!(refused.code, 4, "{}", refused.err);
    assert!(refused.err.contains("--allow-empty"), "{}", refused.err);
}

#[test]
fn what_was_never_synced_cannot_be_checked() {
    let place = Place::new();
    fs::create_dir(place.path("empty")).unwrap();
    assert_eq!(place.run(&["check", "empty"]).code, 2);
    assert_eq!(place.run(&["repair", "site", "empty"]).code, 2);
    assert_eq!(place.run(&["check", "copy", "--at", "yesterday"]).code, 2);
}
