//! What a store can do, said once for all who ask.
//!
//! Owns the list. Invariant: whatever differs between stores and matters above this crate is a member here, so that
//! nobody has to ask for a scheme.

/// What a store can do. The engine asks these and nothing else about the kind of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// `PutMode::Create` can be relied on: of several writers exactly one wins. Some S3 servers
    /// accept the header and ignore it, so the engine probes this once per prefix.
    pub create_only: bool,
    /// `PutMode::Update` can be relied on in the same way.
    pub compare_and_swap: bool,
    /// A condition travels with the put itself, so that it costs no request more.
    pub conditions_are_free: bool,
    /// [`crate::Backend::copy_exact`] runs on the server, without moving content through this machine.
    pub server_copy: bool,
    /// Names are bytes, as on a file system: no name needs `odd/` except offsite's own.
    pub any_name: bool,
    /// Longest key in bytes, prefix included. `usize::MAX` where [`Self::any_name`] holds.
    pub max_key: usize,
    /// Smallest size of a part that is not the last, in bytes.
    pub min_part: u64,
    /// Most parts of one upload.
    pub max_parts: u64,
    /// Largest object, in bytes.
    pub max_object: u64,
    /// Uploads in flight that use the store well when the user does not say.
    pub transfers: usize,
    /// The store keeps, or can be told to keep, what is replaced or removed, and names each by a version.
    pub versions: bool,
    /// What the store itself checks of an upload before it takes it; none where it checks nothing.
    pub checksum: Option<&'static str>,
    /// There is more than a data plane: `initialize` can set things up, not only look.
    pub control: bool,
}

impl Capabilities {
    /// Those of a bucket as most stores have it; a store names what is different there.
    pub const BUCKET: Self = Self {
        create_only: true,
        compare_and_swap: true,
        conditions_are_free: true,
        server_copy: true,
        any_name: false,
        max_key: 1024,
        min_part: 5 << 20,
        max_parts: 10_000,
        max_object: 5 << 40,
        transfers: 64,
        versions: true,
        checksum: None,
        control: true,
    };

    /// Those of a directory on a file system, here or at a server.
    pub const DIRECTORY: Self = Self {
        create_only: true,
        compare_and_swap: true,
        conditions_are_free: false,
        server_copy: true,
        any_name: true,
        max_key: usize::MAX,
        min_part: 1,
        max_parts: u64::MAX / 2,
        max_object: i64::MAX as u64,
        transfers: 8,
        versions: false,
        checksum: None,
        control: true,
    };
}
