//! The probe of a new destination: what its store does to names, and which conditions the store honours.
//!
//! Owns the making of `format.json` when a prefix is first used. Invariants: the probe leaves no other object behind
//! where it may delete, and it relies on no order of a listing.

use std::collections::HashMap;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{ObjectMeta, PutMode, UpdateVersion};
use offsite_backends::ErrorKind;

use super::disk::{PROBE, probe_disk};
use super::format::{Format, format_of};
use super::keys::KeyRules;
use super::readable::reads_back;
use super::records::{Records, object_path};
use crate::error::Result;
use crate::model::Layout;

const MARKS: &str = " #%41+?*\"'<>|&;:~^`[]{}$!=@,ä. ";

/// Tests what the store does to names and conditions, and returns the record that [`create_format`] creates. `now` is RFC
/// 3339 in UTC. `id` is new. `cut_off` are those of earlier probes of this machine that did not end.
///
/// # Errors
/// [`crate::error::Error::Store`] if the store denies access or fails. Its kind is [`ErrorKind::Unsupported`] if the
/// store returns other bytes than were written.
pub async fn probe(records: &Records, id: String, cut_off: &[String], program: &str, now: String, layout: Layout) -> Result<Format> {
    let capabilities = records.backend().capabilities();
    let folder = if records.backend().deletes() { &id } else { STAYS };
    let (keys, create_only, compare_and_swap) = if capabilities.any_name {
        let disk = match records.backend().tree() {
            Some(tree) if layout.is_mirror() => Some(probe_disk(&tree, PROBE).await?),
            _ => None,
        };
        (KeyRules { disk, ..KeyRules::any() }, capabilities.create_only, capabilities.compare_and_swap)
    } else {
        let (create_only, swap) = probe_conditions(records, folder).await?;
        reads_back(records, &condition_key(folder), &BODY, layout.is_mirror()).await?;
        let keys = match layout {
            Layout::Mirror => probe_keys(records, folder).await?,
            // No name of the user becomes a key, so nothing is listed.
            Layout::Packed => {
                let keys = cut_off.iter().map(String::as_str).chain([folder]).map(|folder| condition_key(folder).into_bytes());
                delete(records, keys.collect()).await?;
                KeyRules::any()
            }
        };
        (keys, capabilities.create_only && create_only, capabilities.compare_and_swap && swap)
    };
    let lacks = records.backend().missing_features().into_iter().map(|feature| feature.name().to_owned()).collect();
    let (format, version) = (format_of(layout), program.into());
    Ok(Format { format, layout, sealed: false, id, made: now, version, keys, create_only, compare_and_swap, lacks })
}

/// Creates `format.json`. If another writer made the record meanwhile, returns that one.
///
/// # Errors
/// The store's own error. [`crate::error::Error::Usage`] if another writer made the record meanwhile, with a newer
/// offsite.
pub async fn create_format(records: &Records, format: Format) -> Result<Format> {
    if records.create(Format::KEY, super::json::encode(Format::KEY, &format)?, format.create_only).await?.is_some() {
        return Ok(format);
    }
    Ok(records.format().await?.unwrap_or(format))
}

/// The folder of a probe in append-only mode. Its objects stay, and the next probe overwrites them.
pub const STAYS: &str = "append-only";

/// Content of the probe's first object.
const BODY: Bytes = Bytes::from_static(b"offsite reads this back");

fn condition_key(id: &str) -> String {
    format!(".offsite/probe/{id}/condition")
}

/// Whether the store honours create-only and compare-and-swap. Tries to break both.
async fn probe_conditions(records: &Records, id: &str) -> Result<(bool, bool)> {
    let key = condition_key(id);
    let body = || BODY;
    let tag = records.put(&key, body(), PutMode::Overwrite).await?;
    let refused = |result: Result<Option<String>>| match result {
        Ok(_) => Ok(false),
        Err(e) if matches!(e.kind(), Some(ErrorKind::Exists | ErrorKind::Precondition)) => Ok(true),
        // The same put succeeded without a condition, so the store refuses the condition.
        Err(e) if matches!(e.kind(), Some(ErrorKind::Unsupported | ErrorKind::Other | ErrorKind::Invalid)) => Ok(false),
        Err(e) => Err(e),
    };
    let create_only = refused(records.put(&key, body(), PutMode::Create).await)?;
    let wrong = UpdateVersion { e_tag: Some("\"00000000000000000000000000000000\"".into()), version: None };
    let swap = tag.is_some() && refused(records.put(&key, body(), PutMode::Update(wrong)).await)?;
    Ok((create_only, swap))
}

/// Writes objects with difficult names and compares them with what the store lists.
async fn probe_keys(records: &Records, id: &str) -> Result<KeyRules> {
    let prefix = records.backend().location().path().len();
    let max_key = records.backend().capabilities().max_key.saturating_sub(if prefix == 0 { 0 } else { prefix + 1 });
    let base = format!(".offsite/probe/{id}/");
    let long = format!("{}x", "segment/".repeat(3)).replace("segment", &"s".repeat(256));
    let names = [MARKS.trim_matches([' ', '.']), " edge.", "back\\slash", &long, ".edge"];
    let mut sizes = HashMap::new();
    for (index, name) in names.iter().enumerate() {
        // Only if the store refuses the second name, the fifth shows whether it also refuses a dot at the beginning.
        if index == 4 && sizes.contains_key(&1) {
            break;
        }
        let body = Bytes::from(vec![b'p'; index + 1]);
        match records.put(&format!("{base}{name}"), body, PutMode::Overwrite).await {
            Ok(_) => drop(sizes.insert(index, index + 1)),
            // The store refuses this name, so contents with such names are stored below odd/.
            Err(e) if matches!(e.kind(), Some(ErrorKind::Denied | ErrorKind::NotFound)) => return Err(e),
            Err(_) => {}
        }
    }
    let listed = left(records, &base).await?;
    let kept = |index: usize| {
        sizes.contains_key(&index)
            && listed.iter().any(|o| o.size == index as u64 + 1 && o.location.as_ref() == format!("{base}{}", names[index]))
    };
    let rules = KeyRules {
        any_name: false,
        max_key,
        max_segment: if kept(3) { 1024 } else { 250 },
        changed: match (kept(0), kept(2)) {
            (true, true) => String::new(),
            (true, false) => "\\".into(),
            (false, _) => MARKS.chars().filter(|c| !c.is_alphanumeric() && !matches!(c, ' ' | '.')).chain(['\\']).collect(),
        },
        trims: !kept(1) && !kept(4),
        edges: !kept(1) && kept(4),
        disk: None,
    };
    delete(records, keys_of(listed)).await?;
    Ok(rules)
}

/// Everything in the folder of the probes, including what an interrupted probe left. `what` is for errors.
async fn left(records: &Records, what: &str) -> Result<Vec<ObjectMeta>> {
    let folder = object_path(b".offsite/probe")?;
    records.backend().store().list(Some(&folder)).map_err(|e| records.error(what, &e)).try_collect().await
}

/// Deletes objects of the probe. In append-only mode they stay, and the next probe overwrites them.
async fn delete(records: &Records, keys: Vec<Vec<u8>>) -> Result<()> {
    if records.backend().deletes() { records.delete(keys).await } else { Ok(()) }
}

fn keys_of(objects: Vec<ObjectMeta>) -> Vec<Vec<u8>> {
    objects.into_iter().map(|object| object.location.as_ref().as_bytes().to_vec()).collect()
}
