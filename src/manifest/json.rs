//! Small records at a destination as JSON: the snapshot, `format.json`, the lease, `run.json`, `check.json`.
//!
//! Owns the only way to read and the only way to write them. A record is read into its own shape and never into a
//! general tree of values, so unknown members take no memory. Invariant: an encoded record can be decoded again. A
//! record that its readers would refuse is refused before it is written.

use std::fmt::Display;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::format::FORMAT;
use crate::error::{Error, Result};
use crate::model::bounds;

/// The record as bytes. `what` is its URL, for errors.
///
/// # Errors
/// [`Error::Usage`] if the record is larger than a reader accepts or cannot be decoded again.
pub fn encode<T: Serialize + DeserializeOwned>(what: impl Display, record: &T) -> Result<Bytes> {
    let refused =
        |why: &dyn Display| Error::Usage(format!("{what}: this record was not written, because no reader would accept it: {why}"));
    let body = serde_json::to_vec(record).map_err(|e| refused(&e))?;
    if body.len() as u64 > bounds::RECORD {
        return Err(refused(&format_args!("it has {} bytes, the maximum is {}", body.len(), bounds::RECORD)));
    }
    serde_json::from_slice::<T>(&body).map_err(|e| refused(&e))?;
    Ok(body.into())
}

/// The record in `body`. `what` is its URL, for errors.
///
/// # Errors
/// [`Error::Damaged`] if the body is not such a record.
pub fn decode<T: DeserializeOwned>(what: impl Display, body: &[u8]) -> Result<T> {
    serde_json::from_slice(body).map_err(|e| Error::damaged(what, e))
}

/// The members that say which program wrote a record.
#[derive(Deserialize)]
struct Newer {
    format: u64,
    #[serde(default)]
    version: Option<String>,
}

/// Refuses a record that a newer program wrote, even if the rest of the record is unknown to this program.
pub fn known_format(what: impl Display, body: &[u8]) -> Result<()> {
    match serde_json::from_slice::<Newer>(body) {
        Ok(newer) if newer.format > u64::from(FORMAT) => {
            let by = newer.version.map(|version| format!(" ({})", version.chars().take(60).collect::<String>())).unwrap_or_default();
            Err(Error::Usage(format!("{what}: written by a newer offsite{by}; this one knows format {FORMAT}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::KeyRules;

    #[test]
    fn what_no_reader_would_take_is_not_encoded() {
        let rules = KeyRules { changed: "x".repeat(bounds::CHARACTERS + 1), ..KeyRules::any() };
        let error = encode("place", &rules).unwrap_err().to_string();
        assert!(error.contains("place") && error.contains("not written"), "{error}");
        let text = "x".repeat(bounds::RECORD as usize);
        assert!(encode("place", &text).is_err());
        assert_eq!(decode::<KeyRules>("place", &encode("place", &KeyRules::any()).unwrap()).unwrap(), KeyRules::any());
    }

    #[test]
    fn a_newer_format_is_known_whatever_it_looks_like() {
        assert!(known_format("place", br#"{"keys":7,"format":3,"version":"offsite 9"}"#).unwrap_err().to_string().contains("(offsite 9)"));
        for other in [&br#"{"format":1}"#[..], br#"{"format":-1}"#, b"[]", b""] {
            known_format("place", other).unwrap();
        }
    }
}
