//! The flags that `sync` and `plan` share, and the engine's options that they become.
//!
//! Owns the flags and their defaults. Invariant: a flag means the same in both verbs, so a plan shows what a sync
//! with the same command line would do.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use offsite::engine::{SealWish, SyncOptions};
use offsite::error::{Error, Result};
use offsite::model::{KeepRules, Layout};
use offsite::plan::{Limits, Prices};
use offsite::scan::WalkOptions;

use super::args_filter::FilterArgs;
use super::screen::Screen;
use super::terminal::NewPassphrase;
use offsite::config::values;

/// Source, destinations and how.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The directory to back up
    #[arg(value_name = "SOURCE")]
    pub source: PathBuf,
    /// Where to back it up: a path, or a URL such as <s3://bucket/prefix>, <gs://bucket/prefix>, <b2://bucket/prefix> or
    /// <sftp://user@host/path>; one or more
    #[arg(value_name = "DESTINATION", required = true)]
    pub destinations: Vec<String>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Back up only the tag of a directory with a CACHEDIR.TAG
    #[arg(long, help_heading = "Filters")]
    exclude_caches: bool,
    /// Files larger than this: 500M, 2G, by 1024 (default: none). One that grows past it goes from the copy
    #[arg(long, value_name = "SIZE", value_parser = values::size, help_heading = "What to leave out")]
    exclude_larger_than: Option<u64>,
    /// Stay on the source's file system
    #[arg(long, help_heading = "Filters")]
    one_file_system: bool,
    /// Read every file and compare contents (default: only files whose size, times or inode changed)
    #[arg(long)]
    checksum: bool,
    /// Use identical files that are already at the destination instead of sending them again
    #[arg(long)]
    adopt: bool,
    /// Make new destinations packed: small files together in compressed packs, each content once (default: a mirror,
    /// which any tool can read)
    #[arg(long, conflicts_with = "adopt")]
    packed: bool,
    /// Seal new destinations to this recipient: packed, and encrypted so that only its key opens them. `age1…`, an SSH
    /// public key, a recipient of an age plugin, or a file of recipients; name two or more
    #[arg(long, value_name = "RECIPIENT", conflicts_with = "adopt", help_heading = "Sealing")]
    seal_to: Vec<String>,
    /// Seal new destinations to a passphrase, which is asked for twice; with --seal-to, it opens them too
    #[arg(long, conflicts_with = "adopt", help_heading = "Sealing")]
    seal: bool,
    /// Seal to a single recipient: if its key is lost, so is the backup
    #[arg(long, requires = "seal_to", help_heading = "Sealing")]
    only_key: bool,
    /// Treat an emptied destination as new (default: refuse)
    #[arg(long)]
    start_over: bool,
    /// Delete nothing at the destinations, because the credentials may not (object stores only). Removed files stay in old
    /// snapshots; retention runs elsewhere, with other credentials: `offsite prune`
    #[arg(long)]
    append_only: bool,
    /// Repack nothing: leave contents in packs that are hardly used (default: send them again, so that these packs can be
    /// deleted later; at most once a day)
    #[arg(long)]
    no_repack: bool,
    /// Upload at most this many bytes a second to all destinations together: 500K, 10M (default: no limit)
    #[arg(long, value_name = "RATE", value_parser = values::rate)]
    limit_upload: Option<u64>,
    /// Download at most this many bytes a second from all destinations together, for --adopt (default: no limit)
    #[arg(long, value_name = "RATE", value_parser = values::rate)]
    limit_download: Option<u64>,
    /// Parallel transfers at each destination (default: depends on the store)
    #[arg(long, value_name = "N", value_parser = values::count)]
    transfers: Option<usize>,
    /// How long to keep replaced and removed files: 30d, 12h, 2w; 0 keeps none
    #[arg(long, value_name = "DURATION", default_value = "30d", value_parser = values::duration)]
    keep_within: u64,
    #[command(flatten)]
    guard: GuardArgs,
    /// The row of the price table for the cost of requests (default: the row for the first destination that costs
    /// anything; none for directories and servers of your own)
    #[arg(long, value_name = "NAME", help_heading = "Cost")]
    price: Option<String>,
    /// A price table of your own, in the form of data/prices.json
    #[arg(long, value_name = "FILE", help_heading = "Cost")]
    prices: Option<PathBuf>,
}

