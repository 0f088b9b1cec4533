//! Directories of this machine.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use offsite_backends::conformance::{PlaceKind, TestedPlace};
use offsite_backends::file::FileBackend;
use offsite_backends::{Backend, Location, Result};

use super::judge;

struct Directory(tempfile::TempDir);

#[async_trait]
impl TestedPlace for Directory {
    fn name(&self) -> &str {
        "directory"
    }

    async fn open(&self, kind: PlaceKind, name: &str) -> Result<Option<Arc<dyn Backend>>> {
        let dir = match kind {
            PlaceKind::Plain => self.0.path().join(name),
            PlaceKind::Missing => self.0.path().join("missing").join(name),
            PlaceKind::Unmade => self.0.path().join("unmade").join(name),
            PlaceKind::Versioned | PlaceKind::WrongCredentials => return Ok(None),
        };
        let backend = FileBackend::open(Location::from_dir(dir)?)?;
        if kind == PlaceKind::Plain {
            backend.prepare().await?;
        }
        Ok(Some(Arc::new(backend)))
    }

    fn seen_at(&self, name: &str) -> Option<PathBuf> {
        Some(self.0.path().join(name))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_conforms() {
    judge(Arc::new(Directory(tempfile::tempdir().unwrap()))).await;
}
