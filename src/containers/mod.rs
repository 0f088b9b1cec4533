//! Volumes of a container engine: which there are, and where their files lie.
//!
//! Owns the questions and the engine's answers as plain data; `socket.rs` carries them. Docker and podman speak the
//! same API here. Which socket, and what becomes of an answer, is `config`'s.
//! Invariant: an engine is only ever asked (GET); nothing is made, started or changed there.

mod socket;

use std::collections::BTreeMap;

use serde::Deserialize;

pub use socket::Engine;

/// A volume, as its engine describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Volume {
    pub name: String,
    pub driver: String,
    /// Where its files lie on the engine's host; empty for a driver that has no such place.
    pub mountpoint: String,
    pub labels: BTreeMap<String, String>,
}

/// Who can be asked for volumes. An error is a text: why it could not be asked, and what to do.
pub trait Volumes {
    /// One volume; none if there is no such volume.
    ///
    /// # Errors
    /// Why the engine could not be asked.
    fn named(&self, name: &str) -> Result<Option<Volume>, String>;

    /// The volumes that have a label, whatever it says, by name.
    ///
    /// # Errors
    /// Why the engine could not be asked.
    fn labelled(&self, label: &str) -> Result<Vec<Volume>, String>;

    /// Who that is, for messages.
    fn shown(&self) -> String;
}

/// Nobody, where no source can be a volume.
#[derive(Debug, Clone, Copy)]
pub struct NoVolumes;

impl Volumes for NoVolumes {
    fn named(&self, _: &str) -> Result<Option<Volume>, String> {
        Ok(None)
    }

    fn labelled(&self, _: &str) -> Result<Vec<Volume>, String> {
        Ok(Vec::new())
    }

    fn shown(&self) -> String {
        "no engine".to_owned()
    }
}

/// A volume as the API writes it: what has no value is null, or left out.
#[derive(Debug, Deserialize)]
struct Written {
    #[serde(rename = "Name")]
    name: String,
    #[serde(rename = "Driver", default)]
    driver: Option<String>,
    #[serde(rename = "Mountpoint", default)]
    mountpoint: Option<String>,
    #[serde(rename = "Labels", default)]
    labels: Option<BTreeMap<String, String>>,
}

/// A list of them as the API writes it.
#[derive(Debug, Deserialize)]
struct WrittenList {
    #[serde(rename = "Volumes")]
    volumes: Option<Vec<Written>>,
}

impl From<Written> for Volume {
    fn from(written: Written) -> Self {
        Self {
            name: written.name,
            driver: written.driver.unwrap_or_default(),
            mountpoint: written.mountpoint.unwrap_or_default(),
            labels: written.labels.unwrap_or_default(),
        }
    }
}
