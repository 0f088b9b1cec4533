//! The upload of a page object from a local file.

use std::path::Path as LocalPath;

use object_store::{ObjectStoreExt, PutPayload, WriteMultipart};

use super::records::{Records, object_path};
use crate::error::{Error, Result};
use crate::model::Hash;

/// A page object larger than this is uploaded in parts.
const SINGLE_PUT: u64 = 32 << 20;

impl Records {
    /// Uploads a page object from a local file of this length in bytes.
    ///
    /// # Errors
    /// [`Error::Local`] if the file cannot be read, otherwise the store's own error. An upload in parts that
    /// fails is aborted.
    pub async fn put_pages(&self, object: &Hash, file: &LocalPath, length: u64) -> Result<()> {
        let key = Self::pages_object_key(object);
        let (path, store) = (object_path(key.as_bytes())?, self.backend().store());
        let fail = |e| Error::cache(file, e);
        if length <= SINGLE_PUT {
            let body = std::fs::read(file).map_err(fail)?;
            store.put(&path, PutPayload::from(body)).await.map_err(|e| self.error(&key, &e))?;
            return Ok(());
        }
        let upload = store.put_multipart(&path).await.map_err(|e| self.error(&key, &e))?;
        let part = usize::try_from((length / 9_000).max(8 << 20)).unwrap_or(8 << 20);
        let mut writer = WriteMultipart::new_with_chunk_size(upload, part);
        let written = async {
            let mut input = std::fs::File::open(file).map_err(fail)?;
            let mut buffer = vec![0; 1 << 20];
            loop {
                let got = std::io::Read::read(&mut input, &mut buffer).map_err(fail)?;
                if got == 0 {
                    return Ok(());
                }
                writer.wait_for_capacity(4).await.map_err(|e| self.error(&key, &e))?;
                writer.write(&buffer[..got]);
            }
        };
        if let Err(error) = written.await {
            let _ = writer.abort().await;
            return Err(error);
        }
        // A completion that fails aborts the upload.
        writer.finish().await.map(drop).map_err(|e| self.error(&key, &e))
    }
}
