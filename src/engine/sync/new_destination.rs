//! The first run at a destination: its probe, its keys, and `format.json`.
//!
//! Owns their order, and the list of probes that were cut off. The keys of a sealed destination come before
//! `format.json`, so that none is without them.

use crate::engine::clock::rfc3339;
use crate::engine::destination::{Destination, Head};
use crate::engine::keys::wish::make_keys;
use crate::engine::machine::{Machine, PROGRAM};
use crate::error::{Error, Result};
use crate::manifest::{Format, create_format, probe};

/// Returns `format.json`. On the first run, it probes the store and writes the file.
pub async fn make_format(destination: &mut Destination, machine: &Machine) -> Result<Format> {
    if let Some(head) = &destination.head {
        return Ok(head.format.clone());
    }
    destination.backend.prepare().await?;
    let (begun, cut_off) = (destination.local("probes"), probes_cut_off(destination));
    let id = format!("{:016x}{:016x}", crate::random(), crate::random());
    std::fs::write(&begun, [&cut_off[..], std::slice::from_ref(&id)].concat().join("\n")).map_err(|e| Error::cache(&begun, e))?;
    let mut format = probe(&destination.records, id, &cut_off, PROGRAM, rfc3339(), destination.layout()).await?;
    std::fs::remove_file(&begun).map_err(|e| Error::cache(&begun, e))?;
    let mut keys = None;
    if let Some(wish) = destination.seal_wish().cloned() {
        format.sealed = true;
        keys = Some(make_keys(&destination.backend, &format, &wish, &machine.keys).await?);
    }
    let wanted = format.id.clone();
    let format = create_format(&destination.records, format).await?;
    if let Some(keys) = keys {
        if format.id != wanted {
            let url = destination.backend.location();
            return Err(Error::Busy(format!("{url}: another run has just made this destination; run again")));
        }
        destination.install(keys, wanted);
    }
    let now = destination.backend.meter().clock().unwrap_or_else(chrono::Utc::now).timestamp();
    destination.keep_head(Head {
        url: destination.backend.location().to_string(),
        format: format.clone(),
        snapshot: None,
        list: Vec::new(),
        inner: Vec::new(),
        own: None,
        file: None,
        pruned: now,
        locked: None,
        repacked: now,
    })?;
    Ok(format)
}

/// The ids of probes of this machine that began here and did not end. Their objects are still there.
fn probes_cut_off(destination: &Destination) -> Vec<String> {
    let text = std::fs::read_to_string(destination.local("probes")).unwrap_or_default();
    let is_id = |line: &&str| line.len() == 32 && line.bytes().all(|byte| byte.is_ascii_hexdigit());
    text.lines().filter(is_id).map(str::to_owned).collect()
}
