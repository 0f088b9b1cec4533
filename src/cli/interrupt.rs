//! Ctrl-C, SIGTERM, and SIGHUP, which a closed terminal sends.
//!
//! Owns the signals. The first one asks the run to stop after what is in flight: the run then records what it has
//! sent, and the next run continues from there. The second one ends the process, and the commands that it runs. A verb
//! that only reads has nothing to record, so the first one ends it. Invariant: both end with 130.

use std::sync::{Arc, Mutex, PoisonError};

use offsite::engine::RunControl;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::render::Out;

const INTERRUPTED: i32 = 130;

/// Knows the run that a signal stops, if there is one.
pub struct Interrupt {
    control: Arc<Mutex<Option<RunControl>>>,
}

impl Interrupt {
    /// Starts to listen. If the signals cannot be caught, they end the process as usual.
    pub fn install(out: Out) -> Self {
        let control = Arc::new(Mutex::new(None::<RunControl>));
        let seen = Arc::clone(&control);
        // Under `nohup` SIGHUP stays ignored.
        let hang = (!is_hangup_ignored()).then(|| signal(SignalKind::hangup()).ok()).flatten();
        if let (Ok(int), Ok(term)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
            tokio::spawn(listen(int, term, hang, seen, out));
        }
        Self { control }
    }

    /// Makes the first signal stop this run instead of ending the process.
    pub fn watch(&self, control: &RunControl) {
        *self.control.lock().unwrap_or_else(PoisonError::into_inner) = Some(control.clone());
    }
}

/// Reads the kernel's mask of ignored signals, in which SIGHUP is the first bit.
fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 == 1)
}

async fn hung_up(hang: &mut Option<Signal>) {
    match hang {
        Some(hang) => drop(hang.recv().await),
        None => std::future::pending().await,
    }
}

async fn listen(mut int: Signal, mut term: Signal, mut hang: Option<Signal>, control: Arc<Mutex<Option<RunControl>>>, out: Out) {
    loop {
        tokio::select! { _ = int.recv() => {}, _ = term.recv() => {}, () = hung_up(&mut hang) => {} }
        let Some(control) = control.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            // Hooks and dumps run in process groups of their own, which the terminal does not signal.
            offsite::jobs::end_commands();
            std::process::exit(INTERRUPTED);
        };
        control.stop.interrupt();
        out.warning("stopping after the current transfers; press again to stop now");
    }
}
