//! A destination that is a real directory tree: names appear whole, with their metadata.

use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::ObjectStoreExt;

use super::kit::{At, Case, CaseVerdict, Outcome, body, case, content, key, refused, same, want};
use crate::contract::error::{self, ErrorKind};
use crate::contract::tree::{FileKind, FileMeta, Publish, Stamp, Tree};

pub(super) const CASES: &[Case] = &[
    case!("tree: nothing is seen before it is published", publish),
    case!("tree: what is in the way", in_the_way),
    case!("tree: what is replaced is kept", keeps),
    case!("tree: what is removed is kept", remove_keeps),
    case!("tree: contents in blocks", blocks),
    case!("tree: times in whole seconds", seconds),
    case!("tree: times in nanoseconds", nanoseconds),
    case!("tree: modes", modes),
    case!("tree: links", links),
    case!("tree: only empty directories are removed", dirs),
    case!("tree: a copy within it", copies),
    case!("tree: the staging area is not listed and can be cleared", staging),
    case!("tree: the data plane and the tree are one", one),
];

pub(super) type Of<T> = Result<T, CaseVerdict>;

/// Stages and publishes one content.
pub(super) async fn put(tree: &Arc<dyn Tree>, path: &[u8], text: &str, meta: FileMeta, keep: Option<&str>) -> error::Result<()> {
    let staged = tree.stage(Bytes::from(text.to_owned()), meta).await?;
    let item = Publish { staged, path: path.to_vec(), keep: keep.map(|keep| keep.as_bytes().to_vec()) };
    tree.publish(vec![item], false).await.into_iter().collect()
}

/// The whole content of a file.
pub(super) async fn read(tree: &Arc<dyn Tree>, path: &[u8]) -> error::Result<String> {
    let length = tree.stat(path).await?.map_or(0, |stat| stat.size);
    let blocks: Vec<Bytes> = tree.read_blocks(path, length).await?.try_collect().await?;
    Ok(String::from_utf8_lossy(&blocks.concat()).into_owned())
}

fn plain() -> FileMeta {
    FileMeta::default()
}

pub(super) async fn kind(tree: &Arc<dyn Tree>, path: &[u8]) -> Of<Option<FileKind>> {
    Ok(tree.stat(path).await?.map(|stat| stat.kind))
}

async fn publish(at: At) -> Outcome {
    let tree = at.tree().await?;
    let staged = tree.stage("one".into(), plain()).await?;
    same("before", kind(&tree, b"d/a").await?, None)?;
    let thrown = tree.stage("two".into(), plain()).await?;
    let item = Publish { staged, path: b"d/a".to_vec(), keep: None };
    tree.publish(vec![item], true).await.into_iter().collect::<error::Result<()>>()?;
    tree.discard(thrown).await?;
    same("content", read(&tree, b"d/a").await?, "one".into())?;
    put(&tree, b"d/a", "another", plain(), None).await?;
    same("content after a second", read(&tree, b"d/a").await?, "another".into())?;
    same("what is there", tree.stat(b"d/a").await?.map(|stat| (stat.kind, stat.size)), Some((FileKind::File, 7)))?;
    // An item that cannot be published does not stop the others.
    let mut items = Vec::new();
    for path in ["x", "d/../y", "z"] {
        items.push(Publish { staged: tree.stage("x".into(), plain()).await?, path: path.into(), keep: None });
    }
    let done: Vec<bool> = tree.publish(items, false).await.iter().map(Result::is_ok).collect();
    same("three of which one cannot be", done, vec![true, false, true])
}

async fn in_the_way(at: At) -> Outcome {
    let tree = at.tree().await?;
    tree.make_dir(b"empty").await?;
    put(&tree, b"empty", "x", plain(), None).await?;
    same("an empty directory makes way", kind(&tree, b"empty").await?, Some(FileKind::File))?;
    put(&tree, b"full/a", "x", plain(), None).await?;
    refused("a full directory", put(&tree, b"full", "x", plain(), None).await, &[ErrorKind::Exists])?;
    same("what is in it", read(&tree, b"full/a").await?, "x".into())?;
    refused("a symlink over a full directory", tree.symlink(b"full", b"a", plain()).await, &[ErrorKind::Exists])?;
    refused("a removal of a directory as a file", tree.remove_file(b"full", None).await, &[ErrorKind::Exists])?;
    refused("a directory over a file", tree.make_dir(b"empty").await, &[ErrorKind::Exists])?;
    tree.symlink(b"link", b"full/a", plain()).await?;
    put(&tree, b"link", "new", plain(), None).await?;
    same(
        "a symlink is replaced, not followed",
        (kind(&tree, b"link").await?, read(&tree, b"full/a").await?),
        (Some(FileKind::File), "x".into()),
    )
}

