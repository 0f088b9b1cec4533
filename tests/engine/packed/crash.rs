//! Killed at every storage call of every kind of run: the last snapshot stays whole, the next run ends well and sends
//! nothing again that had arrived, and nothing is left that no snapshot names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Arc;

use offsite::engine::RepairOptions;
use offsite_backends::Backend;
use offsite_backends::testing::MemoryOptions;

use super::objects::Objects;
use super::{begin, comes_back_at, copy_tree, exact, last, many_pieces, noise, prune};
use crate::dumps::{Made, dump};
use crate::harness::*;
use crate::repair::repair_with;

/// Makes the store of one story.
type Make = dyn Fn(&World) -> Arc<dyn Backend>;

/// A run that is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scene {
    First,
    Change,
    Removal,
    Big,
    Dump,
    Prune,
    Repair,
}

struct Story {
    scene: Scene,
    world: World,
    inner: Arc<dyn Backend>,
    /// What each snapshot must bring back.
    trees: BTreeMap<u64, String>,
}

impl Story {
    /// Everything that is before the run.
    async fn told(scene: Scene, make: &Make) -> Self {
        let world = World::packed();
        let inner = make(&world);
        begin(&world, &inner).await;
        let mut story = Self { scene, world, inner, trees: BTreeMap::new() };
        story.tree();
        if scene == Scene::First {
            story.remember(1);
            return story;
        }
        story.synced(1).await;
        match scene {
            Scene::Change => story.change(0),
            Scene::Removal => {
                fs::remove_dir_all(story.world.source().join("dir")).unwrap();
                story.world.remove("several");
            }
            // More than 32 pieces and three packs.
            Scene::Big => story.world.write("big", &noise(7, 40 << 20)),
            Scene::Dump => story.world.options.dumps = vec![dump(Made(b'd', 5 << 20, Ok(())))],
            Scene::Prune => {
                for number in 2..=4 {
                    story.change(number);
                    story.synced(number).await;
                }
            }
            Scene::Repair => story.harm().await,
            Scene::First => {}
        }
        story.remember(2);
        story
    }

    fn has_list(&self) -> bool {
        [Scene::First, Scene::Change, Scene::Repair].contains(&self.scene)
    }

    fn tree(&self) {
        for i in 0..12 {
            self.world.write(&format!("dir/{i:02}"), &noise(i, 9_000));
        }
        self.world.write("several", &many_pieces(1, 3));
        // It is 5 MiB, so it is there only where its list is what matters.
        if self.has_list() {
            self.world.write("listed", &many_pieces(2, 34));
        }
        self.world.write("empty", b"");
    }

    fn change(&self, number: u64) {
        for i in 0..4 {
            self.world.write(&format!("dir/{i:02}"), &noise(100 * (number + 1) + i, 9_000));
        }
        self.world.write("new/one", &noise(70 + number, 900));
        if self.has_list() {
            self.world.write("listed", &[many_pieces(3 + number, 1), many_pieces(2, 34)].concat());
        }
        if number == 0 {
            fs::rename(self.world.source().join("dir/07"), self.world.source().join("renamed")).unwrap();
            self.world.remove("dir/11");
        }
    }

    fn remember(&mut self, number: u64) {
        if !self.trees.contains_key(&number) {
            let name = format!("tree-{number}");
            copy_tree(&self.world.source(), &self.world.path(&name));
            self.trees.insert(number, name);
        }
    }

    async fn synced(&mut self, number: u64) {
        assert_eq!(self.world.synced(&self.inner).await.snapshot, Some(number));
        self.remember(number);
    }

    /// Deletes the pack that has most of the tree.
    async fn harm(&self) {
        let objects = Objects::of(&self.inner).await;
        let largest = objects.packs().into_iter().max_by_key(|key| objects.0[key].len()).unwrap();
        object_store::ObjectStoreExt::delete(&*self.inner.store(), &largest.as_str().into()).await.unwrap();
    }

    async fn run(&self, backend: &Arc<dyn Backend>) -> u8 {
        match self.scene {
            Scene::Prune => prune(&self.world, backend, &last(1)).await.map_or(1, |_| 0),
            // After a commit that the killed run made, the next one tells what the first snapshot has lost for good.
            Scene::Repair => repair_with(&self.world, backend, &RepairOptions::default())
                .await
                .map_or(1, |outcome| u8::from(outcome.lost.iter().any(|lost| lost.last_snapshot >= outcome.base))),
            _ => self.world.sync(backend).await.exit,
        }
    }

