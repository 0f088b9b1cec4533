//! The way back: one content from wherever a destination has it, checked.
//!
//! Owns where a content is looked for (under its own key first, then among the kept versions, then whatever has
//! its key now) and the check: what a sink took is only a content if its BLAKE3 is the manifest's.

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use object_store::path::Path as Key;
use object_store::{GetOptions, GetRange};
use offsite_backends::{Error as StoreError, ErrorKind};

use crate::error::{Error, Result};
use crate::manifest::{KeyRules, Records, object_path};
use crate::model::{Entry, Hash};

/// Larger contents are fetched in ranges of this length, several at a time.
pub const RANGE: u64 = 8 << 20;
pub const RANGES_AHEAD: usize = 4;

/// One place where a content may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentPlace {
    pub key: Vec<u8>,
    pub etag: Option<String>,
    pub version: Option<String>,
}

/// Where the content of an entry may be, likeliest first.
pub fn locate(rules: &KeyRules, entry: &Entry) -> Vec<ContentPlace> {
    let Some(content) = &entry.content else { return Vec::new() };
    let current = ContentPlace { key: KeyRules::current_key(entry), etag: content.etag.clone(), version: content.version.clone() };
    let kept = ContentPlace { key: rules.kept_key(entry.path.as_bytes(), content), etag: None, version: None };
    // Sent again by a repair, or copied by another tool: the tag is new, and the hash tells.
    let retagged =
        (content.etag.is_some() || content.version.is_some()).then(|| ContentPlace { etag: None, version: None, ..current.clone() });
    [Some(current), Some(kept), retagged].into_iter().flatten().collect()
}

/// A stream of a content from one place; `NotFound` or `Precondition` if it is not (any more) there.
async fn open(records: &Records, place: &ContentPlace, size: u64, ahead: bool) -> Result<BoxStream<'static, Result<Bytes>>> {
    if let Some(tree) = records.backend().tree() {
        return Ok(tree.read_blocks(&place.key, size).await?.map_err(Error::from).boxed());
    }
    let key = object_path(&place.key)?;
    let options = GetOptions {
        // A version names its content by itself; some stores refuse both together.
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
    // The first range tells whether this is the place.
    let first = ranges.next().await.transpose()?;
    Ok(stream::iter(first.map(Ok)).chain(ranges).boxed())
}

async fn get(records: &Records, key: &Key, options: GetOptions) -> Result<object_store::GetResult> {
    records.backend().store().get_opts(key, options).await.map_err(|e| records.error(key.as_ref(), &e))
}

/// Takes a content block by block.
#[async_trait]
pub trait Sink: Send {
    /// A place is tried: what came before is to be thrown away.
    async fn restart(&mut self) -> Result<()>;
    async fn write(&mut self, block: Bytes) -> Result<()>;
}

/// Streams a content to `sink` from the first place that has exactly it. What the sink took is only to be
/// believed when this returns without an error.
pub async fn read_content(records: &Records, rules: &KeyRules, entry: &Entry, sink: &mut dyn Sink) -> Result<()> {
    let Some(content) = &entry.content else { return Ok(()) };
    let (mut missing, mut held) = (None, None);
    for place in locate(rules, entry) {
        let mut body = match open(records, &place, entry.size, true).await {
            Ok(body) => body,
            Err(error) if matches!(error.kind(), Some(ErrorKind::NotFound | ErrorKind::Precondition | ErrorKind::Unsupported)) => {
                missing = missing.or(Some(error));
                continue;
            }
            // It is there and not to be had; another place may give it. If none does, this is why.
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

/// The hash of a content of this length in this one place, block by block through `sink`; `NotFound` or
/// `Precondition` if it is not (any more) there.
pub async fn hash_at(records: &Records, place: &ContentPlace, size: u64, sink: &mut dyn Sink) -> Result<Hash> {
    let mut body = open(records, place, size, true).await?;
    drain(&mut body, size, sink).await
}

/// The hash of a body. No more than `size` bytes of it reach the sink: one that goes on is another content, which is
/// seen in its hash, and the rest of it is not read.
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
