//! The docs against the code: every test that `docs/format.md` names is there, and every rule names one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

use std::fs;
use std::path::Path;

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The tests a text names, as file and function.
fn named(text: &str) -> Vec<(&str, &str)> {
    text.split('`').filter_map(|word| word.split_once("::")).filter(|(file, _)| file.starts_with("tests/")).collect()
}

#[test]
fn every_rule_of_the_order_of_writes_has_a_test() {
    let text = read("docs/format.md");
    let section = text.split("\n## ").find(|s| s.starts_with("1. ")).unwrap();
    let rules: Vec<&str> = section.lines().filter(|l| l.starts_with("| ") && l.as_bytes()[2].is_ascii_digit()).collect();
    assert!(rules.len() >= 10, "{rules:#?}");
    for (index, rule) in rules.iter().enumerate() {
        assert!(rule.starts_with(&format!("| {} |", index + 1)), "numbered in order: {rule}");
        assert!(!named(rule).is_empty(), "no test: {rule}");
    }
}

#[test]
fn every_test_that_is_named_is_there() {
    let (format, trust) = (read("docs/format.md"), read("docs/trust.md"));
    let tests = [named(&format), named(&trust)];
    assert!(tests.iter().all(|tests| !tests.is_empty()));
    for (file, test) in tests.into_iter().flatten() {
        assert!(read(file).contains(&format!("fn {test}()")), "{file} has no test {test}");
    }
}

/// The order of writes is the first section, because everything else rests on it.
#[test]
fn the_order_of_writes_comes_first() {
    let text = read("docs/format.md");
    let first = text.lines().find(|l| l.starts_with("## ")).unwrap();
    assert_eq!(first, "## 1. The order of writes");
}
