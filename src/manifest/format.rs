//! `format.json`: the format of a destination, and what its store does to names.

use offsite_backends::Lack;
use serde::{Deserialize, Serialize};

use super::keys::KeyRules;
use crate::model::bounds;

/// The format this program writes; it reads all up to it.
pub const FORMAT: u32 = 1;

/// `.offsite/format.json`: created once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Format {
    pub format: u32,
    /// Random; tells this destination from another one at the same URL.
    #[serde(deserialize_with = "bounds::text")]
    pub id: String,
    /// When it was made, RFC 3339.
    #[serde(deserialize_with = "bounds::text")]
    pub made: String,
    /// By which program.
    #[serde(deserialize_with = "bounds::text")]
    pub version: String,
    pub keys: KeyRules,
    /// The store refuses a create-only put of an existing key.
    pub create_only: bool,
    /// It refuses to replace what is not what the writer says it is.
    pub compare_and_swap: bool,
    /// What the store does not do, see [`offsite_backends::Lack`]; a hint that saves requests. Names that this
    /// program does not know are passed over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lacks: Vec<String>,
}

impl Format {
    pub const KEY: &str = ".offsite/format.json";

    /// What the store does not do, as far as this program knows of such a thing.
    pub fn known_lacks(&self) -> Vec<Lack> {
        self.lacks.iter().filter_map(|name| Lack::named(name)).collect()
    }
}