async fn keeps(at: At) -> Outcome {
    let tree = at.tree().await?;
    put(&tree, b"a", "one", plain(), None).await?;
    put(&tree, b"a", "two", plain(), Some("kept/1/a")).await?;
    same("kept", read(&tree, b"kept/1/a").await?, "one".into())?;
    // A name that is taken stays, however often the step is repeated.
    put(&tree, b"a", "three", plain(), Some("kept/1/a")).await?;
    same("kept before", read(&tree, b"kept/1/a").await?, "one".into())?;
    same("content", read(&tree, b"a").await?, "three".into())?;
    put(&tree, b"new", "x", plain(), Some("kept/1/new")).await?;
    same("of what was not there nothing is kept", kind(&tree, b"kept/1/new").await?, None)
}

async fn remove_keeps(at: At) -> Outcome {
    let tree = at.tree().await?;
    put(&tree, b"a", "one", plain(), None).await?;
    for _ in 0..2 {
        tree.remove_file(b"a", Some(b"kept/2/a")).await?;
        same("gone", kind(&tree, b"a").await?, None)?;
        same("kept", read(&tree, b"kept/2/a").await?, "one".into())?;
    }
    put(&tree, b"a", "two", plain(), None).await?;
    tree.remove_file(b"a", Some(b"kept/2/a")).await?;
    same("gone again", kind(&tree, b"a").await?, None)?;
    same("kept before", read(&tree, b"kept/2/a").await?, "one".into())?;
    tree.remove_file(b"no/such", None).await?;
    Ok(())
}

async fn blocks(at: At) -> Outcome {
    let tree = at.tree().await?;
    let data = content((3 << 20) + 5);
    let mut blocks = tree.stage_blocks(plain()).await?;
    for block in data.chunks(700_001) {
        blocks.write(Bytes::copy_from_slice(block)).await?;
    }
    let item = Publish { staged: blocks.finish().await?, path: b"big".to_vec(), keep: None };
    tree.publish(vec![item], true).await.into_iter().collect::<error::Result<()>>()?;
    let got: Vec<Bytes> = tree.read_blocks(b"big", data.len() as u64).await?.try_collect().await?;
    same("sizes of blocks", got.iter().map(Bytes::len).collect(), vec![1 << 20, 1 << 20, 1 << 20, 5])?;
    want(got.concat() == data, || "other bytes came back".into())?;
    put(&tree, b"none", "", plain(), None).await?;
    same("blocks of an empty file", tree.read_blocks(b"none", 0).await?.try_collect::<Vec<_>>().await?.len(), 0)?;
    // A read gives exactly the requested length, or it is refused.
    for length in [0, 3, data.len() as u64 - 1, data.len() as u64 + 1, u64::MAX] {
        refused("a read in another length", tree.read_blocks(b"big", length).await.map(drop), &[ErrorKind::NotFound])?;
        refused("a copy in another length", tree.stage_copy(b"big", length, plain()).await.map(drop), &[ErrorKind::NotFound])?;
    }
    Ok(())
}

async fn times(at: &At, nanos: u32) -> Outcome {
    let tree = at.tree().await?;
    let stamp = |secs| Stamp { secs, nanos };
    let of = |secs| FileMeta { mtime: Some(stamp(secs)), ..plain() };
    put(&tree, b"d/a", "x", of(1_234_567_890), None).await?;
    same("of a file", tree.stat(b"d/a").await?.map(|stat| stat.mtime), Some(stamp(1_234_567_890)))?;
    tree.set_meta(b"d/a", of(1_000_000_000)).await?;
    same("set again", tree.stat(b"d/a").await?.map(|stat| stat.mtime), Some(stamp(1_000_000_000)))?;
    tree.set_meta(b"d", of(1_111_111_111)).await?;
    same("of a directory", tree.stat(b"d").await?.map(|stat| stat.mtime), Some(stamp(1_111_111_111)))?;
    tree.symlink(b"l", b"d/a", of(1_222_222_222)).await?;
    same("of a symlink", tree.stat(b"l").await?.map(|stat| stat.mtime), Some(stamp(1_222_222_222)))
}

async fn seconds(at: At) -> Outcome {
    times(&at, 0).await
}

async fn nanoseconds(at: At) -> Outcome {
    times(&at, 123_456_789).await
}

