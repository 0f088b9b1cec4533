//! What requests and storage cost, by a dated table that ships with the program.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Estimate;

/// Prices in US dollars.
#[derive(Debug, Clone, Deserialize)]
pub struct Price {
    /// 1,000 requests that write, copy or list.
    pub put_per_1k: f64,
    /// 1,000 requests that read.
    pub get_per_1k: f64,
    /// A GB (10⁹ bytes) for a month.
    pub storage_gb_month: f64,
    /// A GB sent to the internet.
    pub egress_gb: f64,
    /// When it was read, and where.
    pub as_of: String,
    pub source: String,
    pub confidence: String,
}

impl Price {
    /// What these requests cost. Deletes are free at every store in the table.
    pub fn requests(&self, e: &Estimate) -> f64 {
        ((e.put + e.list + e.copy + e.multipart) as f64 * self.put_per_1k + e.get as f64 * self.get_per_1k) / 1000.0
    }

    /// What so many bytes cost a month.
    pub fn storage(&self, bytes: u64) -> f64 {
        bytes as f64 / 1e9 * self.storage_gb_month
    }
}

/// A table of prices by name.
#[derive(Debug, Clone, Deserialize)]
pub struct Prices {
    pub prices: BTreeMap<String, Price>,
}

impl Prices {
    /// The table that ships with the program.
    pub fn shipped() -> Result<Self, String> {
        Self::parse(include_str!("../../data/prices.json"))
    }

    /// A table of the user's own, in the same form.
    pub fn parse(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|e| format!("price table: {e}"))
    }

    /// One row; an unknown name lists the known ones.
    pub fn get(&self, name: &str) -> Result<&Price, String> {
        let known = || self.prices.keys().cloned().collect::<Vec<_>>().join(", ");
        self.prices.get(name).ok_or_else(|| format!("no price `{name}`; known are {}", known()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_table_holds() {
        let prices = Prices::shipped().unwrap();
        let s3 = prices.get("aws/s3-standard").unwrap();
        let million = Estimate { put: 1_000_000, ..Estimate::default() };
        assert!((s3.requests(&million) - 5.0).abs() < 1e-9);
        assert!(prices.get("aws/nothing").unwrap_err().contains("aws/s3-standard"));
    }
}
