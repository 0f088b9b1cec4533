//! Packed destinations: what only they have, and what only they can get wrong.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use offsite::engine::{self, Machine, PruneOutcome, PullOptions, RunControl};
use offsite::model::{KeepRules, Sample};
use offsite::packs::Cutter;
use offsite_backends::{Backend, ErrorKind};

use crate::harness::*;

mod append_only;
mod crash;
mod dedup;
mod hostile;
pub mod objects;
mod order;
mod properties;
mod repack;
mod requests;
mod strays;
mod tamper;

use objects::Objects;

/// Bytes that do not shrink, the same for the same number.
pub fn noise(number: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// Bytes that are cut into so many short pieces, all different. Many pieces of the usual length would take seconds.
pub fn many_pieces(number: u64, count: usize) -> Vec<u8> {
    use std::sync::OnceLock;
    static BLOCK: OnceLock<Vec<u8>> = OnceLock::new();
    let block = BLOCK.get_or_init(|| {
        let first_piece = |seed| Cutter::new(0).push(noise(seed, 150 << 10).into()).first().map(|piece| piece.to_vec());
        (1 << 40..).find_map(first_piece).unwrap()
    });
    // What decides about a cut are the 64 bytes before it, and none is looked for in the first 128 KiB.
    let one = |index: usize| [&noise(number << 20 | index as u64, 64 << 10)[..], &block[64 << 10..]].concat();
    (0..count).flat_map(one).collect()
}

/// A sealed destination cuts by a seed of its own. This makes one with the seed of all others, which has no snapshot yet, so
/// that [`many_pieces`] are as many there.
pub async fn begin(world: &World, backend: &Arc<dyn Backend>) {
    if !sealed() {
        return;
    }
    let source = tempfile::tempdir().unwrap();
    std::fs::write(source.path().join("f"), b"x").unwrap();
    let (script, broken) = faulty(backend);
    script.script().refuse(".offsite/lease.json.age", ErrorKind::Denied);
    let opened = vec![(broken.location().to_string(), Ok(broken))];
    let outcome = engine::sync_over(&world.machine, source.path(), opened, &world.options, &RunControl::new(1)).await;
    assert_ne!(outcome.exit, 0, "{outcome:?}");
    let there = Objects::of(backend).await.0;
    assert_eq!(there.keys().collect::<Vec<_>>(), [".offsite/format.json", ".offsite/keys/1.age"], "{outcome:?}");
    let format: serde_json::Value = serde_json::from_slice(&there[".offsite/format.json"]).unwrap();
    let key = world.machine.keys.dir.as_ref().unwrap().join(format!("{}.key", format["id"].as_str().unwrap()));
    let text = std::fs::read_to_string(&key).unwrap();
    let zero = |line: &str| if line.starts_with("cut ") { format!("cut {:016x}\n", 0) } else { format!("{line}\n") };
    std::fs::write(&key, text.lines().map(zero).collect::<String>()).unwrap();
}

pub fn copy_tree(from: &Path, to: &Path) {
    let done = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(done.success());
}

/// A snapshot comes back whole on this machine, and equals that tree.
pub async fn comes_back_at(world: &World, machine: &Machine, backend: &Arc<dyn Backend>, number: u64, tree: &Path, about: &str) {
    let (target, options) = (world.path("pulled"), PullOptions { at: Some(number.to_string()), ..PullOptions::default() });
    let destination = opened(backend, machine).await.unwrap();
    let pulled = engine::pull_over(destination, &target, &options, &RunControl::new(1)).await.unwrap();
    assert_eq!((pulled.snapshot, pulled.problems), (number, Sample::default()), "{about}");
    same_trees(tree, &target);
    std::fs::remove_dir_all(target).unwrap();
}

pub async fn prune(world: &World, backend: &Arc<dyn Backend>, rules: &KeepRules) -> offsite::error::Result<PruneOutcome> {
    let destination = opened(backend, &world.machine).await?;
    engine::prune_over(destination, &world.machine, rules, false, &RunControl::new(1)).await
}

pub fn last(count: u64) -> KeepRules {
    KeepRules { last: count, ..KeepRules::default() }
}

/// Every pack that a snapshot names is there, whole, and every pack that is there is named.
#[track_caller]
pub fn exact(objects: &Objects, about: &str) {
    objects.nothing_is_missing(about);
    let strays: BTreeSet<String> = objects.packs().difference(&objects.named()).cloned().collect();
    assert!(strays.is_empty(), "{about}: packs that no snapshot names: {strays:#?}");
}
