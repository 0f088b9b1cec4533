//! The mark that an upload with a condition carries.
//!
//! Owns its text, which stays with the version at the store (`docs/format.md`, "Backblaze B2").

/// The file info that holds a mark.
pub(super) const MARK: &str = "offsite-put";

/// On what condition a version was uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mark {
    /// None: it replaces whatever is older.
    Plain,
    /// Only if nothing is there. `put` is the upload's own random name.
    Create { put: String },
    /// Only if the version `after` is current.
    Swap { put: String, after: String },
}

impl Mark {
    /// Takes what [`Self::text`] gives; anything else counts as no mark.
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
