//! Copies through this machine, for servers that cannot copy.
//!
//! Owns reading one object and writing it under another name, in parts if it is large. As atomic as every put. Memory
//! is bounded by one part and what `object_store` holds of the next.

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{GetOptions, MultipartUpload, ObjectStore, ObjectStoreExt, PutMode, PutPayload, PutResult};

use super::error::from_store;
use super::over;
use crate::contract::error::{Error, Result};
use crate::contract::location::Location;

/// Size of a part, in bytes. All parts but the last are equal, because some servers require that. Objects
/// above 140 GiB get larger parts, so that [`PARTS`] are enough.
const PART: u64 = 16 << 20;

/// Most parts that are planned for one copy; S3 allows 10,000.
const PARTS: u64 = 9_000;

/// Copies exactly the content with that tag, or without a tag the current object; see
/// [`crate::Backend::copy_exact`].
pub(super) async fn copy(
    location: &Location,
    store: &dyn ObjectStore,
    from: &Path,
    to: &Path,
    etag: Option<&str>,
    over: PutMode,
) -> Result<PutResult> {
    let failed = |key: &Path, error: object_store::Error| from_store(location, key.as_ref(), &error);
    let if_match = etag.map(|etag| format!("\"{}\"", etag.trim_matches('"')));
    let options = GetOptions { if_match, ..GetOptions::default() };
    let found = store.get_opts(from, options).await.map_err(|error| failed(from, error))?;
    let size = found.meta.size;
    if size <= PART {
        let body = found.bytes().await.map_err(|error| failed(from, error))?;
        return store.put_opts(to, body.into(), over.into()).await.map_err(|error| failed(to, error));
    }
    let part = usize::try_from(PART.max(size.div_ceil(PARTS))).unwrap_or(usize::MAX);
    let mut upload = store.put_multipart(to).await.map_err(|error| failed(to, error))?;
    let sent = in_parts(found.into_stream().map_err(|error| failed(from, error)).boxed(), upload.as_mut(), part, |error| failed(to, error));
    match sent.await {
        Ok(()) => over::under(over, upload.complete()).await.map_err(|error| failed(to, error)),
        Err(error) => {
            // The parts are billed until they are deleted. The first error is the one to report.
            let _ = upload.abort().await;
            Err(error)
        }
    }
}

async fn in_parts(
    mut content: futures::stream::BoxStream<'_, Result<Bytes>>,
    upload: &mut dyn MultipartUpload,
    part: usize,
    failed: impl Fn(object_store::Error) -> Error,
) -> Result<()> {
    let mut held = BytesMut::new();
    while let Some(piece) = content.try_next().await? {
        held.extend_from_slice(&piece);
        while held.len() >= part {
            let full = held.split_to(part).freeze();
            upload.put_part(PutPayload::from_bytes(full)).await.map_err(&failed)?;
        }
    }
    if !held.is_empty() {
        upload.put_part(PutPayload::from_bytes(held.freeze())).await.map_err(&failed)?;
    }
    Ok(())
}
