//! Reads one content from wherever a destination has it, and checks it.
//!
//! Owns where a content of a mirror is looked for (under its own key, then among the kept contents, then whatever has its key now)
//! and the check: what a sink took is a valid content only if its BLAKE3 equals the manifest's.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use object_store::path::Path as Key;
use object_store::{GetOptions, GetRange};
use offsite_backends::{Error as StoreError, ErrorKind};

use super::sink::{RANGE, RANGES_AHEAD, Sink};
use super::unpack::read_packed;
use crate::error::{Error, Result};
use crate::manifest::{KeyRules, Records, object_path};
use crate::model::{Content, Entry, Hash};

/// One location where a content may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentPlace {
    /// The key, below the prefix of the destination.
    pub key: Vec<u8>,
    /// The tag that the object must have. `None` if any is accepted.
    pub etag: Option<String>,
    /// The version id to read. `None` for the current version.
    pub version: Option<String>,
}

/// The locations where the content of an entry may be, the most likely first. Empty for an entry without content.
pub fn locate(rules: &KeyRules, entry: &Entry) -> Vec<ContentPlace> {
    let Some(content) = &entry.content else { return Vec::new() };
    let current = ContentPlace { key: KeyRules::current_key(entry), etag: content.etag.clone(), version: content.version.clone() };
    let kept = ContentPlace { key: rules.kept_key(entry.path.as_bytes(), content), etag: None, version: None };
    // A repair sent it again, or another tool copied it: the tag is new, and the hash decides.
    let retagged =
        (content.etag.is_some() || content.version.is_some()).then(|| ContentPlace { etag: None, version: None, ..current.clone() });
    [Some(current), Some(kept), retagged].into_iter().flatten().collect()
}

/// Opens a stream of a content from one location. Fails with `NotFound` or `Precondition` if the content is not there.
async fn open(records: &Records, place: &ContentPlace, size: u64, ahead: bool) -> Result<BoxStream<'static, Result<Bytes>>> {
    if let Some(tree) = records.backend().tree() {
        return Ok(tree.read_blocks(&place.key, size).await?.map_err(Error::from).boxed());
    }
    let key = object_path(&place.key)?;
    let options = GetOptions {
        // A version names its content alone, and some stores refuse both conditions together.
        if_match: place.etag.as_ref().filter(|_| place.version.is_none()).map(|e| format!("\"{e}\"")),
        version: place.version.clone(),
        ..GetOptions::default()
    };
    let (records, key) = (records.clone(), key);
    if size <= RANGE || !ahead {
        let got = get(&records, &key, options).await?;
        if got.meta.size != size {
            let url = records.url(key.as_ref());
            return Err(StoreError::new(ErrorKind::Precondition, url, format_args!("it has {} bytes, not {size}", got.meta.size)).into());
        }
        let name = key.as_ref().to_owned();
        return Ok(got.into_stream().map_err(move |e| records.error(&name, &e)).boxed());
    }
    let mut ranges = stream::iter((0..size).step_by(RANGE as usize))
        .map(move |start| {
            let (records, key) = (records.clone(), key.clone());
            let options = GetOptions { range: Some(GetRange::Bounded(start..(start + RANGE).min(size))), ..options.clone() };
            async move {
                let got = get(&records, &key, options).await?;
                got.bytes().await.map_err(|e| records.error(key.as_ref(), &e))
            }
        })
        .buffered(RANGES_AHEAD);
    // The first range shows whether the content is at this location.
    let first = ranges.next().await.transpose()?;
    Ok(stream::iter(first.map(Ok)).chain(ranges).boxed())
}

async fn get(records: &Records, key: &Key, options: GetOptions) -> Result<object_store::GetResult> {
    records.backend().store().get_opts(key, options).await.map_err(|e| records.error(key.as_ref(), &e))
}

/// Streams a content to `sink` from the first location that has exactly it. What the sink took is valid only if this
/// returns without an error. An entry without content sends nothing.
///
/// # Errors
/// No location has the content, or the store or the sink failed.
pub async fn read_content(records: &Records, rules: &KeyRules, entry: &Entry, sink: &mut dyn Sink) -> Result<()> {
    let Some(content) = &entry.content else { return Ok(()) };
    if content.is_packed() {
        return read_packed(records, entry, sink).await;
    }
    read_from(records, &locate(rules, entry), entry, content, sink).await
}

/// [`read_content`] for the copy of a whole snapshot, old or new: without tags that tell one content from another, the
/// kept key comes first, because it never has a wrong content. The first `passed` locations are left out.
///
/// # Errors
/// As for [`read_content`].
pub async fn read_old_content(records: &Records, rules: &KeyRules, entry: &Entry, passed: usize, sink: &mut dyn Sink) -> Result<()> {
    let Some(content) = entry.content.as_ref().filter(|content| !content.is_packed()) else {
        return read_content(records, rules, entry, sink).await;
    };
    let mut places = locate(rules, entry);
    if content.etag.is_none() && content.version.is_none() {
        places.reverse();
    }
    let passed = passed.min(places.len().saturating_sub(1));
    read_from(records, &places[passed..], entry, content, sink).await
}

async fn read_from(records: &Records, places: &[ContentPlace], entry: &Entry, content: &Content, sink: &mut dyn Sink) -> Result<()> {
    let (mut missing, mut held) = (None, None);
    for place in places {
        let mut body = match open(records, place, entry.size, true).await {
            Ok(body) => body,
            Err(error) if matches!(error.kind(), Some(ErrorKind::NotFound | ErrorKind::Precondition | ErrorKind::Unsupported)) => {
                missing = missing.or(Some(error));
                continue;
            }
            // The content exists but cannot be read. Another location may give it. If none does, this is the reason.
            Err(error) if matches!(error.kind(), Some(ErrorKind::Archived | ErrorKind::Denied)) => {
                held = held.or(Some(error));
                continue;
            }
            Err(error) => return Err(error),
        };
        sink.restart().await?;
        if drain(&mut body, entry.size, sink).await? == content.hash {
            return Ok(());
        }
        let url = records.url(&String::from_utf8_lossy(&place.key));
        missing = Some(Error::damaged(url, "its content is damaged (BLAKE3 differs)"));
    }
    Err(held.or(missing).unwrap_or_else(|| Error::damaged(entry.path.display(), "its content was not found")))
}

/// Hashes the content of this length at one location, and sends it to `sink` block by block.
///
/// # Errors
/// `NotFound` or `Precondition` if the content is not there.
pub async fn hash_at(records: &Records, place: &ContentPlace, size: u64, sink: &mut dyn Sink) -> Result<Hash> {
    let mut body = open(records, place, size, true).await?;
    drain(&mut body, size, sink).await
}

/// Hashes a body. At most `size` bytes of it reach the sink. A longer body is another content: its hash shows that, and
/// its rest is not read.
pub async fn drain(body: &mut BoxStream<'static, Result<Bytes>>, size: u64, sink: &mut dyn Sink) -> Result<Hash> {
    let mut hasher = blake3::Hasher::new();
    let mut left = size;
    while let Some(block) = body.next().await {
        let block = block?;
        hasher.update(&block);
        let Some(rest) = left.checked_sub(block.len() as u64) else { break };
        left = rest;
        sink.write(block).await?;
    }
    Ok(Hash(*hasher.finalize().as_bytes()))
}
