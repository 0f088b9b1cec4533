//! The rules that every backend keeps, as small named cases that run on any of them.
//!
//! Owns the [`cases`], what a kind of store has to provide to be judged ([`TestedPlace`]), and the runner ([`run`],
//! [`Report`]). [`crate::Capabilities`] says which cases apply. The `TestedPlace` of a make of server names what that
//! server gets wrong, with a reason. Starts no server and prints nothing. Invariant: a case holds, fails, or says why
//! it cannot be judged; none is skipped in silence.

mod answers;
mod conditions;
mod copies;
pub(crate) mod kit;
mod listings;
mod make;
mod names;
mod objects;
mod report;
mod tree;
mod tree_names;
mod uploads;
mod versions;

use std::sync::Arc;
use std::time::Duration;

pub use self::kit::{At, Case, CaseVerdict, Outcome, PlaceKind, TestedPlace};
pub use self::report::{Report, ReportEntry};

/// Time limit of one case, which no case reaches on a server that works.
const PATIENCE: Duration = Duration::from_mins(2);

/// All cases, in a fixed order.
pub fn cases() -> Vec<Case> {
    let all = [
        objects::CASES,
        conditions::CASES,
        names::CASES,
        listings::CASES,
        uploads::CASES,
        copies::CASES,
        versions::CASES,
        answers::CASES,
        make::CASES,
        tree::CASES,
        tree_names::CASES,
    ];
    all.concat()
}

/// Runs the cases one after the other and passes one line a case to `say`. With `only`, runs those whose name contains
/// it. Names of destinations begin with `stem`, which must be new at the store.
pub async fn run(place: Arc<dyn TestedPlace>, stem: &str, only: Option<&str>, mut say: impl FnMut(&str)) -> Report {
    let quirks = place.not_here();
    let mut report = Report::of(place.as_ref(), stem).await;
    for (number, case) in cases().into_iter().enumerate() {
        if only.is_some_and(|only| !case.name.contains(only)) {
            continue;
        }
        let quirk = quirks.iter().find(|(name, _)| *name == case.name);
        let outcome = match quirk {
            Some((_, why)) => Err(CaseVerdict::NotHere((*why).to_owned())),
            None => guarded(case, At { place: place.clone(), name: format!("{stem}-{number:02}x") }).await,
        };
        let entry = ReportEntry { case: case.name, outcome, is_quirk: quirk.is_some() };
        say(&format!("{}: {entry}", place.name()));
        report.entries.push(entry);
    }
    for (name, _) in &quirks {
        if !cases().iter().any(|case| case.name == *name) {
            let outcome = Err(CaseVerdict::Fails("the place says this does not hold, and there is no such case".into()));
            report.entries.push(ReportEntry { case: name, outcome, is_quirk: false });
        }
    }
    report
}

/// Runs one case with a time limit. A panic is a failure.
async fn guarded(case: Case, at: At) -> Outcome {
    match tokio::time::timeout(PATIENCE, tokio::spawn((case.run)(at))).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(broken)) => Err(CaseVerdict::Fails(format!("it broke off: {broken}"))),
        Err(_) => Err(CaseVerdict::Fails(format!("no answer within {} s", PATIENCE.as_secs()))),
    }
}
