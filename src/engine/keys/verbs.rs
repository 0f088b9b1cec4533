//! The verb `key`: shows, adds, rotates and prints the keys of a sealed destination.

use std::sync::Arc;

use serde::Serialize;

use super::files::{KeyFileRow, create, names, open_key_files, read, rows};
use super::ring::SealedKeyFile;
use super::wish::{SealWish, enough, seal_set};
use crate::engine::destination::Destination;
use crate::engine::machine::Machine;
use crate::error::{Error, Result};
use crate::manifest::{Format, Records};
use crate::seal::{KeyFile, KeySet, SealKeys, WriterKey};

/// What `key` did or found.
#[derive(Debug, Clone, Default, Serialize, schemars::JsonSchema)]
pub struct KeyOutcome {
    /// URL of the destination.
    pub url: String,
    /// The key files at the destination.
    pub files: Vec<KeyFileRow>,
    /// Names of the key files that were added.
    pub added: Vec<String>,
    /// The writer key of this machine, if it has one.
    pub writer: Option<String>,
    /// Exit code.
    pub exit: u8,
}

/// A sealed destination, below its seal.
async fn sealed(machine: &Machine, url: &str) -> Result<(Destination, Format)> {
    let destination = Destination::below_seal(url, machine).await?;
    let shown = destination.backend.location().to_string();
    match destination.records.format().await? {
        Some(format) if format.sealed => Ok((destination, format)),
        Some(_) => Err(Error::Usage(format!("{shown}: it is not sealed, so it has no keys"))),
        None => Err(Error::Usage(format!("{shown}: it was never synced"))),
    }
}

/// The key sets up to the one that seals the newest snapshot. Anyone who may write to the destination can add a key file
/// with keys of their own, so keys that have sealed nothing yet are not passed on to a writing host.
async fn in_use(destination: &Destination, format: &Format, mut sets: Vec<KeySet>) -> Result<Vec<KeySet>> {
    while let Some(newest) = sets.last() {
        let Some(keys) = SealKeys::of_sets(std::slice::from_ref(newest)) else { break };
        let records = Records::sealed(Arc::clone(&destination.backend), Arc::new(keys), format.id.clone());
        let Some(last) = records.snapshots(None).await?.pop() else { return Ok(sets) };
        match records.snapshot(last.number).await {
            Ok(_) => return Ok(sets),
            Err(Error::Damaged { .. }) => drop(sets.pop()),
            Err(error) => return Err(error),
        }
    }
    Err(Error::Usage(format!(
        "{}: these keys do not open its newest snapshot; use the identity of a present recipient, and after a rotation sync once first",
        destination.backend.location()
    )))
}

async fn outcome(machine: &Machine, destination: &Destination, format: &Format, added: Vec<String>) -> Result<KeyOutcome> {
    let url = destination.backend.location().to_string();
    let writer = machine.keys.path(&url, &format.id).ok().filter(|path| path.exists()).map(|path| path.display().to_string());
    Ok(KeyOutcome { files: rows(&destination.backend).await?, added, writer, url, exit: 0 })
}

/// Which key files a destination has, and what they are sealed to. Needs no key.
///
/// # Errors
/// [`Error::Usage`] if the destination is not sealed. The store's own error.
pub async fn show_keys(machine: &Machine, url: &str) -> Result<KeyOutcome> {
    let (destination, format) = sealed(machine, url).await?;
    outcome(machine, &destination, &format, Vec::new()).await
}

/// Adds recipients: seals every key set to them, in new key files. Needs an identity that opens the destination.
///
/// # Errors
/// [`Error::Usage`] if the keys cannot be opened or a recipient is not one. The store's own error.
pub async fn add_key(machine: &Machine, url: &str, wish: &SealWish) -> Result<KeyOutcome> {
    let (destination, format) = sealed(machine, url).await?;
    let sets = open_key_files(&destination.backend, &format.id, &machine.keys).await?;
    let url = destination.backend.location().to_string();
    let mut next = next_number(&destination).await?;
    let mut made = Vec::new();
    for set in &sets {
        made.extend(seal_set(&url, set, next, wish, &machine.keys).await?);
        next += 1;
    }
    for file in &made {
        create(&destination.backend, &file.file, file.bytes.clone(), false).await?;
    }
    // If this machine writes there, its checks look for these files too.
    if let Some(mut writer) = machine.keys.writer(&url, &format.id)? {
        writer.files.extend(made.iter().map(|made| made.file));
        writer.files.sort_by_key(|file| (file.number, file.passphrase));
        machine.keys.keep(&url, &writer, &made)?;
    }
    outcome(machine, &destination, &format, added(&made)).await
}

/// The number of the next key file.
async fn next_number(destination: &Destination) -> Result<u64> {
    Ok(names(&destination.backend).await?.values().map(|(number, _)| number + 1).max().unwrap_or(1))
}

