//! The key files at a destination.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use offsite_backends::{Backend, ErrorKind};
use serde::Serialize;
use zeroize::Zeroizing;

use super::ring::KeyRing;
use crate::error::{Error, Result};
use crate::manifest::{no_key, object_path};
use crate::seal::{KeyFile, KeySet, OwnerIdentities, SealError, WriterKey, open_keys, stanza_kinds};

/// Where key files are.
pub const FOLDER: &str = ".offsite/keys";
/// Length of a key file in bytes, and number of key files, at most.
const LENGTH: u64 = 1 << 20;
const COUNT: usize = 256;

/// A key file.
pub struct KeyFileBody {
    /// Its name in the folder: `1.age`.
    pub name: String,
    /// Its number.
    pub number: u64,
    /// Its bytes as they lie there.
    pub bytes: Vec<u8>,
}

/// What `key show` tells of a key file.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct KeyFileRow {
    /// Its name below `.offsite/keys/`.
    pub name: String,
    /// What it is sealed to: `X25519`, `ssh-ed25519`, `scrypt` (a passphrase) or the name of a plugin.
    pub sealed_to: Vec<String>,
}

fn number_of(name: &str) -> Option<u64> {
    name.strip_suffix(".age").map(|name| name.strip_suffix(".passphrase").unwrap_or(name))?.parse().ok()
}

fn error(backend: &Arc<dyn Backend>, key: &str, error: &object_store::Error) -> Error {
    backend.error(key, error).into()
}

/// The numbers and lengths of all key files of a destination by their names. Needs no right to read them.
///
/// # Errors
/// The store's own.
pub async fn names(backend: &Arc<dyn Backend>) -> Result<BTreeMap<String, (u64, u64)>> {
    let store = backend.store();
    let listed = store.list(Some(&object_path(FOLDER.as_bytes())?));
    let listed: Vec<_> = listed.take(COUNT).map_err(|e| error(backend, FOLDER, &e)).try_collect().await?;
    let found = listed.into_iter().filter_map(|meta| {
        let name = meta.location.filename()?.to_owned();
        let number = number_of(&name)?;
        Some((name, (number, meta.size)))
    });
    Ok(found.collect())
}

/// Reads one key file. `None` if it does not exist, or is longer than any.
///
/// # Errors
/// The store's own.
pub async fn read_one(backend: &Arc<dyn Backend>, name: &str) -> Result<Option<Vec<u8>>> {
    let key = format!("{FOLDER}/{name}");
    let got = match backend.store().get(&object_path(key.as_bytes())?).await {
        Ok(got) if got.meta.size <= LENGTH => got,
        Ok(_) | Err(object_store::Error::NotFound { .. }) => return Ok(None),
        Err(e) => return Err(error(backend, &key, &e)),
    };
    Ok(Some(got.bytes().await.map_err(|e| error(backend, &key, &e))?.to_vec()))
}

/// Reads all key files of a destination, in order of their numbers.
pub async fn read(backend: &Arc<dyn Backend>) -> Result<Vec<KeyFileBody>> {
    let mut files = Vec::new();
    for (name, (number, _)) in names(backend).await? {
        if let Some(bytes) = read_one(backend, &name).await? {
            files.push(KeyFileBody { name, number, bytes });
        }
    }
    files.sort_by(|a, b| (a.number, &a.name).cmp(&(b.number, &b.name)));
    Ok(files)
}

/// Creates a key file. One with the same name stays, unless `first` says that the destination is being made: then an
/// earlier first run that was killed left it.
pub async fn create(backend: &Arc<dyn Backend>, file: &KeyFile, bytes: Vec<u8>, first: bool) -> Result<()> {
    let key = format!("{FOLDER}/{}", file.name());
    let mode = if first || !backend.capabilities().create_only { PutMode::Overwrite } else { PutMode::Create };
    let options = PutOptions { mode, ..PutOptions::default() };
    let put = backend.store().put_opts(&object_path(key.as_bytes())?, PutPayload::from(bytes), options).await;
    put.map(drop).map_err(|e| error(backend, &key, &e))
}

/// What the key files of a destination are sealed to. Of a file that may not be read, that is not known.
///
/// # Errors
/// The store's own. A file that is no age file is told as sealed to nothing.
pub async fn rows(backend: &Arc<dyn Backend>) -> Result<Vec<KeyFileRow>> {
    let mut rows = Vec::new();
    for (name, (number, _)) in names(backend).await? {
        let sealed_to = match read_one(backend, &name).await {
            Ok(bytes) => bytes.and_then(|bytes| stanza_kinds(&bytes).ok()).unwrap_or_default(),
            Err(error) if error.kind() == Some(ErrorKind::Denied) => vec!["(not readable)".to_owned()],
            Err(error) => return Err(error),
        };
        rows.push((number, KeyFileRow { name, sealed_to }));
    }
    rows.sort_by(|a, b| (a.0, &a.1.name).cmp(&(b.0, &b.1.name)));
    Ok(rows.into_iter().map(|(_, row)| row).collect())
}

