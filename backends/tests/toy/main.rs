//! A store is one folder and one row: here a toy is added in the way that `docs/add-a-store.md` tells, and judged by the
//! conformance suite.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

mod store;

use std::sync::Arc;

use async_trait::async_trait;
use futures::FutureExt;
use offsite_backends::conformance::{self, PlaceKind, TestedPlace};
use offsite_backends::kinds::{Host, KINDS, PLAIN, StoreKind};
use offsite_backends::{Backend, ErrorKind, Result, open_with};

const TOY: StoreKind = StoreKind {
    schemes: &["toy"],
    open: Some(|location| async { Ok(Arc::new(store::ToyBackend::open(location)?) as Arc<dyn Backend>) }.boxed()),
    host: Host::Bucket,
    settings: |_| store::SETTINGS.to_vec(),
    docs: "docs/toy.md",
    ..PLAIN
};

fn kinds() -> Vec<StoreKind> {
    [KINDS, &[TOY]].concat()
}

struct Toy;

#[async_trait]
impl TestedPlace for Toy {
    fn name(&self) -> &str {
        "toy"
    }

    async fn open(&self, kind: PlaceKind, name: &str) -> Result<Option<Arc<dyn Backend>>> {
        match kind {
            PlaceKind::Plain => open_with(&kinds(), &format!("toy://acme/{name}?colour=red")).await.map(Some),
            _ => Ok(None),
        }
    }

    fn not_here(&self) -> Vec<(&'static str, &'static str)> {
        vec![("requests and bytes are counted", "the toy has no wire, and so nothing to count")]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_toy_store_conforms() {
    let report = conformance::run(Arc::new(Toy), "t", None, |line| println!("{line}")).await;
    report.verdict().unwrap_or_else(|failed| panic!("{failed}"));
    let held = report.entries.iter().filter(|entry| entry.outcome.is_ok()).count();
    assert!(held >= 30, "only {held} cases say something of it");
}

#[tokio::test]
async fn the_row_is_all_that_is_asked() {
    let toy = open_with(&kinds(), "toy://acme/site").await.unwrap();
    assert_eq!(toy.location().to_string(), "toy://acme/site");
    let error = open_with(&kinds(), "toy://acme/site?size=9").await.err().unwrap();
    assert!(error.kind == ErrorKind::Invalid && error.message.contains("colour"), "{error}");
    let error = open_with(&kinds(), "tin://acme/site").await.err().unwrap();
    assert!(error.message.contains("s3://") && error.message.contains("toy://"), "{error}");
    let error = offsite_backends::open("toy://acme/site").await.err().unwrap();
    assert!(error.message.starts_with("no backend for `toy://`"), "{error}");
}

/// Whoever follows the page writes what stands here.
#[test]
fn the_page_tells_what_was_done() {
    let page = include_str!("../../../docs/add-a-store.md");
    let row = page.split("```rust\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    assert!(include_str!("main.rs").contains(row), "the row of the page is not that of the toy:\n{row}");
    let methods = include_str!("../../src/contract/backend.rs");
    let required =
        methods.lines().filter(|line| line.starts_with("    fn ") || line.starts_with("    async fn ")).filter(|line| line.ends_with(';'));
    for line in required {
        let name = line.split("fn ").nth(1).and_then(|rest| rest.split('(').next()).unwrap();
        assert!(page.contains(&format!("`{name}`")), "the page does not tell of `{name}`");
    }
}