/// What the guard lets pass.
#[derive(Debug, Args)]
pub struct GuardArgs {
    /// Refuse a run that removes more than this share of the entries: 25% or 0.25
    #[arg(long, value_name = "PERCENT", default_value = "25%", value_parser = values::share, help_heading = "Guard")]
    max_removals: f64,
    /// Refuse a run that rewrites more than this share of the files: 50% or 0.5
    #[arg(long, value_name = "PERCENT", default_value = "50%", value_parser = values::share, help_heading = "Guard")]
    max_rewrites: f64,
    /// Allow an empty source (default: refuse if the last snapshot was not empty)
    #[arg(long, help_heading = "Guard")]
    allow_empty: bool,
    /// Take over a destination of another machine and source (default: refuse)
    #[arg(long, help_heading = "Guard")]
    take_over: bool,
    /// Refuse a run that sends more bytes than this to a destination: 500M, 10G (default: no limit)
    #[arg(long, value_name = "SIZE", value_parser = values::size, help_heading = "Guard")]
    max_bytes: Option<u64>,
    /// Refuse a run whose requests cost more US dollars than this at a destination: 0.50 (default: no limit)
    #[arg(long, value_name = "USD", value_parser = values::dollars, help_heading = "Guard")]
    max_cost: Option<f64>,
}

impl GuardArgs {
    pub fn limits(&self) -> Limits {
        Limits {
            removals: self.max_removals,
            rewrites: self.max_rewrites,
            allow_empty: self.allow_empty,
            take_over: self.take_over,
            max_bytes: self.max_bytes,
            max_cost: self.max_cost,
        }
    }
}

impl RunArgs {
    /// How many days old a pack must be at each destination before the run repacks it.
    fn repack_after(&self, prices: &Prices) -> Result<Vec<(String, Option<u64>)>> {
        let days = |url: &String| {
            let name = self.price.as_deref().unwrap_or_else(|| offsite::config::default_price(std::slice::from_ref(url)));
            let price = prices.get(name).map_err(Error::Usage)?;
            Ok((url.clone(), (!self.no_repack).then_some(price.min_days)))
        };
        self.destinations.iter().map(days).collect()
    }

    /// To whom new destinations must be sealed.
    fn seal_wish(&self, screen: &Screen) -> Option<SealWish> {
        let passphrase = self.seal.then(|| Arc::new(NewPassphrase::new(screen)) as _);
        let wish = SealWish { to: self.seal_to.clone(), only_key: self.only_key, passphrase };
        (self.seal || !self.seal_to.is_empty()).then_some(wish)
    }

    /// The engine's options. Reads the files that the flags name. A passphrase is asked for on this screen.
    pub fn options(&self, screen: &Screen) -> Result<SyncOptions> {
        values::directory(&self.source)?;
        let prices = values::prices(self.prices.as_deref())?;
        let price_name = self.price.clone().unwrap_or_else(|| offsite::config::default_price(&self.destinations).to_owned());
        Ok(SyncOptions {
            walk: WalkOptions {
                filter: self.filter.filter(&[])?,
                one_file_system: self.one_file_system,
                exclude_caches: self.exclude_caches,
                exclude_larger_than: self.exclude_larger_than,
                ..WalkOptions::default()
            },
            checksum: self.checksum,
            adopt: self.adopt,
            start_over: self.start_over,
            keep: KeepRules { within: Some(self.keep_within).filter(|within| *within > 0), ..KeepRules::default() },
            limits: self.guard.limits(),
            price: prices.get(&price_name).map_err(Error::Usage)?.clone(),
            price_name,
            transfers: self.transfers,
            limit_upload: self.limit_upload,
            limit_download: self.limit_download,
            layout: self.packed.then_some(Layout::Packed),
            seal: self.seal_wish(screen),
            repack_after: self.repack_after(&prices)?,
            append_only: if self.append_only { self.destinations.clone() } else { Vec::new() },
            ..SyncOptions::default()
        })
    }
}
