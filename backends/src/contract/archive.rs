//! Archives: what has to be fetched from one before it can be read.
//!
//! Owns the plain question and its answers. Only a store that has archives of its own answers; whoever asks pays.

/// How fast, and at what price.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Tier {
    Expedited,
    #[default]
    Standard,
    Bulk,
}

/// What is asked of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restore {
    pub tier: Tier,
    /// So many days it stays readable; then it is in the archive alone again.
    pub days: u32,
}

impl Default for Restore {
    fn default() -> Self {
        Self { tier: Tier::default(), days: 7 }
    }
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restoring {
    /// It can be read now.
    Readable,
    /// Somebody has asked for it already, and it is not there yet.
    UnderWay,
    /// It was asked for. As a rule it can be read within so many hours.
    Asked { hours: u32 },
}
