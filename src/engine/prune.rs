//! Letting old snapshots go, with the contents and pages that only they needed.
//!
//! Owns the proof that nothing else needs them. Contents and pages live for an unbroken run of snapshots,
//! so what a dropped snapshot names and neither of its surviving neighbours does, nobody does. Age is the
//! store's. Order: a local list of what goes, then the snapshot objects, then what is on the list; a run
//! that was killed in between is finished by the next.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use offsite_backends::Tree;

use super::Machine;
use super::destination::{Destination, Head, fetch_leaves};
use super::lease::{Claim, Lease};
use super::outcome::PruneOutcome;
use super::sync::Report;
use super::tidy::remove_empty_all;
use crate::error::{Error, Result};
use crate::manifest::{CacheReader, Known, PageSource, Records, object_path};
use crate::model::{Content, Entry, Hash, KeepRules, KeyRules, PageRef, Snapshot};
use crate::plan::{Point, keep};
use crate::spool::{Reader, Writer};
use crate::transfer::Stop;

/// After a run, old snapshots are looked for once a day, or when so many are due.
const DAY: i64 = 86_400;
const MANY: usize = 50;
const TODO: &str = "prune-todo";

/// One thing that goes.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Goes {
    key: crate::model::RelPath,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    bytes: u64,
}

/// After a run: lets go what the rules let go. How many snapshots went.
pub async fn let_go(
    destination: &mut Destination,
    rules: &KeepRules,
    lease: Option<&Lease>,
    machine: &Machine,
    stop: &Arc<Stop>,
) -> Result<u64> {
    let Some(head) = &destination.head else { return Ok(0) };
    let unfinished = destination.local(TODO).exists();
    let now = destination.backend.meter().clock().map_or_else(|| chrono::Utc::now().timestamp(), |t| t.timestamp());
    let due = due(&head.list, rules, now);
    let soon = now - head.pruned < DAY && due.len() < MANY;
    if !unfinished && (due.is_empty() || soon) {
        return Ok(0);
    }
    // What is deleted is decided by the store's own times, not by what this machine remembers of them.
    let (list, now) = fresh_list(destination).await?;
    let due = self::due(&list, rules, now);
    let outcome = match lease {
        Some(lease) => drop_snapshots(destination, list, &due, lease, now).await?,
        None => {
            let lease = take(destination, machine, stop).await?;
            let outcome = drop_snapshots(destination, list, &due, &lease, now).await;
            lease.release(Vec::new()).await?;
            outcome?
        }
    };
    Ok(outcome.removed.len() as u64)
}

/// Where nothing is kept: the objects of older snapshots and of pages only they had. Their contents went when
/// they were replaced. Not where the bucket keeps versions; those take a closer look ([`let_go`]).
pub fn superseded(destination: &mut Destination, before: &[Hash], versioned: bool) -> Result<Vec<Vec<u8>>> {
    let Some(head) = destination.head.clone().filter(|_| !versioned) else { return Ok(Vec::new()) };
    let Some((newest, _)) = &head.snapshot else { return Ok(Vec::new()) };
    let (old, list): (List, List) = head.list.iter().cloned().partition(|s| s.number < newest.number);
    let pages = before.iter().filter(|o| !newest.objects.contains(o)).map(Records::pages_object_key);
    let keys = old.iter().map(|s| Records::snapshot_object_key(s.number)).chain(pages).map(String::into_bytes).collect();
    destination.keep_head(Head { list, ..head })?;
    Ok(keys)
}

/// The `prune` verb.
pub async fn prune(machine: &Machine, url: &str, rules: &KeepRules, dry_run: bool, report: &Report) -> Result<PruneOutcome> {
    prune_over(Destination::open(url, machine).await?, machine, rules, dry_run, report).await
}

/// The same over a destination that is open.
pub async fn prune_over(
    mut destination: Destination,
    machine: &Machine,
    rules: &KeepRules,
    dry_run: bool,
    report: &Report,
) -> Result<PruneOutcome> {
    if *rules == KeepRules::default() {
        return Err(Error::Usage("prune needs a rule for what stays, such as --keep-within 30d or --keep-last 7".into()));
    }
    destination.lock()?;
    destination.load(false, false).await?;
    let (list, now) = fresh_list(&destination).await?;
    let due = due(&list, rules, now);
    let mut outcome = if dry_run {
        PruneOutcome { removed: due.iter().copied().collect(), dry_run, ..PruneOutcome::default() }
    } else if list.is_empty() || due.is_empty() && !destination.local(TODO).exists() {
        PruneOutcome::default()
    } else {
        let lease = take(&destination, machine, &report.stop).await?;
        let outcome = drop_snapshots(&mut destination, list.clone(), &due, &lease, now).await;
        lease.release(Vec::new()).await?;
        outcome?
    };
    outcome.url = destination.backend.location().to_string();
    outcome.kept = list.iter().map(|s| s.number).filter(|n| !due.contains(n)).collect();
    outcome.requests = destination.backend.meter().requests();
    Ok(outcome)
}