async fn modes(at: At) -> Outcome {
    let tree = at.tree().await?;
    let of = |mode| FileMeta { mode: Some(mode), ..plain() };
    put(&tree, b"d/a", "x", of(0o751), None).await?;
    let mode = |path: &str| -> Of<u32> {
        let seen = std::fs::metadata(at.seen(path)?).map_err(|error| CaseVerdict::Fails(format!("{path}: {error}")))?;
        Ok(seen.mode() & 0o7777)
    };
    same("of a file", mode("d/a")?, 0o751)?;
    same("of a directory that was made on the way", mode("d")?, 0o700)?;
    tree.set_meta(b"d/a", of(0o640)).await?;
    tree.set_meta(b"d", of(0o755)).await?;
    same("set again", (mode("d/a")?, mode("d")?), (0o640, 0o755))
}

async fn links(at: At) -> Outcome {
    let tree = at.tree().await?;
    put(&tree, b"a", "one", plain(), None).await?;
    tree.symlink(b"x/link", b"../a", plain()).await?;
    same("a symlink", kind(&tree, b"x/link").await?, Some(FileKind::Symlink))?;
    refused("a symlink is not read through", tree.read_blocks(b"x/link", 3).await.map(drop), &[ErrorKind::NotFound])?;
    tree.symlink(b"x/link", b"../../anywhere", plain()).await?;
    if let Ok(seen) = at.seen("x/link") {
        let target = std::fs::read_link(seen).map_err(|error| CaseVerdict::Fails(error.to_string()))?;
        same("its target", target.to_string_lossy().into_owned(), "../../anywhere".into())?;
    }
    tree.hard_link(b"a", b"x/same").await?;
    same("another name", read(&tree, b"x/same").await?, "one".into())?;
    put(&tree, b"a", "two", plain(), None).await?;
    same("the other name once the first is replaced", read(&tree, b"x/same").await?, "one".into())
}

async fn dirs(at: At) -> Outcome {
    let tree = at.tree().await?;
    tree.make_dir(b"d/e").await?;
    tree.make_dir(b"d/e").await?;
    put(&tree, b"d/e/a", "x", plain(), None).await?;
    same("one that holds something", tree.remove_dir(b"d/e").await?, false)?;
    same("what is in it", read(&tree, b"d/e/a").await?, "x".into())?;
    tree.remove_file(b"d/e/a", None).await?;
    same("one that is empty", tree.remove_dir(b"d/e").await?, true)?;
    same("one that is not there", tree.remove_dir(b"d/e").await?, true)?;
    // Nothing still refers to the directory that was removed.
    put(&tree, b"d/e/again", "x", plain(), None).await?;
    same("made again", read(&tree, b"d/e/again").await?, "x".into())
}

async fn copies(at: At) -> Outcome {
    let tree = at.tree().await?;
    put(&tree, b"a", "one", plain(), None).await?;
    let staged = tree.stage_copy(b"a", 3, FileMeta { mtime: Some(Stamp { secs: 77, nanos: 0 }), ..plain() }).await?;
    let item = Publish { staged, path: b"b".to_vec(), keep: None };
    tree.publish(vec![item], false).await.into_iter().collect::<error::Result<()>>()?;
    same("content", read(&tree, b"b").await?, "one".into())?;
    same("its own time", tree.stat(b"b").await?.map(|stat| stat.mtime.secs), Some(77))?;
    refused("of nothing", tree.stage_copy(b"none", 1, plain()).await, &[ErrorKind::NotFound])?;
    Ok(())
}

async fn staging(at: At) -> Outcome {
    let backend = at.plain().await?;
    let tree = at.tree().await?;
    put(&tree, b"a", "x", plain(), None).await?;
    let left = tree.stage("left behind".into(), plain()).await?;
    let listed: Vec<_> = backend.list_keys().map_ok(|found| found.key).try_collect().await?;
    same("listed", listed, vec![b"a".to_vec()])?;
    tree.clear_staging().await?;
    let item = Publish { staged: left, path: b"late".to_vec(), keep: None };
    let late = tree.publish(vec![item], true).await.into_iter().collect::<error::Result<()>>();
    refused("what was cleared", late, &[ErrorKind::NotFound])?;
    tree.sync().await?;
    Ok(())
}

async fn one(at: At) -> Outcome {
    let backend = at.plain().await?;
    let (tree, store) = (at.tree().await?, backend.store());
    store.put(&key("d/a"), body("one")).await?;
    same("read through the tree", read(&tree, b"d/a").await?, "one".into())?;
    put(&tree, b"d/b", "two", plain(), None).await?;
    same("read through the data plane", store.get(&key("d/b")).await?.bytes().await?, Bytes::from("two"))?;
    let mut listed: Vec<_> = backend.list_keys().map_ok(|found| found.key).try_collect().await?;
    listed.sort();
    same("listed", listed, vec![b"d/a".to_vec(), b"d/b".to_vec()])
}
