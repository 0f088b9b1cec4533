//! How directories of this machine relate to each other.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use offsite_backends::Backend;

use crate::error::{Error, Result};

/// Whether two directories are the same or one contains the other. Symlinks are resolved.
pub fn mixed(a: &Path, b: &Path) -> bool {
    let (a, b) = (real(a), real(b));
    a.starts_with(&b) || b.starts_with(&a)
}

/// The absolute path without symlinks, as far as it exists. In the rest, `..` removes the component before it.
pub fn real(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let parts: Vec<_> = path.components().collect();
    let there = |n: usize| Some((n, parts[..n].iter().collect::<PathBuf>().canonicalize().ok()?));
    let Some((n, mut real)) = (1..=parts.len()).rev().find_map(there) else { return path };
    for part in &parts[n..] {
        match part {
            std::path::Component::ParentDir => drop(real.pop()),
            part => real.push(part),
        }
    }
    real
}

/// The path of offsite's cache below the source, if it is there. The cache changes with every run and has no use
/// elsewhere.
pub fn own_below(cache: &Path, source: &Path) -> Option<Vec<u8>> {
    use std::os::unix::ffi::OsStrExt;
    let (cache, source) = (real(cache), real(source));
    let below = cache.strip_prefix(&source).ok()?.as_os_str().as_bytes();
    (!below.is_empty()).then(|| below.to_vec())
}

/// Checks that source and destination do not contain each other. A destination inside its source would back up
/// itself, and a source inside its destination would be mixed with it.
pub fn apart(source: &Path, backend: &Arc<dyn Backend>) -> Result<()> {
    let Some(root) = backend.tree().and_then(|t| t.local_root()) else { return Ok(()) };
    if mixed(source, &root) {
        let root = real(&root);
        return Err(Error::Usage(format!(
            "{}: source and destination are one inside the other; choose a separate destination",
            root.display()
        )));
    }
    Ok(())
}
