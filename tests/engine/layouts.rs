//! Runs this suite once more over packed destinations, and over sealed ones: what is not about mirrors holds for all.
//!
//! Owns the lists of the tests that are about one layout alone. A test that is on none of them must pass over all.

use std::collections::BTreeSet;
use std::process::Command;

/// Why, and which tests, by the beginnings of their names.
type Reasons = [(&'static str, &'static [&'static str])];

const MIRRORS_ONLY: &Reasons = &[
    (
        "each file is an object under its own name there, which others can replace, spell in another way or refuse",
        &[
            "fold::",
            "foreign::a_destination_made_anew",
            "foreign::a_directory_becomes",
            "foreign::a_file_that_was_deleted_there",
            "foreign::a_first_sync_writes_over",
            "foreign::a_rename_whose_old_name",
            "foreign::an_empty_directory",
            "names::in_an_object_store",
            "order::a_content_is_put_only_over",
            "order::what_is_not_as_known",
            "order::what_a_store_calls_there",
            "order::an_upload_ends_and_a_copy",
            "refused::",
            "pull::one_content_that_the_store_refuses",
            "pull::a_snapshot_that_is_let_go",
            "pull::what_lies_in_an_archive",
        ],
    ),
    (
        "a directory is a real tree there",
        &["round_trip::a_directory_destination_is", "crash::directories_are_set", "check::a_directory_has"],
    ),
    (
        "what is replaced or removed is kept aside or deleted there (packed: packed/order.rs, packed/strays.rs)",
        &[
            "crash::a_commit_whose_answer_was_lost",
            "crash::a_run_that_did_not_commit",
            "crash::a_source_that_goes_back",
            "history::every_state_comes_back_from_an_object_store",
            "locked::a_content_under_a_hold",
            "locked::a_locked_snapshot_stays_whole",
            "order::a_content_is_kept_before",
            "order::a_lost_lease_deletes_nothing",
            "order::contents_then_pages",
            "order::deletes_come_after",
            "order::in_a_directory_what_is_replaced",
            "order::pruned_snapshots_go_before",
            "requests::kept_versions_are_one_copy_each",
            "report::kept_copies_are_told",
        ],
    ),
    (
        "large files go in parts, and parts that the destination has are copied (packed: packed/crash.rs, packed/dedup.rs)",
        &[
            "append_only::an_upload_that_nobody_continues",
            "crash::a_completion_that_fails",
            "crash::a_large_upload_goes_on",
            "crash::an_upload_",
            "crash::parts_of_a_file_that_changed",
            "delta::",
            "round_trip::a_large_file_goes_in_parts",
        ],
    ),
    (
        "a content is a request (packed: packed/requests.rs)",
        &[
            "crash::small_files_that_arrived",
            "estimates::a_large_file_in_parts",
            "requests::a_first_run_is_one_put_a_file",
            "requests::changed_files_and_six_more",
        ],
    ),
    ("they make destinations of every layout themselves", &["copy::", "copy_faults::", "repair::from_another_destination"]),
    ("what was there before can be adopted", &["damage::after_damage_adopting", "kinds::adopting"]),
    (
        "they harm single contents, or count them as objects (packed: packed/tamper.rs, packed/crash.rs)",
        &[
            "check::a_name_that_was_deleted",
            "check::a_rolling_sample",
            "check::a_run_that_was_cut_off",
            "check::damage_that_no_listing_shows",
            "check::kept_contents",
            "check::missing_changed_and_foreign",
            "check::what_a_sync_left_is_good",
            "check::what_cannot_be_read_is_three",
            "check::without_a_record_the_sample",
            "damage::a_damaged_content_is_not",
            "repair::a_directory_gets_its_files",
            "repair::an_unmounted_source_and_a_budget",
            "repair::contents_under_other_tags",
            "repair::killed_at_every_call",
            "repair::the_order_of_writes",
            "repair::what_reading_found_damaged",
            "repair::what_stands_in_the_way",
            "repair::what_the_source_has",
        ],
    ),
    (
        "the report counts the objects of contents by directory",
        &["report::a_listing_counts_all", "report::several_destinations_in_one_place", "report::what_a_server_cannot_list"],
    ),
];

/// What runs over packed destinations in the suite itself, or starts it.
const OVER_PACKED: &Reasons =
    &[("they are about packed destinations already, or start this suite", &["packed::", "sealed::", "layouts::"])];

const OVER_SEALED: &Reasons = &[
    ("they are about sealed destinations already, or start this suite", &["sealed::", "layouts::"]),
    (
        "they write plain records, which nobody reads there (sealed.rs)",
        &["bounds::a_record_that_nobody", "bounds::after_the_last_number", "damage::a_reference_to_something_huge", "lies::"],
    ),
    ("a byte that is wrong there takes a chunk of 64 KiB with it, so all of a small page object", &["damage::a_damaged_page_loses"]),
    (
        "sealing knows nothing of the store, and these take the longest: the ones on an object store without versions run",
        &[
            "crash::killed_at_every_call_in_a_directory",
            "crash::killed_at_every_call_where_the_bucket",
            "every_verb::no_verb_says_it_is_well_when_it_is_not_in_a_directory",
            "packed::crash::killed_at_every_call_in_a_directory",
            "packed::crash::killed_at_every_call_of_a_big_file",
            "packed::crash::killed_at_every_call_where_the_bucket",
            "stop::stopped_at_every_call_where",
        ],
    ),
    (
        "they are about the bytes of packs, or find nothing there that they do not find at an open one",
        &[
            "packed::append_only::",
            "packed::dedup::",
            "packed::hostile::",
            "packed::order::",
            "packed::properties::",
            "packed::repack::",
            "packed::requests::",
            "packed::strays::",
        ],
    ),
];

/// This suite over destinations of a layout, with these arguments: what it wrote, and whether it passed.
fn suite(layout: &str, arguments: &[&str]) -> (String, bool) {
    let names = [MIRRORS_ONLY, besides(layout)].into_iter().flatten().flat_map(|(_, names)| names.iter());
    let skip = names.flat_map(|name| ["--skip", name]);
    let keys = tempfile::tempdir().unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env("OFFSITE_TEST_LAYOUT", layout).env("OFFSITE_TEST_KEYS", keys.path());
    let done = command.args(skip).args(arguments).output().unwrap();
    let text = [done.stdout, done.stderr].concat();
    (String::from_utf8_lossy(&text).into_owned(), done.status.success())
}

fn besides(layout: &str) -> &'static Reasons {
    if layout == "sealed" { OVER_SEALED } else { OVER_PACKED }
}

#[track_caller]
fn passes_over(layout: &str) {
    let (text, passed) = suite(layout, &[]);
    println!("{text}");
    assert!(passed, "run one of these tests with OFFSITE_TEST_LAYOUT={layout}");
}

#[test]
fn the_suite_passes_over_packed_destinations() {
    passes_over("packed");
}

#[test]
fn the_suite_passes_over_sealed_destinations() {
    passes_over("sealed");
}

/// A test that was renamed must not leave the lists to run over another layout by accident, nor the other way round.
#[test]
fn every_name_on_the_lists_is_that_of_a_test() {
    let all = Command::new(std::env::current_exe().unwrap()).arg("--list").output().unwrap();
    let all = String::from_utf8(all.stdout).unwrap();
    let tests: BTreeSet<&str> = all.lines().filter_map(|line| line.strip_suffix(": test")).collect();
    for name in [MIRRORS_ONLY, OVER_PACKED, OVER_SEALED].into_iter().flatten().flat_map(|(_, names)| names.iter()) {
        assert!(tests.iter().any(|test| test.starts_with(name)), "no test begins with {name}");
    }
    for layout in ["packed", "sealed"] {
        let (text, _) = suite(layout, &["--list"]);
        let both = text.lines().filter(|line| line.ends_with(": test")).count();
        println!("{both} of {} tests run over {layout} destinations too", tests.len());
        assert!(both >= 100, "{layout}: {both}");
    }
}
