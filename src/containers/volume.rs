//! A volume, who can be asked for volumes, and the answers of an engine.

use std::collections::BTreeMap;

use serde::Deserialize;

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

/// A list of them as the API writes it.
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