/// Opens all key files of the destination with this `id`: with identities, or with a passphrase if there are none. An
/// identity file can also be the sheet of `key paper`, which has the keys themselves. Returns the keys, each once, in
/// order.
///
/// # Errors
/// [`Error::Usage`] if none of the files can be opened, or if an identity file cannot be read.
pub async fn open_key_files(backend: &Arc<dyn Backend>, id: &str, keys: &KeyRing) -> Result<Vec<KeySet>> {
    let files = read(backend).await?;
    if files.is_empty() {
        return Err(Error::damaged(backend.location().at(FOLDER), "there is no key file"));
    }
    open(backend, Some(id), keys, files).await
}

/// Opens the first key file of a destination of which nothing is known: most destinations have no other. `None` if it
/// does not exist or no identity opens it.
///
/// # Errors
/// The store's own. [`Error::Usage`] if an identity file cannot be read.
pub async fn open_first(backend: &Arc<dyn Backend>, keys: &KeyRing) -> Result<Option<Vec<KeySet>>> {
    let name = "1.age".to_owned();
    let Some(bytes) = read_one(backend, &name).await? else { return Ok(None) };
    Ok(open(backend, None, keys, vec![KeyFileBody { name, number: 1, bytes }]).await.ok())
}

/// Opens the copies of the key files that lie beside the writer key of this machine. `None` if one is missing or is not
/// what the writer key says, or if nothing opens them.
///
/// # Errors
/// [`Error::Usage`] if an identity file cannot be read.
pub async fn open_copies(backend: &Arc<dyn Backend>, writer: &WriterKey, keys: &KeyRing) -> Result<Option<Vec<KeySet>>> {
    let url = backend.location().to_string();
    let copy =
        |file: &KeyFile| Some(KeyFileBody { name: file.name(), number: file.number, bytes: keys.copy(&url, &writer.destination, file)? });
    let Some(files) = writer.files.iter().map(copy).collect::<Option<Vec<_>>>() else { return Ok(None) };
    Ok(open(backend, Some(&writer.destination), keys, files).await.ok())
}

/// `id` is that of the destination. Without it, that of the first key file counts.
async fn open(backend: &Arc<dyn Backend>, id: Option<&str>, keys: &KeyRing, files: Vec<KeyFileBody>) -> Result<Vec<KeySet>> {
    let url = backend.location().to_string();
    let identities = keys.identities_of(&url);
    if identities.is_empty() && !files.iter().any(|file| file.name.ends_with(".passphrase.age")) {
        return Err(no_key(&url));
    }
    let (keys, id) = (keys.clone(), id.map(str::to_owned));
    let opened = tokio::task::spawn_blocking(move || {
        let mut own = OwnerIdentities::new(keys.ask());
        let written: Vec<KeySet> = identities.iter().flat_map(|path| on_paper(path, id.as_deref())).collect();
        if !written.is_empty() {
            return Ok(written);
        }
        for path in &identities {
            own.add_file(path).map_err(|error| Error::Usage(format!("{}: {error}", path.display())))?;
        }
        if identities.is_empty() {
            own.add_passphrase(keys.passphrase(&url)?);
        }
        sets(&url, id.as_deref(), &own, &files)
    });
    opened.await.map_err(|e| Error::local("the keys", std::io::Error::other(e)))?
}

/// The keys of this destination that a file has as `key paper` prints them.
fn on_paper(path: &Path, id: Option<&str>) -> Vec<KeySet> {
    const FIRST: &str = "# offsite keys ";
    let Ok(text) = std::fs::read_to_string(path).map(Zeroizing::new) else { return Vec::new() };
    let starts: Vec<usize> = text.match_indices(FIRST).map(|(at, _)| at).collect();
    let set = |at: &usize| {
        // Six lines: the title, two identities with their titles, and the seed.
        let lines: Vec<&str> = text[*at..].lines().take(6).collect();
        KeySet::parse(&Zeroizing::new(format!("{}\n", lines.join("\n")))).ok()
    };
    // Which destination the sheet is of must be known, because a file can have several sheets.
    starts.iter().filter_map(set).filter(|set| id == Some(set.destination.as_str())).collect()
}

fn sets(url: &str, id: Option<&str>, own: &OwnerIdentities, files: &[KeyFileBody]) -> Result<Vec<KeySet>> {
    let mut sets: Vec<KeySet> = Vec::new();
    let mut why: Option<SealError> = None;
    for file in files {
        match open_keys(own, &file.bytes).and_then(|text| KeySet::parse(&text)) {
            // Someone else's key file.
            Ok(set) if id.is_some_and(|id| set.destination != id) => {}
            Ok(set) if !sets.contains(&set) => sets.push(set),
            Ok(_) => {}
            Err(error) => why = why.or(Some(error)),
        }
    }
    sets.sort_by_key(|set| set.number);
    match (sets.is_empty(), why) {
        (false, _) => Ok(sets),
        (true, Some(error)) => Err(Error::Usage(format!("{url}: its key files cannot be opened: {error}"))),
        (true, None) => Err(Error::damaged(url, "there is no key file")),
    }
}