type List = Vec<super::destination::Listed>;

/// All snapshots with the store's times, and the time by the store's clock.
async fn fresh_list(destination: &Destination) -> Result<(List, i64)> {
    let list = destination.records.snapshots(None).await?.iter().map(Into::into).collect();
    Ok((list, destination.backend.now().await?.timestamp()))
}

fn due(list: &List, rules: &KeepRules, now: i64) -> BTreeSet<u64> {
    let points: Vec<Point> = list.iter().map(|s| Point { number: s.number, time: s.time }).collect();
    let stay = keep(&points, rules, now);
    points.iter().map(|p| p.number).filter(|n| !stay.contains(n)).collect()
}

async fn take(destination: &Destination, machine: &Machine, stop: &Arc<Stop>) -> Result<Lease> {
    let Some(head) = &destination.head else {
        return Err(Error::Usage(format!("{}: nothing was ever synced there", destination.backend.location())));
    };
    let claim = Claim {
        run: format!("{:016x}{:016x}", crate::random(), crate::random()),
        host: machine.host.clone(),
        writer: destination.writer.clone(),
        since: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        base: destination.number(),
    };
    Lease::take(&destination.records, &head.format, claim, stop).await
}

async fn drop_snapshots(destination: &mut Destination, list: List, due: &BTreeSet<u64>, lease: &Lease, now: i64) -> Result<PruneOutcome> {
    let todo = destination.local(TODO);
    let mut outcome = PruneOutcome::default();
    if todo.exists() {
        lease.verify().await?;
        carry_out(destination, &todo, &mut outcome).await?;
    }
    let mut goes = Writer::<Goes>::create(&todo)?;
    for (left, dropped, right) in groups(&list, due) {
        collect(destination, left, &dropped, right, &mut goes).await?;
    }
    goes.flush()?;
    lease.verify().await?;
    let keys = due.iter().map(|n| Records::snapshot_object_key(*n).into_bytes()).collect::<Vec<_>>();
    if !keys.is_empty() {
        destination.records.delete(keys).await?;
    }
    outcome.removed = due.iter().copied().collect();
    carry_out(destination, &todo, &mut outcome).await?;
    if let Some(head) = destination.head.clone() {
        let list = list.into_iter().filter(|s| !due.contains(&s.number)).collect();
        destination.keep_head(Head { list, pruned: now, ..head })?;
    }
    Ok(outcome)
}

/// Runs of snapshots that go, each between the ones that stay.
fn groups(list: &List, due: &BTreeSet<u64>) -> Vec<(Option<u64>, Vec<u64>, Option<u64>)> {
    let mut out = Vec::new();
    let (mut left, mut run) = (None, Vec::new());
    for number in list.iter().map(|s| s.number) {
        if due.contains(&number) {
            run.push(number);
            continue;
        }
        if !run.is_empty() {
            out.push((left, std::mem::take(&mut run), Some(number)));
        }
        left = Some(number);
    }
    // The newest always stays, so nothing is left over here.
    out
}

/// Writes down what only these snapshots need.
async fn collect(destination: &Destination, left: Option<u64>, dropped: &[u64], right: Option<u64>, goes: &mut Writer<Goes>) -> Result<()> {
    let records = &destination.records;
    let mut stay: Vec<Snapshot> = Vec::new();
    for number in [left, right].into_iter().flatten() {
        stay.push(records.snapshot(number).await?.0);
    }
    let mut seen_roots: HashSet<Option<Hash>> = stay.iter().map(|s| s.root.as_ref().map(|r| r.hash)).collect();
    let mut gone_objects = BTreeSet::new();
    let mut previous: Option<Vec<PageRef>> = None;
    for number in dropped {
        let (snapshot, _) = records.snapshot(*number).await?;
        gone_objects.extend(snapshot.objects.iter().copied().filter(|o| !stay.iter().any(|s| s.objects.contains(o))));
        if seen_roots.insert(snapshot.root.as_ref().map(|r| r.hash)) {
            previous = Some(contents(destination, &snapshot, &stay, previous.as_deref(), goes).await?);
        }
    }
    for object in gone_objects {
        goes.push(&Goes { key: Records::pages_object_key(&object).as_str().into(), version: None, bytes: 0 })?;
    }
    Ok(())
}

