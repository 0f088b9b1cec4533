//! Progress and cancellation of a run, and how much content it may hold in memory.

use std::sync::Arc;

use crate::transfer::{Progress, Stop};

/// Content bytes in flight, for all destinations together.
pub const WINDOW: u64 = 48 << 20;

/// Progress and cancellation of one run. Clones share both.
///
/// # Examples
///
/// ```
/// use std::sync::atomic::Ordering::Relaxed;
///
/// use offsite::engine::{self, RunControl, SyncOptions};
/// # use offsite::engine::Machine;
///
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
/// # let dir = tempfile::tempdir()?;
/// # let at = |name: &str| dir.path().join(name);
/// # let (site, backup) = (at("site"), at("backup").display().to_string());
/// # std::fs::create_dir(&site)?;
/// # std::fs::write(site.join("index.html"), "<h1>hello</h1>")?;
/// # let machine = Machine { cache_dir: at("cache"), host: "web1".into(), ..Machine::default() };
/// # let (urls, options) = ([backup], SyncOptions::default());
/// let control = RunControl::new(urls.len());
/// let (progress, stop) = (control.progress[0].clone(), control.stop.clone());
///
/// // Another task can read the counters while the run lasts.
/// engine::sync(&machine, &site, &urls, &options, &control).await;
/// assert_eq!((progress.files.load(Relaxed), progress.bytes.load(Relaxed)), (1, 14));
///
/// // A signal handler stops the run, or one that begins later.
/// stop.interrupt();
/// assert_eq!(engine::sync(&machine, &site, &urls, &options, &control).await.exit, 130);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct RunControl {
    /// Counters, one for each destination, in the order of the URLs.
    pub progress: Vec<Arc<Progress>>,
    /// The cancellation token.
    pub stop: Arc<Stop>,
}

impl RunControl {
    /// A control for a run with this many destinations.
    pub fn new(destinations: usize) -> Self {
        Self { progress: (0..destinations).map(|_| Arc::default()).collect(), stop: Arc::default() }
    }
}
