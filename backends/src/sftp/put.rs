//! Writing objects: competing writers, and uploads in parts.
//!
//! Owns the two ways to name an object (overwrite, create-only) and uploads in parts. Invariants: an object is on the
//! server's disk before it gets its name, as far as the server and the settings allow. If several writers create one
//! name, in this process or in others, exactly one succeeds. A repeated creation may find the object of its own first
//! try.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::{MultipartUpload, PutPayload, PutResult, UploadPart};
use tokio::sync::{Mutex, oneshot};

use super::blocks::SftpBlocks;
use super::links::{Linked, claim, exclusive_rename, link, rename_new};
use super::meta;
use super::ops::attrs;
use super::packet::Attrs;
use super::read::lstat;
use super::rename::rename;
use super::staging::{SftpStaging, SftpTemp};
use crate::contract::error::{Error, ErrorKind, Result};
use crate::contract::meter::Class;
use crate::contract::tree::FileMeta;

/// How an object gets its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SftpPutMode {
    Overwrite,
    Create,
}

/// Age, in seconds by the server's clock, from which the claim of a dead writer is ignored.
const CLAIM: i64 = 120;

/// Gives a staged file the name `key`.
pub(super) async fn name(area: &Arc<SftpStaging>, temp: SftpTemp, key: &[u8], mode: SftpPutMode) -> Result<PutResult> {
    let (parent, _) = area.dirs.split(key)?;
    let attrs = make_unique(area, &temp.path).await?;
    match mode {
        SftpPutMode::Overwrite => rename(area, &temp.path, key).await?,
        SftpPutMode::Create => {
            area.dirs.dir(parent, true).await?;
            create(area, &temp, key).await?;
        }
    }
    // The temporary name no longer exists, so its guard would send a useless request.
    if mode == SftpPutMode::Overwrite {
        temp.release();
    }
    Ok(result(&attrs))
}

/// Gives a staged file a tag that no other file has.
async fn make_unique(area: &SftpStaging, temp: &[u8]) -> Result<Attrs> {
    let full = area.dirs.full(temp);
    let made = area.dirs.link.run(temp, |session, _| {
        let full = &full;
        async move {
            let found = attrs(session.lstat(full)).await?.unwrap_or_default();
            let set = session.set(full, &meta::unique(&found));
            // The attributes as the server keeps them, which can be less precise.
            let kept = session.lstat(full);
            set.done().await?;
            Ok(attrs(kept).await?.unwrap_or_default())
        }
    });
    made.await
}

async fn create(area: &Arc<SftpStaging>, temp: &SftpTemp, key: &[u8]) -> Result<()> {
    let won = match link(area, &temp.path, key).await? {
        Linked::Yes => true,
        Linked::Taken => false,
        Linked::Cannot if exclusive_rename(area).await? => rename_new(area, &temp.path, key).await?,
        Linked::Cannot => create_claimed(area, temp, key).await?,
    };
    match won {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::Exists, area.dirs.link.shown(key), "it exists already")),
    }
}

/// Creates an object on a server where only the creation of an empty file refuses to replace. The writer that creates
/// the claim of a name may check the name and rename. Returns whether it created the object.
async fn create_claimed(area: &Arc<SftpStaging>, temp: &SftpTemp, key: &[u8]) -> Result<bool> {
    let name = hex::encode(key);
    let claimed = [area.staging(), b"/claim-", &name.as_bytes()[name.len().saturating_sub(200)..]].concat();
    if !claim(area, &claimed).await? {
        let (left, now) = (lstat(area, &claimed).await?, lstat(area, &temp.path).await?);
        let age = now.zip(left).map_or(0, |(now, left)| meta::stamp(&now).secs - meta::stamp(&left).secs);
        if age < CLAIM {
            return Ok(false);
        }
        area.discard(&claimed).await?;
        if !claim(area, &claimed).await? {
            return Ok(false);
        }
    }
    let won = match lstat(area, key).await {
        Ok(None) => rename(area, &temp.path, key).await.map(|()| true),
        found => found.map(|_| false),
    };
    area.discard(&claimed).await?;
    won
}

pub(super) fn result(attrs: &Attrs) -> PutResult {
    PutResult { e_tag: Some(meta::etag(attrs)), version: None, extensions: Default::default() }
}

/// Returns `Precondition` if `wanted` is a tag and the file has another one.
pub(super) fn expect(area: &SftpStaging, key: &[u8], attrs: &Attrs, wanted: Option<&str>) -> Result<()> {
    let found = meta::etag(attrs);
    match wanted.map(|tag| tag.trim_matches('"')) {
        Some(wanted) if wanted != found => {
            Err(Error::new(ErrorKind::Precondition, area.dirs.link.shown(key), format!("it is {found}, not {wanted}")))
        }
        _ => Ok(()),
    }
}

/// An upload in parts: one temporary file, written in the order of the parts.
pub(super) struct SftpUpload {
    area: Arc<SftpStaging>,
    key: Vec<u8>,
    /// `None` after the upload was completed or aborted, or has failed.
    blocks: Arc<Mutex<Option<SftpBlocks>>>,
    /// Completes when the previous part has ended.
    before: Option<oneshot::Receiver<()>>,
}

impl SftpUpload {
    pub async fn new(area: Arc<SftpStaging>, key: &[u8]) -> Result<Self> {
        area.dirs.split(key)?;
        let blocks = SftpBlocks::new(&area, FileMeta::default()).await?;
        Ok(Self { area, key: key.to_vec(), blocks: Arc::new(Mutex::new(Some(blocks))), before: None })
    }

    fn ended(&self) -> object_store::Error {
        let what = "the upload has ended already, or a part of it failed";
        Error::new(ErrorKind::Invalid, self.area.dirs.link.shown(&self.key), what).into_store()
    }
}

impl fmt::Debug for SftpUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upload({})", self.area.dirs.link.shown(&self.key))
    }
}

#[async_trait]
impl MultipartUpload for SftpUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.area.dirs.link.meter.call(Class::Multipart, || self.area.dirs.link.shown(&self.key));
        let (blocks, ended) = (Arc::clone(&self.blocks), self.ended());
        let (written, ready) = oneshot::channel();
        let before = self.before.replace(ready);
        let part: BoxFuture<'static, object_store::Result<()>> = async move {
            // If the previous part failed, it has ended the upload. The check below finds that.
            if let Some(before) = before {
                let _ = before.await;
            }
            let mut slot = blocks.lock().await;
            let Some(mut upload) = slot.take() else { return Err(ended) };
            for chunk in &data {
                upload.append(chunk).await.map_err(Error::into_store)?;
            }
            *slot = Some(upload);
            let _ = written.send(());
            Ok(())
        }
        .boxed();
        part
    }

    async fn complete(&mut self) -> object_store::Result<PutResult> {
        let Some(blocks) = self.blocks.lock().await.take() else { return Err(self.ended()) };
        let temp = blocks.end(true).await.map_err(Error::into_store)?;
        name(&self.area, temp, &self.key, SftpPutMode::Overwrite).await.map_err(Error::into_store)
    }

    async fn abort(&mut self) -> object_store::Result<()> {
        drop(self.blocks.lock().await.take());
        Ok(())
    }
}