fn added(made: &[SealedKeyFile]) -> Vec<String> {
    made.iter().map(|made| made.file.name()).collect()
}

/// Makes new keys, and seals them to these recipients alone. What is sealed from now on, other recipients cannot open. A
/// machine with a writer key needs no identity for that.
///
/// # Errors
/// [`Error::Usage`] if neither the keys nor a writer key of this machine can be opened, or if there are too few
/// recipients. The store's own error.
pub async fn rotate_keys(machine: &Machine, url: &str, wish: &SealWish) -> Result<KeyOutcome> {
    enough(wish)?;
    let (destination, format) = sealed(machine, url).await?;
    let shown = destination.backend.location().to_string();
    let before = machine.keys.writer(&shown, &format.id)?;
    let next = next_number(&destination).await?;
    let day = chrono::Utc::now().format("%Y-%m-%d").to_string();
    let fail = |error| Error::local("the keys", std::io::Error::other(error));
    let (fresh, before) = match before {
        Some(before) => {
            let mut fresh = KeySet::new(&format.id, &day).map_err(fail)?;
            (fresh.number, fresh.cut) = (next, before.cut);
            (fresh, before)
        }
        None => {
            let sets = open_key_files(&destination.backend, &format.id, &machine.keys).await?;
            let sets = in_use(&destination, &format, sets).await?;
            let newest = sets.last().ok_or_else(|| Error::damaged(&shown, "there is no key file"))?;
            let before = WriterKey::new(&sets, Vec::new()).ok_or_else(|| Error::damaged(&shown, "there is no key file"))?;
            (newest.rotated(&day).map_err(fail)?, before)
        }
    };
    let made = seal_set(&shown, &fresh, next, wish, &machine.keys).await?;
    let files = before.files.iter().copied().chain(made.iter().map(|made| made.file)).collect();
    let earlier = [vec![before.names.clone()], before.earlier_names.clone()].concat();
    let writer = WriterKey {
        destination: format.id.clone(),
        contents: fresh.contents.recipient(),
        names: fresh.names.clone(),
        earlier_names: earlier,
        cut: fresh.cut,
        files,
    };
    // First at the destination: a writer that has the new key must not write before the owner can open it.
    for file in &made {
        create(&destination.backend, &file.file, file.bytes.clone(), false).await?;
    }
    machine.keys.keep(&shown, &writer, &made)?;
    outcome(machine, &destination, &format, added(&made)).await
}

/// The writer key of a destination, for a second or a new host. Needs an identity that opens the destination.
///
/// # Errors
/// [`Error::Usage`] if the keys cannot be opened. The store's own error.
pub async fn writer_key(machine: &Machine, url: &str) -> Result<zeroize::Zeroizing<String>> {
    let (destination, format) = sealed(machine, url).await?;
    let sets = open_key_files(&destination.backend, &format.id, &machine.keys).await?;
    let sets = in_use(&destination, &format, sets).await?;
    let files = read(&destination.backend).await?;
    let mut noted: Vec<KeyFile> =
        files.iter().map(|file| KeyFile::new(file.number, file.name.ends_with(".passphrase.age"), &file.bytes)).collect();
    noted.sort_by_key(|file| (file.number, file.passphrase));
    noted.dedup_by_key(|file| (file.number, file.passphrase));
    let none = || Error::damaged(destination.backend.location(), "there is no key file");
    Ok(WriterKey::new(&sets, noted).ok_or_else(none)?.print())
}

/// The sheet for the safe: every key of the destination as text, and how to read a destination with them. Needs an identity
/// that opens the destination.
///
/// # Errors
/// As for [`writer_key`].
pub async fn paper_key(machine: &Machine, url: &str) -> Result<zeroize::Zeroizing<String>> {
    let (destination, format) = sealed(machine, url).await?;
    let sets = open_key_files(&destination.backend, &format.id, &machine.keys).await?;
    let shown = destination.backend.location().to_string();
    let mut text = zeroize::Zeroizing::new(String::with_capacity(4096));
    text.push_str(&format!(
        "offsite: the keys of {shown}\ndestination {}\n\nAnyone who has this sheet can read every backup there. Keep it in a safe place.\n\n",
        format.id
    ));
    for set in &sets {
        text.push_str(&set.print());
        text.push('\n');
    }
    text.push_str(&format!(
        "To restore: type the lines above into keys.txt, then\n\n    offsite pull {shown} ./restored --identity keys.txt\n\n\
         Without offsite: `age -d -i keys.txt FILE` opens every file below .offsite/ that ends in .age, and\n\
         `zstd -dc` unpacks it. docs/without-offsite.md has the rest. A key file has the name .offsite/keys/1.age.\n"
    ));
    Ok(text)
}
