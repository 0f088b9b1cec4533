//! An object that is made piece by piece in memory, sealed or open.
//!
//! Owns that what is sealed is sealed at once, so that memory holds one copy of it.

use std::io::Write;

use super::error::SealError;
use super::stream::SealWriter;

/// The bytes of an object as they are made.
pub enum ObjectWriter {
    /// The plaintext itself.
    Open(Vec<u8>),
    /// An age file of it.
    Sealed(Box<SealWriter<Vec<u8>>>),
}

impl ObjectWriter {
    /// Whether the object is sealed, so that its length has to be hidden.
    pub fn is_sealed(&self) -> bool {
        matches!(self, Self::Sealed(_))
    }

    /// Appends plaintext. Takes a millisecond of computing for each MiB that is sealed.
    ///
    /// # Errors
    /// [`SealError::Cipher`], which is not to be expected.
    pub fn push(&mut self, plain: &[u8]) -> Result<(), SealError> {
        match self {
            Self::Open(bytes) => bytes.extend_from_slice(plain),
            Self::Sealed(writer) => writer.write_all(plain)?,
        }
        Ok(())
    }

    /// The bytes of the whole object.
    ///
    /// # Errors
    /// As for [`Self::push`].
    pub fn finish(self) -> Result<Vec<u8>, SealError> {
        match self {
            Self::Open(bytes) => Ok(bytes),
            Self::Sealed(writer) => writer.finish(),
        }
    }
}