/// Contents that a dropped snapshot names and no surviving neighbour does; pages seen before are passed over.
async fn contents(
    destination: &Destination,
    snapshot: &Snapshot,
    stay: &[Snapshot],
    before: Option<&[PageRef]>,
    goes: &mut Writer<Goes>,
) -> Result<Vec<PageRef>> {
    let source = PageSource::new(destination.records.clone());
    let leaves = |s: Snapshot| {
        let source = source.clone();
        async move {
            let (leaves, _, mut lost) = source.leaves(&s, |_, _| true).await?;
            if lost.is_empty() { Ok(leaves) } else { Err(lost.swap_remove(0).error) }
        }
    };
    let mine = leaves(snapshot.clone()).await?;
    let keeps = destination.backend.keeps_versions().await?;
    let mine_hashes: HashSet<Hash> = mine.iter().map(|p| p.hash).collect();
    let mut known: HashSet<Hash> = before.unwrap_or_default().iter().map(|p| p.hash).collect();
    let mut others = Vec::new();
    for (index, neighbour) in stay.iter().enumerate() {
        let pages = leaves(neighbour.clone()).await?;
        known.extend(pages.iter().map(|p| p.hash));
        let unlike = pages.into_iter().filter(|p| !mine_hashes.contains(&p.hash)).collect();
        others.push(local_pages(destination, unlike, &format!("prune-{index}")).await?);
    }
    if let Some(before) = before {
        // What the dropped one before it had was written down with that one.
        let unlike = before.iter().filter(|p| !mine_hashes.contains(&p.hash)).cloned().collect();
        others.push(local_pages(destination, unlike, "prune-before").await?);
    }
    let unlike = mine.iter().filter(|p| !known.contains(&p.hash)).cloned().collect();
    let mut own = local_pages(destination, unlike, "prune-own").await?;
    while let Some(entry) = own.peek()?.map(Known::entry).transpose()? {
        own.advance();
        let Some(content) = &entry.content else { continue };
        let mut needed = false;
        for other in &mut others {
            needed |= holds(other, &entry, content)?;
        }
        if !needed {
            push(&snapshot.keys, &entry, content, keeps, goes)?;
        }
    }
    Ok(mine)
}

async fn local_pages(destination: &Destination, pages: Vec<PageRef>, name: &str) -> Result<CacheReader> {
    let path = destination.local(name);
    fetch_leaves(&destination.records, pages, &path).await?;
    let reader = CacheReader::open(&path, None);
    // Open files live on without a name; nothing is left to clean up.
    let _ = std::fs::remove_file(&path);
    reader
}

fn holds(other: &mut CacheReader, entry: &Entry, content: &Content) -> Result<bool> {
    while let Some(known) = other.peek()? {
        if known.path.as_slice() < entry.path.as_bytes() {
            other.advance();
            continue;
        }
        return Ok(known.path == entry.path.as_bytes() && known.entry()?.content.as_ref().is_some_and(|c| c.since == content.since));
    }
    Ok(false)
}

/// A content with a version was copied all the same when it was replaced, where the store had stopped to keep versions.
fn push(rules: &KeyRules, entry: &Entry, content: &Content, keeps: bool, goes: &mut Writer<Goes>) -> Result<()> {
    let kept = || Goes { key: rules.kept_key(entry.path.as_bytes(), content).into(), version: None, bytes: entry.size };
    let Some(version) = &content.version else { return goes.push(&kept()) };
    if !keeps {
        goes.push(&Goes { bytes: 0, ..kept() })?;
    }
    goes.push(&Goes { key: KeyRules::current_key(entry).into(), version: Some(version.clone()), bytes: entry.size })
}

/// Deletes what is on the list, and the list.
async fn carry_out(destination: &Destination, todo: &Path, outcome: &mut PruneOutcome) -> Result<()> {
    const BATCH: usize = 1000;
    let tree = destination.backend.tree();
    let (mut keys, mut versions) = (Vec::new(), Vec::new());
    let mut list = Reader::<Goes>::open(todo)?;
    loop {
        let next = list.next_line()?;
        let last = next.is_none();
        if let Some(goes) = next {
            outcome.contents += u64::from(!is_page(goes.key.as_bytes()));
            outcome.bytes += goes.bytes;
            match goes.version.filter(|_| tree.is_none()) {
                Some(version) => versions.push((object_path(goes.key.as_bytes())?, version)),
                None => keys.push(goes.key.0),
            }
        }
        if !keys.is_empty() && (last || keys.len() >= BATCH) {
            let keys = std::mem::take(&mut keys);
            match &tree {
                Some(tree) => remove_from_tree(tree, &keys).await?,
                None => destination.records.delete(keys).await?,
            }
        }
        if !versions.is_empty() && (last || versions.len() >= BATCH) {
            destination.backend.delete_versions(std::mem::take(&mut versions)).await?;
        }
        if last {
            break;
        }
    }
    std::fs::remove_file(todo).map_err(|e| Error::local(todo, e))
}

fn is_page(key: &[u8]) -> bool {
    key.starts_with(b".offsite/pages/")
}

/// Many at once, as a server far away takes a round trip for each; then the directories that this left empty.
async fn remove_from_tree(tree: &Arc<dyn Tree>, keys: &[Vec<u8>]) -> Result<()> {
    const AT_ONCE: usize = 64;
    let removals: Vec<_> = keys.iter().map(|key| tree.remove_file(key, None)).collect();
    stream::iter(removals).buffered(AT_ONCE).try_collect::<()>().await?;
    remove_empty_all(tree, keys.iter().filter(|key| !is_page(key))).await
}
