//! A volume, the interface to list volumes, and the JSON of an engine's responses.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A volume, as its engine describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// The driver that stores it.
    pub driver: String,
    /// The directory of its files on the engine's host. Empty for a driver without such a directory.
    pub mountpoint: String,
    /// Its labels, by name.
    pub labels: BTreeMap<String, String>,
}

/// A source of volumes. An error is a text that says why it cannot be reached and what to do.
pub trait Volumes {
    /// One volume. None if it does not exist.
    ///
    /// # Errors
    /// Why the engine cannot be reached.
    fn named(&self, name: &str) -> Result<Option<Volume>, String>;

    /// The volumes that have a label, with any value, in order of their names.
    ///
    /// # Errors
    /// Why the engine cannot be reached.
    fn labelled(&self, label: &str) -> Result<Vec<Volume>, String>;

    /// Its name in messages.
    fn shown(&self) -> String;
}

/// No engine, for callers without sources that are volumes.
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

/// A volume as the API writes it. A member without a value is null or left out.
#[derive(Debug, Deserialize)]
pub struct VolumeJson {
    #[serde(rename = "Name")]
    pub name: String,
    #[serde(rename = "Driver", default)]
    pub driver: Option<String>,
    #[serde(rename = "Mountpoint", default)]
    pub mountpoint: Option<String>,
    #[serde(rename = "Labels", default)]
    pub labels: Option<BTreeMap<String, String>>,
}

/// A list of volumes as the API writes it.
#[derive(Debug, Deserialize)]
pub struct VolumeListJson {
    #[serde(rename = "Volumes")]
    pub volumes: Option<Vec<VolumeJson>>,
}

impl From<VolumeJson> for Volume {
    fn from(written: VolumeJson) -> Self {
        Self {
            name: written.name,
            driver: written.driver.unwrap_or_default(),
            mountpoint: written.mountpoint.unwrap_or_default(),
            labels: written.labels.unwrap_or_default(),
        }
    }
}
