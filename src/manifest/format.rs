//! `format.json`: the format of a destination, what its store does to names, and why a sealed one cannot be read.

use offsite_backends::{Location, MissingFeature};
use serde::{Deserialize, Serialize};

use super::keys::KeyRules;
use super::sealed_backend::no_key;
use crate::error::{Error, Result};
use crate::model::{Layout, bounds};

/// The newest format that this program knows. It reads this one and all older ones.
pub const FORMAT: u32 = 2;

/// The format that this program writes in a destination of this layout. Mirrors stay what older programs can read.
pub fn format_of(layout: Layout) -> u32 {
    match layout {
        Layout::Mirror => 1,
        Layout::Packed => 2,
    }
}

/// `.offsite/format.json`, which the first run creates and no run changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Format {
    /// Number of the format, see [`format_of`].
    pub format: u32,
    /// How contents are kept.
    #[serde(default, skip_serializing_if = "Layout::is_mirror")]
    pub layout: Layout,
    /// A random text that distinguishes this destination from another one at the same URL.
    #[serde(deserialize_with = "bounds::text")]
    pub id: String,
    /// When it was made, RFC 3339 in UTC.
    #[serde(deserialize_with = "bounds::text")]
    pub made: String,
    /// The program that made it, with its version.
    #[serde(deserialize_with = "bounds::text")]
    pub version: String,
    /// Everything but this record and the probe is sealed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sealed: bool,
    /// The keys that the store can have.
    pub keys: KeyRules,
    /// The store refuses a create-only put of an existing key.
    pub create_only: bool,
    /// The store refuses to replace an object whose tag differs from the one that the writer names.
    pub compare_and_swap: bool,
    /// What the store cannot do, as names of [`offsite_backends::MissingFeature`]. This is a hint that saves requests, so a
    /// program ignores names that it does not know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lacks: Vec<String>,
}

impl Format {
    /// The key of the record.
    pub const KEY: &str = ".offsite/format.json";

    /// The names in `lacks` that this program knows.
    pub fn known_missing_features(&self) -> Vec<MissingFeature> {
        self.lacks.iter().filter_map(|name| MissingFeature::named(name)).collect()
    }
}

/// Why the records of a sealed destination cannot be read without a key. `format` is what was found of its format.
pub fn why_no_key(destination: &Location, url: String, format: Result<Option<Format>>) -> Error {
    match format {
        Err(error) => error,
        // It says which key opens the destination.
        Ok(None) => Error::damaged(
            url,
            "it is missing, so this machine does not find the key of this destination; `offsite repair` on a host that has backed up \
             here writes it again",
        ),
        Ok(Some(_)) => no_key(destination),
    }
}
