//! Directories of this machine.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use offsite_backends::conformance::{Kind, Place};
use offsite_backends::file::FileBackend;
use offsite_backends::{Backend, Location, Result};

use super::judge;

struct Directory(tempfile::TempDir);

#[async_trait]
impl Place for Directory {
    fn name(&self) -> &str {
        "directory"
    }

    async fn open(&self, kind: Kind, name: &str) -> Result<Option<Arc<dyn Backend>>> {
        let dir = match kind {
            Kind::Plain => self.0.path().join(name),
            Kind::Missing => self.0.path().join("missing").join(name),
            Kind::Unmade => self.0.path().join("unmade").join(name),
            Kind::Versioned | Kind::WrongCredentials => return Ok(None),
        };
        let backend = FileBackend::open(Location::from_dir(dir)?)?;
        if kind == Kind::Plain {
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
