//! Sealing: the age files that a sealed destination consists of, and the keys to them.
//!
//! Owns every key and every byte of cryptography. It knows keys and bytes, and no destination, path or manifest.
//! Invariants: what it writes, `age -d` opens; no error, `Debug` output or message shows a secret.

mod ask;
mod error;
mod header;
mod keys;
mod lengths;
mod lines;
mod native;
mod object;
mod owner;
mod pad;
mod range;
mod stream;
mod unlock;
mod writer;

pub use age::secrecy::{ExposeSecret, SecretString};

pub use ask::{Ask, PassphraseSource};
pub use error::{KeyText, SealError};
pub use header::{FileKey, FileSecrets, HEADER, NONCE, PREFIX, PayloadKey};
pub use keys::KeySet;
pub use lengths::{plain_len, sealed_len, sealed_range};
pub use native::{Identity, Recipient};
pub use object::ObjectWriter;
pub use owner::{OwnerRecipient, recipients_file, seal_keys, seal_keys_with_passphrase, stanza_kinds};
pub use pad::{Padding, padding_frame, padme};
pub use range::{ChunkOpener, Opener};
pub use stream::{OpenReader, SealWriter, open, seal};
pub use unlock::{OwnerIdentities, open_keys};
pub use writer::{KeyFile, Opening, SealKeys, Sealing, WriterKey};
