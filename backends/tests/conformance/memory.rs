//! The store in memory that the engine's tests run on: it is worth only as much as it is like a real one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use offsite_backends::conformance::{Case, CaseVerdict, PlaceKind, TestedPlace, run};
use offsite_backends::testing::MemoryBackend;
use offsite_backends::{Backend, Result};

/// Buckets by name: a clone of one is what another process would see.
struct Memory {
    buckets: Mutex<HashMap<String, MemoryBackend>>,
    ignores_conditions: bool,
}

impl Memory {
    fn new(ignores_conditions: bool) -> Arc<Self> {
        Arc::new(Self { buckets: Mutex::default(), ignores_conditions })
    }
}

#[async_trait]
impl TestedPlace for Memory {
    fn name(&self) -> &str {
        "memory"
    }

    async fn open(&self, kind: PlaceKind, name: &str) -> Result<Option<Arc<dyn Backend>>> {
        if !matches!(kind, PlaceKind::Plain | PlaceKind::Versioned) {
            return Ok(None);
        }
        let fresh = MemoryBackend::new(name)?;
        let mut buckets = self.buckets.lock().unwrap();
        let bucket = buckets.entry(name.to_owned()).or_insert(fresh);
        bucket.versions(kind == PlaceKind::Versioned).ignore_conditions(self.ignores_conditions);
        Ok(Some(Arc::new(bucket.clone())))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_conforms() {
    let report = run(Memory::new(false), "m", None, |line| println!("{line}")).await;
    report.verdict().unwrap_or_else(|failed| panic!("{failed}"));
}

/// The suite would find a server that takes conditions and ignores them.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_ignores_conditions_does_not_conform() {
    let report = run(Memory::new(true), "m", None, |_| {}).await;
    let failed: Vec<_> =
        report.entries.iter().filter(|entry| matches!(entry.outcome, Err(CaseVerdict::Fails(_)))).map(|e| e.case).collect();
    let about_conditions = |name: &&str| name.starts_with("create-only") || name.starts_with("compare-and-swap");
    assert_eq!((failed.len(), failed.iter().all(about_conditions)), (5, true), "{failed:?}");
    let lines = report.verdict().unwrap_err();
    assert!(lines.starts_with("memory: 5 of ") && lines.lines().count() == 6, "{lines}");
}

/// Names say what is found out, once.
#[test]
fn no_two_cases_have_one_name() {
    let names: std::collections::BTreeSet<_> = offsite_backends::conformance::cases().iter().map(|case: &Case| case.name).collect();
    assert_eq!(names.len(), offsite_backends::conformance::cases().len());
}
