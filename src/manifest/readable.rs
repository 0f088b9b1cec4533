//! Whether an object store returns what was written, before the first content is sent.
//!
//! Owns the reading part of the first run's probe: it reads one object whole, copies it, and reads the copy in part and
//! under a condition. This takes three requests, or two if the store has no copies. The copy stays in the probe's
//! folder, which the probe removes. Invariant: if this fails, nothing was written outside that folder.

use bytes::Bytes;
use object_store::{GetOptions, GetRange, GetResult, ObjectStore};
use offsite_backends::{self as backends, ErrorKind};

use super::records::{Records, object_path};
use crate::error::Result;

/// Reads back the probe object at `key`, which has `body`, in each way in which a pull reads.
///
/// # Errors
/// [`ErrorKind::Unsupported`] if the store returns other bytes than were written, or cannot read a part. Otherwise the
/// store's own error.
pub(super) async fn reads_back(records: &Records, key: &str, body: &Bytes, copies: bool) -> Result<()> {
    let backend = records.backend();
    let store = backend.store();
    let (whole, tag) = fetch(records, store.as_ref(), key, GetOptions::default()).await?;
    if whole != *body {
        return Err(unusable(records, format!("{} bytes were written, and {} different bytes were read back", body.len(), whole.len())));
    }
    let mut read = (key.to_owned(), tag.clone());
    if copies && backend.capabilities().server_copy {
        let copy = format!("{key}-copied");
        let (from, to) = (object_path(key.as_bytes())?, object_path(copy.as_bytes())?);
        match backend.copy_exact(&from, &to, body.len() as u64, tag.as_deref(), object_store::PutMode::Overwrite).await {
            Ok(put) => read = (copy, put.e_tag),
            // If the store has no copies, the engine sends the content again.
            Err(error) if error.kind == ErrorKind::Unsupported => {}
            Err(error) => return Err(error.into()),
        }
    }
    let (key, if_match) = read;
    let part = 2..body.len() as u64 - 1;
    let options = GetOptions { range: Some(GetRange::Bounded(part.clone())), if_match, ..GetOptions::default() };
    let (found, _) = match fetch(records, store.as_ref(), &key, options).await {
        Ok(found) => found,
        Err(error) if matches!(error.kind(), Some(ErrorKind::Unsupported | ErrorKind::Other | ErrorKind::Invalid)) => {
            return Err(unusable(records, format!("it cannot read a part of an object, which every restore needs ({error})")));
        }
        Err(error) => return Err(error),
    };
    if found != body.slice(2..body.len() - 1) {
        return Err(unusable(
            records,
            format!("{} bytes of an object were requested, and {} different bytes came", part.end - part.start, found.len()),
        ));
    }
    Ok(())
}

async fn fetch(records: &Records, store: &dyn ObjectStore, key: &str, options: GetOptions) -> Result<(Bytes, Option<String>)> {
    let path = object_path(key.as_bytes())?;
    let found: GetResult = store.get_opts(&path, options).await.map_err(|e| records.error(key, &e))?;
    let tag = found.meta.e_tag.clone();
    Ok((found.bytes().await.map_err(|e| records.error(key, &e))?, tag))
}

fn unusable(records: &Records, what: String) -> crate::error::Error {
    let text = format!("this store cannot be a destination: {what}, so nothing was sent there");
    backends::Error::new(ErrorKind::Unsupported, records.backend().location(), text).into()
}
