//! The lease of a prune.
//!
//! Owns how a prune takes it and how it ends it.

use std::sync::Arc;

use crate::engine::destination::Destination;
use crate::engine::lease::{Claim, Lease};
use crate::engine::machine::Machine;
use crate::engine::outcome::PruneOutcome;
use crate::error::{Error, Result};
use crate::transfer::Stop;

/// Takes the lease.
pub async fn take(destination: &Destination, machine: &Machine, stop: &Arc<Stop>) -> Result<Lease> {
    let Some(head) = &destination.head else {
        return Err(Error::Usage(format!("{}: it was never synced", destination.backend.location())));
    };
    Lease::take(destination, &head.format, Claim::of(destination, machine), stop).await
}

/// Releases the lease of a prune. After an error it only marks it, because the credentials may lack the right to delete.
pub async fn ended(lease: Lease, outcome: Result<PruneOutcome>) -> Result<PruneOutcome> {
    match outcome {
        Ok(outcome) => lease.release(Vec::new()).await.map(|()| outcome),
        Err(error) => {
            lease.mark_interrupted().await;
            Err(error)
        }
    }
}
