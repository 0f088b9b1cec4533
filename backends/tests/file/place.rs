//! A fresh directory with a backend over it, and what the tests ask of it again and again.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, PutMode, PutOptions};
use offsite_backends::file::{FileBackend, STAGING};
use offsite_backends::{Backend, FileMeta, Location, Publish, Tree};

pub struct Place {
    pub dir: tempfile::TempDir,
    pub backend: FileBackend,
    pub store: Arc<dyn ObjectStore>,
    pub tree: Arc<dyn Tree>,
}

impl Place {
    pub fn path(&self, name: impl AsRef<[u8]>) -> std::path::PathBuf {
        self.dir.path().join("root").join(OsStr::from_bytes(name.as_ref()))
    }

    pub async fn put(&self, path: impl AsRef<[u8]>, content: &'static str) {
        self.put_keep(path, content, None).await.unwrap();
    }

    pub async fn put_keep(&self, path: impl AsRef<[u8]>, content: &'static str, keep: Option<&str>) -> offsite_backends::Result<()> {
        let staged = self.tree.stage(content.into(), FileMeta::default()).await.unwrap();
        let keep = keep.map(|k| k.as_bytes().to_vec());
        let item = Publish { staged, path: path.as_ref().to_vec(), keep };
        self.tree.publish(vec![item], false).await.remove(0)
    }

    pub async fn read(&self, path: impl AsRef<[u8]>) -> offsite_backends::Result<Vec<u8>> {
        let length = self.tree.stat(path.as_ref()).await?.map_or(0, |stat| stat.size);
        let blocks = self.tree.read_blocks(path.as_ref(), length).await?;
        let blocks: Vec<Bytes> = blocks.try_collect().await?;
        Ok(blocks.concat())
    }

    /// Temporary files that are there.
    pub fn staged(&self) -> usize {
        count_files(&self.path(STAGING))
    }
}

pub async fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let backend = FileBackend::open(Location::from_dir(dir.path().join("root")).unwrap()).unwrap();
    backend.prepare().await.unwrap();
    let (store, tree) = (backend.store(), backend.tree().unwrap());
    Place { dir, backend, store, tree }
}

pub fn key(text: &str) -> Path {
    Path::parse(text).unwrap()
}

pub fn mode(mode: PutMode) -> PutOptions {
    mode.into()
}

pub async fn keys(place: &Place, prefix: Option<&str>) -> Vec<String> {
    let prefix = prefix.map(key);
    let listed: Vec<_> = place.store.list(prefix.as_ref()).try_collect().await.unwrap();
    listed.into_iter().map(|meta| meta.location.to_string()).collect()
}

pub fn count_files(dir: &std::path::Path) -> usize {
    let count = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => count_files(&entry.path()),
            false => usize::from(entry.file_name() != "lock"),
        }
    };
    std::fs::read_dir(dir).map_or(0, |entries| entries.map(count).sum())
}
