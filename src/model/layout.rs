//! How a destination keeps contents.

use serde::{Deserialize, Serialize};

/// The layout of a destination. Its first run decides it, and no run changes it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Each file is an object of its own under its own name, so any tool can read it.
    #[default]
    Mirror,
    /// Files lie together in packs, compressed, and each content once.
    Packed,
}

impl Layout {
    /// Whether it is a mirror.
    pub fn is_mirror(&self) -> bool {
        *self == Self::Mirror
    }

    /// What a destination of this layout is, for messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mirror => "a mirror",
            Self::Packed => "packed",
        }
    }
}
