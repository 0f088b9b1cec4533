//! `init` on directories: what it makes, what it only looks at, and how it ends.

use super::Place;

#[test]
fn a_directory_is_made_once_and_can_be_synced_to() {
    let place = Place::new();
    let first = place.ok(&["init", "new/copy"]);
    assert!(first.contains("directory  missing  there, writable  changed"), "{first}");
    assert!(place.ok(&["init", "new/copy"]).contains("nothing"));
    place.ok(&["init", "new/copy", "--check"]);
    place.ok(&["sync", "site", "new/copy"]);
    assert!(place.path("new/copy/index.html").exists());
}

#[test]
fn a_check_changes_nothing_and_ends_with_one_where_it_would() {
    let place = Place::new();
    let ran = place.run(&["init", "here", "there/too", "--check"]);
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    assert_eq!(ran.out.matches("would change").count(), 2, "{}", ran.out);
    assert!(ran.err.contains("1 of 1 setting not as wanted, and nothing was changed"), "{}", ran.err);
    assert!(!place.path("here").exists() && !place.path("there").exists());
}

#[test]
fn what_a_store_has_not_is_a_row_and_no_success() {
    let place = Place::new();
    let wishes =
        ["--versioning", "--abort-uploads-after", "7d", "--expire-old-versions-after=90d", "--block-public", "--lock=governance:1d"];
    let (code, document) = place.json(&[&["init", "copy"][..], &wishes].concat());
    assert_eq!((code, &document["exit"]), (1, &1.into()), "{document}");
    let rows = document["destinations"][0]["settings"].as_array().unwrap();
    assert_eq!((rows.len(), &rows[0]["did"]), (6, &"changed".into()), "{document}");
    for row in &rows[1..] {
        assert!(row["did"] == "cannot" && row["why"].as_str().is_some_and(|why| why.len() > 10), "{row}");
    }
    let ran = place.run(&["init", "copy", "--versioning"]);
    assert!(ran.out.contains("versioning: a directory keeps no versions"), "{}", ran.out);
    place.ok(&["sync", "site", "copy"]);
}

#[test]
fn wrong_wishes_are_usage_errors_and_touch_nothing() {
    let place = Place::new();
    let wrong: [&[&str]; 8] = [
        &["init"],
        &["init", "copy", "--abort-uploads-after", "12h"],
        &["init", "copy", "--expire-old-versions-after", "0"],
        &["init", "copy", "--versioning=maybe"],
        &["init", "copy", "--lock", "30d"],
        &["init", "copy", "--lock", "governance:1d", "--versioning=off"],
        &["init", "copy", "ftp://host/x"],
        &["init", "copy", "s3://key:hush@bucket/x"],
    ];
    for args in wrong {
        let ran = place.run(args);
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.err);
        assert!(!ran.err.contains("hush"), "{}", ran.err);
    }
    assert!(!place.path("copy").exists());
}

#[test]
fn what_is_in_the_way_is_said() {
    let place = Place::new();
    std::fs::write(place.path("file"), "in the way").unwrap();
    let ran = place.run(&["init", "file", "copy"]);
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("not a directory") && place.path("copy").is_dir(), "{}", ran.out);
}