    /// Every snapshot that is there comes back whole, on a machine that knows nothing.
    async fn is_whole(&self, objects: &Objects, about: &str) {
        let Some(newest) = objects.snapshots().last().copied() else { return };
        // Until it is repaired, what was lost is lost, and the first snapshot has lost it for good.
        match (self.scene, newest) {
            (Scene::Repair, 1) => return,
            (Scene::Repair, _) => {}
            _ => objects.nothing_is_missing(about),
        }
        let tree = self.world.path(self.trees.get(&newest).unwrap_or_else(|| panic!("{about}: snapshot {newest}")));
        if self.scene == Scene::Dump && newest == 2 {
            copy_tree(&tree, &self.world.path("with-dump"));
            fs::write(self.world.path("with-dump/db.sql"), vec![b'd'; 5 << 20]).unwrap();
            // The time of a dump is that of its making.
            let entries = objects.entries(2);
            let entry = entries.iter().find(|entry| entry["path"] == "db.sql").unwrap();
            assert_eq!(entry["size"], 5 << 20, "{about}");
            fs::remove_dir_all(self.world.path("with-dump")).unwrap();
            return;
        }
        comes_back_at(&self.world, &self.world.elsewhere("fresh"), &self.inner, newest, &tree, about).await;
        fs::remove_dir_all(self.world.path("fresh")).unwrap();
    }
}

async fn killed_at(scene: Scene, make: &Make, n: u64, whole: u64) {
    let about = format!("{scene:?}, call {n}");
    let story = Story::told(scene, make).await;
    let before = Objects::of(&story.inner).await.packs();
    let (script, backend) = faulty(&story.inner);
    script.script().stop_at(n);
    story.run(&backend).await;
    let broken = Objects::of(&story.inner).await;
    story.is_whole(&broken, &about).await;
    assert_eq!(story.run(&story.inner).await, 0, "{about}");
    let done = Objects::of(&story.inner).await;
    exact_but_lost(&done, scene, &about);
    // The next probe deletes what the one that was cut off left.
    let probes: Vec<_> = done.0.keys().filter(|key| key.starts_with(".offsite/probe/")).collect();
    assert!(probes.is_empty(), "{about}: {probes:?}");
    if scene != Scene::Dump {
        story.world.comes_back(&story.inner).await;
    }
    // A repair looks for what is wrong anew, and begins anew.
    if ![Scene::Prune, Scene::Repair].contains(&scene) {
        let arrived: BTreeSet<String> = broken.packs().difference(&before).cloned().collect();
        let there = done.packs();
        let gone: Vec<_> = arrived.difference(&there).collect();
        assert!(gone.is_empty(), "{about}: had arrived and was not used: {gone:?}");
        let sent = done.pack_bytes() - before.iter().filter_map(|key| Some(done.0.get(key)?.len() as u64)).sum::<u64>();
        // Each run pads its last pack at a sealed destination.
        let more = (16 << 10) + if sealed() { whole / 7 } else { 0 };
        assert!(sent <= whole + more, "{about}: {sent} bytes in both runs together, not {whole}");
    }
}

/// After a repair, what the first snapshot alone names may be lost.
fn exact_but_lost(done: &Objects, scene: Scene, about: &str) {
    if scene != Scene::Repair {
        return exact(done, about);
    }
    let newest = done.snapshots().last().copied().unwrap();
    let (named, there) = (done.named_by(newest), done.packs());
    assert!(named.is_subset(&there), "{about}: {:?}", named.difference(&there));
}

/// How many storage calls the run makes, and how many bytes of packs it adds.
async fn measured(scene: Scene, make: &Make) -> (u64, u64) {
    let story = Story::told(scene, make).await;
    let before = Objects::of(&story.inner).await;
    let (script, backend) = faulty(&story.inner);
    assert_eq!(story.run(&backend).await, 0, "{scene:?}");
    let after = Objects::of(&story.inner).await;
    (script.count(), after.packs().difference(&before.packs()).map(|key| after.0[key].len() as u64).sum())
}

async fn killed_everywhere(scenes: &[Scene], make: &Make) {
    for scene in scenes {
        let (calls, whole) = measured(*scene, make).await;
        assert!(calls > 5, "{scene:?}: {calls}");
        for n in 1..=calls {
            killed_at(*scene, make, n, whole).await;
        }
        println!("crash matrix{}: {scene:?}: killed at each of {calls} calls", if sealed() { ", sealed" } else { "" });
    }
}

const SMALL: [Scene; 6] = [Scene::First, Scene::Change, Scene::Removal, Scene::Dump, Scene::Prune, Scene::Repair];

fn bucket(versions: bool) -> impl Fn(&World) -> Arc<dyn Backend> {
    move |_| memory_with("killed", MemoryOptions { versions, ..MemoryOptions::default() }).1
}

fn directory(world: &World) -> Arc<dyn Backend> {
    world.file("destination")
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_call_on_an_object_store() {
    killed_everywhere(&SMALL, &bucket(false)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_call_where_the_bucket_keeps_versions() {
    killed_everywhere(&SMALL, &bucket(true)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_call_in_a_directory() {
    killed_everywhere(&SMALL, &directory).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_call_of_a_big_file() {
    killed_everywhere(&[Scene::Big], &bucket(false)).await;
    killed_everywhere(&[Scene::Big], &directory).await;
}
