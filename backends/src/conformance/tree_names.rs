//! Names in a real tree: all bytes that a file system accepts, and none that leaves the root.

use std::collections::BTreeSet;

use futures::TryStreamExt;

use super::kit::{At, Case, Outcome, case, not_here, refused, same, want};
use super::tree::{put, read};
use crate::contract::error::ErrorKind;
use crate::contract::tree::{FileKind, FileMeta};

pub(super) const CASES: &[Case] = &[
    case!("tree: names are bytes", any_bytes),
    case!("tree: names that are too long are refused", too_long),
    case!("tree: paths that leave the root are refused", outside),
    case!("tree: no symlink on the way is followed", no_link_followed),
];

async fn any_bytes(at: At) -> Outcome {
    let backend = at.plain().await?;
    let tree = at.tree().await?;
    if !backend.capabilities().any_name {
        return Err(not_here("not every name can be kept"));
    }
    let long = "n".repeat(255);
    let names: [&[u8]; 9] =
        [b"new\nline", b"tab\there", b"a#12", b"%41", b"back\\slash", b"not-\xff-utf8/x", b" ", b"\x01", long.as_bytes()];
    for name in names {
        put(&tree, name, "content", FileMeta::default(), None).await?;
        let shown = || name.escape_ascii().to_string();
        want(read(&tree, name).await? == "content", || format!("{} has other bytes", shown()))?;
        let stat = tree.stat(name).await?;
        want(stat.is_some_and(|stat| stat.kind == FileKind::File && stat.size == 7), || format!("{}: {stat:?}", shown()))?;
    }
    let listed: Vec<_> = backend.list_keys().map_ok(|found| found.key).try_collect().await?;
    same("listed", listed.into_iter().collect(), names.iter().map(|name| name.to_vec()).collect::<BTreeSet<_>>())?;
    for name in names {
        tree.remove_file(name, None).await?;
    }
    same("left", backend.list_keys().try_collect::<Vec<_>>().await?.len(), 0)
}

async fn too_long(at: At) -> Outcome {
    let tree = at.tree().await?;
    let name = vec![b'n'; 256];
    refused("a name of 256 bytes", put(&tree, &name, "x", FileMeta::default(), None).await, &[ErrorKind::NameRefused])?;
    Ok(())
}

async fn outside(at: At) -> Outcome {
    let tree = at.tree().await?;
    put(&tree, b"fine", "x", FileMeta::default(), None).await?;
    for path in ["../x", "a/../../x", "a/./b", "/etc/passwd", "a//b", "a/", "..", ".", "a\0b"] {
        let (raw, invalid) = (path.as_bytes(), &[ErrorKind::Invalid]);
        refused(path, put(&tree, raw, "x", FileMeta::default(), None).await, invalid)?;
        refused(path, tree.make_dir(raw).await, invalid)?;
        refused(path, tree.symlink(raw, b"t", FileMeta::default()).await, invalid)?;
        refused(path, tree.hard_link(b"fine", raw).await, invalid)?;
        refused(path, tree.set_meta(raw, FileMeta::default()).await, invalid)?;
        refused(path, tree.remove_file(raw, None).await, invalid)?;
        refused(path, tree.remove_file(b"fine", Some(raw)).await, invalid)?;
        refused(path, tree.remove_dir(raw).await, invalid)?;
        refused(path, tree.read_blocks(raw, 1).await.map(drop), invalid)?;
        refused(path, tree.stat(raw).await, invalid)?;
    }
    same("what was there", read(&tree, b"fine").await?, "x".into())
}

/// The symlink points to a directory of the same tree, so that the case works at any server.
async fn no_link_followed(at: At) -> Outcome {
    let tree = at.tree().await?;
    put(&tree, b"real/secret", "s", FileMeta::default(), None).await?;
    tree.symlink(b"dir", b"real", FileMeta::default()).await?;
    refused("a file below it", put(&tree, b"dir/new", "x", FileMeta::default(), None).await, &[ErrorKind::Exists])?;
    refused("a directory below it", tree.make_dir(b"dir/sub").await, &[ErrorKind::Exists])?;
    refused("a read below it", tree.read_blocks(b"dir/secret", 1).await.map(drop), &[ErrorKind::NotFound])?;
    let stat = tree.stat(b"dir/secret").await?;
    want(stat.is_none(), || format!("a stat below it: {stat:?}"))?;
    want(tree.remove_file(b"dir/secret", None).await.is_err(), || "a removal below it went through".into())?;
    same("what it leads to", read(&tree, b"real/secret").await?, "s".into())?;
    same("nothing new there", tree.stat(b"real/new").await?, None)
}
