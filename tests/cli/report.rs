//! What `report` prints, and how it ends.

use std::fs;

use super::Place;

fn twice() -> Place {
    let place = Place::synced();
    fs::write(place.path("site/more"), vec![b'm'; 5000]).unwrap();
    place.ok(&["sync", "site", "copy"]);
    place
}

#[test]
fn a_row_for_each_destination_and_a_trend_below() {
    let place = twice();
    place.ok(&["sync", "site", "second"]);
    let out = place.ok(&["report", "copy", "second"]);
    let rows: Vec<&str> = out.lines().take(3).collect();
    assert!(rows[0].starts_with("destination") && rows[0].contains("counted by") && rows[0].contains("free"), "{out}");
    assert!(rows[1].contains("copy") && rows[1].contains("manifest") && rows[1].contains("4.9 KiB"), "{out}");
    assert!(rows[2].contains("second"), "{out}");
    // The terminal's character set is not known here.
    assert!(out.contains("trend   _#\n") && out.contains("14 B to 4.9 KiB, 2 snapshots"), "{out}");
    assert_eq!(out.matches("trend").count(), 1, "{out}");
    assert!(!out.contains("a month"), "a directory costs nothing: {out}");
}

#[test]
fn a_place_with_several_destinations_is_listed() {
    let place = Place::new();
    fs::create_dir_all(place.path("disk/old")).unwrap();
    fs::write(place.path("disk/old/dump.sql"), "12345").unwrap();
    place.ok(&["sync", "site", "disk/one"]);
    place.ok(&["sync", "site", "disk/two"]);
    let out = place.ok(&["report", "disk", "--by-directory"]);
    assert_eq!(out.lines().take(4).filter(|line| line.contains(" listing ")).count(), 3, "{out}");
    assert!(out.contains("disk (not offsite's)") && out.contains("old/") && out.contains("docs/") && out.contains("(at the top)"), "{out}");
    assert!(out.contains("so it was listed"), "{out}");
    let (_, document) = place.json(&["report", "disk"]);
    let rows = document["destinations"][0]["rows"].as_array().unwrap();
    assert_eq!(rows.iter().map(|row| row["nobodys"] == true).collect::<Vec<_>>(), [false, false, true]);
    assert_eq!((&rows[2]["content"]["objects"], &rows[2]["content"]["bytes"]), (&1.into(), &5.into()));
}

#[test]
fn one_that_fails_stops_no_other() {
    let place = Place::synced();
    let ran = place.run(&["report", "nowhere", "copy"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("nowhere") && ran.out.contains("copy"), "{}{}", ran.out, ran.err);
    let (code, document) = place.json(&["report", "nowhere", "copy"]);
    assert_eq!((code, &document["exit"], &document["destinations"][1]["exit"]), (1, &1.into(), &0.into()));
    assert!(document["destinations"][0]["error"].is_string(), "{document}");
}

#[test]
fn storage_has_a_price() {
    let place = Place::synced();
    let out = place.ok(&["report", "copy", "--list", "--price", "aws/s3-standard"]);
    assert!(out.contains("a month for") && out.contains("(aws/s3-standard of 20"), "{out}");
    let dear = r#"{"prices":{"mine":{"put_per_1k":0,"get_per_1k":0,"storage_gb_month":1000000000,"egress_gb":0,"as_of":"2020-01-01","source":"a letter","confidence":"high"}}}"#;
    fs::write(place.path("mine.json"), dear).unwrap();
    let out = place.ok(&["report", "copy", "--prices", "mine.json", "--price", "mine"]);
    // 14 bytes of content at a dollar each.
    assert!(out.contains("$14.00 a month for 14 B") && out.contains("the price mine is "), "{out}");
    let ran = place.run(&["report", "copy", "--price", "no/such"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains("no price `no/such`") && ran.err.contains("gcs/standard"), "{}", ran.err);
    assert_eq!(place.run(&["report"]).code, 2);
}

/// Where every destination has a command of its own, there is nothing else to count.
#[test]
fn a_command_of_the_users_own_ends_as_it_ended() {
    let place = Place::new();
    let config = |command: &str| {
        let text = format!(
            r#"{{ "destinations": {{ "d": {{ "url": "copy", "report": "{command}" }} }},
                  "jobs": {{ "files": {{ "source": "site", "destinations": ["d"], "options": {{ "off": "ignore" }} }} }} }}"#
        );
        fs::write(place.path("offsite.json"), text).unwrap();
    };
    config("printf '12\\\\t%s' $OFFSITE_JOB");
    let out = place.ok(&["report"]);
    assert!(out.contains("  12  files\n") && !out.contains("destination "), "{out}");
    assert_eq!(place.run(&["report", "--type", "off"]).code, 0, "nothing to report on");
    config("echo so far; exit 3");
    let (code, document) = place.json(&["report"]);
    assert_eq!((code, &document["destinations"][0]["exit"]), (1, &1.into()));
    assert!(document["destinations"][0]["error"].as_str().unwrap().contains("exit code 3"), "{document}");
}
