//! The mark that an upload with a condition carries.
//!
//! Owns its text, which the store keeps with the version (`docs/format.md`, "Backblaze B2").

/// The file info that holds a mark.
pub(super) const MARK: &str = "offsite-put";

/// The condition under which a version was uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mark {
    /// No condition: the version replaces every older one.
    Plain,
    /// Only if the name has no content. `put` is the upload's own random name.
    Create { put: String },
    /// Only if the version `after` is current.
    Swap { put: String, after: String },
}

impl Mark {
    /// Parses what [`Self::text`] returns. Any other text counts as no mark.
    pub(super) fn parse(text: &str) -> Self {
        let mut words = text.splitn(3, ' ').map(str::to_owned);
        match (words.next().as_deref(), words.next(), words.next()) {
            (Some("create"), Some(put), None) => Self::Create { put },
            (Some("swap"), Some(put), Some(after)) => Self::Swap { put, after },
            _ => Self::Plain,
        }
    }

    pub(super) fn text(&self) -> Option<String> {
        match self {
            Self::Plain => None,
            Self::Create { put } => Some(format!("create {put}")),
            Self::Swap { put, after } => Some(format!("swap {put} {after}")),
        }
    }

    pub(super) fn put(&self) -> Option<&str> {
        match self {
            Self::Plain => None,
            Self::Create { put } | Self::Swap { put, .. } => Some(put),
        }
    }

    pub(super) fn is_after(&self, id: &str) -> bool {
        matches!(self, Self::Swap { after, .. } if after == id)
    }
}
