//! The errors of sealing.
//!
//! Owns their texts. The caller adds which object or file it was about.
//! Invariant: no text has a secret, or a part of a document that may hold one.

use std::fmt;
use std::io;

use thiserror::Error;

/// A text that is parsed line by line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyText {
    /// The key file of a destination.
    KeyFile,
    /// The key of a writing host.
    WriterKey,
    /// A list of recipients.
    Recipients,
    /// A list of identities.
    Identities,
}

impl fmt::Display for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::KeyFile => "the key file",
            Self::WriterKey => "the writer key",
            Self::Recipients => "the recipients",
            Self::Identities => "the identities",
        })
    }
}

/// What can go wrong with keys and sealed objects.
#[derive(Debug, Error)]
pub enum SealError {
    /// It is not an age file.
    #[error("it is not an age file")]
    NotAge,
    /// It is an age file of an unknown version; expected age-encryption.org/v1.
    #[error("it is an age file of an unknown version; expected age-encryption.org/v1")]
    UnknownVersion,
    /// Its age header is damaged: this.
    #[error("its age header is damaged: {0}")]
    Header(&'static str),
    /// Its age header is longer than this bytes.
    #[error("its age header is longer than {0} bytes")]
    LongHeader(usize),
    /// None of the keys opens it.
    #[error("none of the keys opens it")]
    NoKey,
    /// It ends too early.
    #[error("it ends too early")]
    Truncated,
    /// It has bytes after its end.
    #[error("it has bytes after its end")]
    Extended,
    /// It is damaged or incomplete in its 64 KiB chunk this.
    #[error("it is damaged or incomplete in its 64 KiB chunk {0}")]
    Chunk(u64),
    /// It is damaged.
    #[error("it is damaged")]
    Damaged,
    /// The bytes do not cover the range asked for.
    #[error("the bytes do not cover the range asked for")]
    Range,
    /// Line `line` of `document`: expected `expected`.
    #[error("line {line} of {document}: expected {expected}")]
    Line {
        /// Which text.
        document: KeyText,
        /// Number of the line, from 1 on.
        line: usize,
        /// What was expected there.
        expected: String,
    },
    /// A recipient has an unknown form; expected this.
    #[error("a recipient has an unknown form; expected {0}")]
    Recipient(String),
    /// A native age key has an unknown form; expected this.
    #[error("a native age key has an unknown form; expected {0}")]
    NativeKey(&'static str),
    /// `document` cannot be longer than `limit` bytes.
    #[error("{document} cannot be longer than {limit} bytes")]
    TooLong {
        /// Which text.
        document: KeyText,
        /// Its maximum in bytes.
        limit: usize,
    },
    /// This cannot be read as text (UTF-8).
    #[error("{0} cannot be read as text (UTF-8)")]
    NotText(KeyText),
    /// A recipient is missing; expected at least one.
    #[error("a recipient is missing; expected at least one")]
    NoRecipients,
    /// These recipients cannot open the same file: some of them demand others of their own kind only.
    #[error("these recipients cannot open the same file: some of them demand others of their own kind only")]
    MixedRecipients,
    /// The passphrase is wrong.
    #[error("the passphrase is wrong")]
    WrongPassphrase,
    /// The passphrase is empty.
    #[error("the passphrase is empty")]
    EmptyPassphrase,
    /// A passphrase is needed to open it, and none was given.
    #[error("a passphrase is needed to open it, and none was given")]
    NoPassphrase,
    /// Its passphrase asks for scrypt work factor `required`; at most `limit` is accepted.
    #[error("its passphrase asks for scrypt work factor {required}; at most {limit} is accepted")]
    Work {
        /// The work factor of the file.
        required: u8,
        /// The largest one that is accepted.
        limit: u8,
    },
    /// An SSH key of this kind cannot be used (this); expected ssh-ed25519 or ssh-rsa.
    #[error("an SSH key of this kind cannot be used ({0}); expected ssh-ed25519 or ssh-rsa")]
    SshKind(String),
    /// An SSH private key cannot be read; expected the OpenSSH form, `-----BEGIN OPENSSH PRIVATE KEY-----`.
    #[error("an SSH private key cannot be read; expected the OpenSSH form, `-----BEGIN OPENSSH PRIVATE KEY-----`")]
    SshKey,
    /// An identities file has no identity.
    #[error("an identities file has no identity")]
    NoIdentity,
    /// An identities file can be encrypted with a passphrase only, not to a recipient.
    #[error("an identities file can be encrypted with a passphrase only, not to a recipient")]
    NestedIdentity,
    /// The plugin this is not installed; it must be a program in PATH.
    #[error("the plugin {0} is not installed; it must be a program in PATH")]
    NoPlugin(String),
    /// An age plugin failed: this.
    #[error("an age plugin failed: {0}")]
    Plugin(String),
    /// It could not be encrypted.
    #[error("it could not be encrypted")]
    Cipher,
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    NoRandom,
    /// An error of the system.
    #[error(transparent)]
    Io(io::Error),
}

impl SealError {
    /// The error of a line, counted from 1.
    pub(super) fn line(document: KeyText, line: usize, expected: impl Into<String>) -> Self {
        Self::Line { document, line, expected: expected.into() }
    }
}

/// Takes an error out again that a reader or writer of this module put into an `io::Error`.
impl From<io::Error> for SealError {
    fn from(error: io::Error) -> Self {
        error.downcast().unwrap_or_else(Self::Io)
    }
}

impl From<SealError> for io::Error {
    fn from(error: SealError) -> Self {
        match error {
            SealError::Io(error) => error,
            SealError::Truncated => Self::new(io::ErrorKind::UnexpectedEof, error),
            error => Self::new(io::ErrorKind::InvalidData, error),
        }
    }
}
