//! One change of a repair to the manifest.

use serde::{Deserialize, Serialize};

use crate::model::{Entry, RelPath, Stamps};

/// What a repair changes in the entry of one path.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Fix {
    pub path: RelPath,
    /// The new entry. `None`: the entry stays, and the next sync on this machine reads the file again.
    pub entry: Option<Entry>,
    pub stamps: Option<Stamps>,
}

impl Fix {
    pub fn set(entry: Entry, stamps: Option<Stamps>) -> Self {
        Self { path: entry.path.clone(), entry: Some(entry), stamps }
    }

    pub fn look_again(path: RelPath) -> Self {
        Self { path, entry: None, stamps: None }
    }
}
