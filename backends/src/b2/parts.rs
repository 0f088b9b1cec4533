//! An upload in parts behind the simpler trait, which does not say how many parts there will be.
//!
//! Owns holding back the first part: if no second one follows, it becomes a plain file, because a large file has at
//! least two parts. Invariant: nothing appears under the name before `complete`.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    Attributes, Error, MultipartUpload, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};
use tokio::sync::OnceCell;

use super::rooted::B2Store;

pub(super) struct B2Upload {
    store: B2Store,
    path: Path,
    attributes: Attributes,
    first: Option<PutPayload>,
    count: usize,
    /// The id of the large file, once it is started.
    file: Arc<OnceCell<String>>,
    done: Arc<Mutex<Vec<Option<PartId>>>>,
}

impl B2Upload {
    pub(super) fn new(store: B2Store, path: Path, attributes: Attributes) -> Self {
        Self { store, path, attributes, first: None, count: 0, file: Arc::default(), done: Arc::default() }
    }

    fn send(&self, index: usize, data: PutPayload) -> UploadPart {
        let (store, path, file, done) = (self.store.clone(), self.path.clone(), self.file.clone(), self.done.clone());
        let attributes = self.attributes.clone();
        Box::pin(async move {
            let options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
            let id = file.get_or_try_init(|| store.create_multipart_opts(&path, options)).await?;
            let part = store.put_part(&path, id, index, data).await?;
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            if done.len() <= index {
                done.resize(index + 1, None);
            }
            done[index] = Some(part);
            Ok(())
        })
    }
}

#[async_trait]
impl MultipartUpload for B2Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let index = self.count;
        self.count += 1;
        if index == 0 {
            self.first = Some(data);
            return Box::pin(std::future::ready(Ok(())));
        }
        let second = self.send(index, data);
        match self.first.take() {
            None => second,
            Some(first) => {
                let first = self.send(0, first);
                Box::pin(async move { futures::future::try_join(first, second).await.map(drop) })
            }
        }
    }

    async fn complete(&mut self) -> Result<PutResult> {
        if self.count < 2 {
            let options = PutOptions { attributes: self.attributes.clone(), ..PutOptions::default() };
            return self.store.put_opts(&self.path, self.first.take().unwrap_or_default(), options).await;
        }
        let parts: Option<Vec<PartId>> = {
            let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
            (done.len() == self.count).then(|| done.iter().cloned().collect()).flatten()
        };
        match (parts, self.file.get()) {
            (Some(parts), Some(id)) => self.store.complete_multipart(&self.path, id, parts).await,
            _ => Err(Error::Generic { store: "b2", source: "a part has not arrived".into() }),
        }
    }

    async fn abort(&mut self) -> Result<()> {
        self.first = None;
        match self.file.get() {
            Some(id) => self.store.abort_multipart(&self.path, id).await,
            None => Ok(()),
        }
    }
}

impl fmt::Debug for B2Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parts({})", self.path)
    }
}
