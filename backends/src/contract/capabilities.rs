//! What a store can do.
//!
//! Owns the list. Invariant: each difference between stores that matters above this crate is a field here, so that no
//! caller has to test the scheme.

/// What a store can do. The engine asks these and nothing else about the kind of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// `PutMode::Create` can be relied on: of several writers exactly one wins. Some S3 servers accept the header and
    /// ignore it, so the engine probes this once per prefix.
    pub create_only: bool,
    /// `PutMode::Update` can be relied on in the same way.
    pub compare_and_swap: bool,
    /// A condition is sent with the put itself, so that it costs no extra request.
    pub conditions_are_free: bool,
    /// [`crate::Backend::copy_exact`] runs on the server, without moving content through this machine.
    pub server_copy: bool,
    /// [`crate::Backend::copy_part`] works: a part of an upload can be a stretch of an object that exists.
    pub part_copies: bool,
    /// Names are bytes, as on a file system: no name needs `odd/` except offsite's own.
    pub any_name: bool,
    /// Longest key in bytes, prefix included. `usize::MAX` if [`Self::any_name`] holds.
    pub max_key: usize,
    /// Smallest size of a part that is not the last, in bytes.
    pub min_part: u64,
    /// Largest number of parts of one upload.
    pub max_parts: u64,
    /// Largest object, in bytes.
    pub max_object: u64,
    /// Number of uploads in flight if the user does not set one.
    pub transfers: usize,
    /// The store keeps, or can be set to keep, replaced and deleted objects, and gives each a version id.
    pub versions: bool,
    /// To delete a name is to hide it: every version stays, and no right to delete is needed. Of several conditional
    /// puts, those that lost can be withdrawn only with that right.
    pub hides: bool,
    /// What the store itself verifies before it accepts an upload; `None` if it verifies nothing.
    pub checksum: Option<&'static str>,
    /// The store has a control plane: [`crate::Backend::initialize`] can change settings, not only read them.
    pub control: bool,
}

impl Capabilities {
    /// Capabilities of most bucket stores. Each store overrides what differs.
    pub const BUCKET: Self = Self {
        create_only: true,
        compare_and_swap: true,
        conditions_are_free: true,
        server_copy: true,
        part_copies: false,
        any_name: false,
        max_key: 1024,
        min_part: 5 << 20,
        max_parts: 10_000,
        max_object: 5 << 40,
        transfers: 64,
        versions: true,
        hides: false,
        checksum: None,
        control: true,
    };

    /// Capabilities of a directory on a file system, local or at a server.
    pub const DIRECTORY: Self = Self {
        create_only: true,
        compare_and_swap: true,
        conditions_are_free: false,
        server_copy: true,
        part_copies: false,
        any_name: true,
        max_key: usize::MAX,
        min_part: 1,
        max_parts: u64::MAX / 2,
        max_object: i64::MAX as u64,
        transfers: 8,
        versions: false,
        hides: false,
        checksum: None,
        control: true,
    };
}
