//! The cost of requests and storage, from a dated table that ships with the program.
//!
//! Owns the table's shape and the sums. A row is one storage class of one store in one region, first tier, without free
//! quotas. A note of the row names everything else that is billed. Invariant: every price has a date and a source.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde::Deserialize;

use super::facts::Estimate;

/// A price that was read more days ago than this is reported as old.
const STALE_DAYS: i64 = 180;

/// One row of the table: prices in US dollars.
#[derive(Debug, Clone, Deserialize)]
pub struct Price {
    /// Price of 1,000 requests that write, copy or list.
    pub put_per_1k: f64,
    /// Price of 1,000 requests that read.
    pub get_per_1k: f64,
    /// Price of one GB stored for a month.
    pub storage_gb_month: f64,
    /// Number of bytes that the store bills as a GB: 10⁹ or 2³⁰.
    #[serde(default = "decimal")]
    pub gb: u64,
    /// Price of one GB sent to the internet.
    pub egress_gb: f64,
    /// Day on which the prices were read: `2026-11-01`.
    pub as_of: String,
    /// Where the prices were read.
    pub source: String,
    /// How certain the prices are: `high`, `medium` or `low`.
    pub confidence: String,
    /// The storage class by the store's own name, if the store has several.
    #[serde(default)]
    pub class: Option<String>,
    /// What else the store bills, which the figures leave out.
    #[serde(default)]
    pub note: Option<String>,
    /// For how many days an object is billed at least.
    #[serde(default)]
    pub min_days: u64,
}

impl Default for Price {
    /// Nothing costs anything.
    fn default() -> Self {
        Self {
            put_per_1k: 0.0,
            get_per_1k: 0.0,
            storage_gb_month: 0.0,
            gb: decimal(),
            egress_gb: 0.0,
            as_of: String::new(),
            source: String::new(),
            confidence: String::new(),
            class: None,
            note: None,
            min_days: 0,
        }
    }
}

fn decimal() -> u64 {
    1_000_000_000
}

impl Price {
    /// The cost of these requests in US dollars. Deletes are free at every store in the table.
    pub fn requests(&self, e: &Estimate) -> f64 {
        ((e.put + e.list + e.copy + e.multipart) as f64 * self.put_per_1k + e.get as f64 * self.get_per_1k) / 1000.0
    }

    /// The cost of this many bytes for a month, in US dollars.
    pub fn storage(&self, bytes: u64) -> f64 {
        bytes as f64 / self.gb.max(1) as f64 * self.storage_gb_month
    }

    /// How many days ago the price was read, if that is more than 180 days. None if the date is invalid or if storage
    /// costs nothing.
    pub fn is_stale(&self, today: NaiveDate) -> Option<i64> {
        let read: NaiveDate = self.as_of.parse().ok()?;
        Some((today - read).num_days()).filter(|days| *days > STALE_DAYS && self.storage_gb_month > 0.0)
    }
}

/// A table of prices by name.
///
/// # Examples
///
/// ```
/// use offsite::plan::{Estimate, Prices};
///
/// let prices = Prices::shipped()?;
/// let price = prices.get("aws/s3-standard")?;
/// let requests = Estimate { put: 10_000, ..Estimate::default() };
/// assert_eq!(price.requests(&requests), 10.0 * price.put_per_1k);
/// assert_eq!(price.storage(3 * price.gb), 3.0 * price.storage_gb_month);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Deserialize)]
pub struct Prices {
    /// Rows by name: `aws/s3-standard`. The part before the slash is the provider.
    pub prices: BTreeMap<String, Price>,
}

impl Prices {
    /// The table that ships with the program.
    ///
    /// # Errors
    /// As for [`Prices::parse`]. A test checks that the shipped table is valid.
    pub fn shipped() -> Result<Self, String> {
        Self::parse(include_str!("../../data/prices.json"))
    }

    /// A table of the user's own, as JSON in the same form.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|e| format!("price table: {e}"))
    }

    /// One row.
    ///
    /// # Errors
    /// For an unknown name, a text that lists the known ones.
    pub fn get(&self, name: &str) -> Result<&Price, String> {
        let known = || self.prices.keys().cloned().collect::<Vec<_>>().join(", ");
        self.prices.get(name).ok_or_else(|| format!("no price `{name}`; the prices are {}", known()))
    }

    /// The storage classes among these that have another row than `name` at the same provider: class and row.
    pub fn classes_apart<'a>(&self, name: &str, classes: impl Iterator<Item = &'a str>) -> Vec<(String, String)> {
        let provider = |name: &str| name.split('/').next().unwrap_or_default().to_owned();
        let own = self.prices.get(name).and_then(|price| price.class.as_deref());
        let row = |class: &str| {
            let mut rows = self.prices.iter().filter(|(row, _)| provider(row) == provider(name));
            rows.find(|(_, price)| price.class.as_deref() == Some(class)).map(|(row, _)| (class.to_owned(), row.clone()))
        };
        classes.filter(|class| Some(*class) != own).filter_map(row).collect()
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
        assert!((s3.storage(1 << 40) - 1024.0 * 0.023).abs() < 1e-9 && s3.storage(0) == 0.0);
        for (name, price) in &prices.prices {
            assert!(price.as_of.parse::<NaiveDate>().is_ok() && !price.source.is_empty(), "{name}");
            assert!(["high", "medium", "low"].contains(&price.confidence.as_str()), "{name}");
        }
    }

    #[test]
    fn an_old_price_is_said_to_be_old() {
        let prices = Prices::shipped().unwrap();
        let s3 = prices.get("aws/s3-standard").unwrap();
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        assert_eq!(s3.is_stale(day("2026-12-01")), None);
        assert_eq!(s3.is_stale(day("2027-09-01")), Some(365));
    }

    #[test]
    fn other_classes_of_the_same_store_are_found() {
        let prices = Prices::shipped().unwrap();
        let apart = |name: &str, classes: &[&str]| prices.classes_apart(name, classes.iter().copied());
        assert_eq!(apart("aws/s3-standard", &["STANDARD", "GLACIER", "ODD"]), [("GLACIER".into(), "aws/s3-glacier-flexible".into())]);
        assert_eq!(apart("gcs/nearline", &["STANDARD"]), [("STANDARD".into(), "gcs/standard".into())]);
        assert_eq!(apart("wasabi", &["STANDARD"]), []);
    }
}
