//! Requests to a store's archive, which has to bring an object back before it can be read.
//!
//! Owns the request ([`Restore`]) and its answers ([`Restoring`]). Only a store that has archives implements it, and it
//! may charge for each request.

/// How fast the store brings an object back, and at what price.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Tier {
    /// Fastest and most expensive. Some archive classes do not offer it.
    Expedited,
    /// The default speed and price.
    #[default]
    Standard,
    /// Slowest and cheapest.
    Bulk,
}

/// A request to an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restore {
    /// Speed and price of the request.
    pub tier: Tier,
    /// Days for which the object stays readable. After that it is only in the archive again.
    pub days: u32,
}

impl Default for Restore {
    fn default() -> Self {
        Self { tier: Tier::default(), days: 7 }
    }
}

/// The answer to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restoring {
    /// The object can be read now.
    Readable,
    /// An earlier request for the object has not finished yet.
    UnderWay,
    /// The store accepted the request.
    Asked {
        /// The object can usually be read within so many hours.
        hours: u32,
    },
}
