//! The totals of a destination's snapshots over time.
//!
//! Owns which snapshots are read: all of them up to 60, else 60 that are spread evenly over their list, always with
//! the first and the last. A damaged snapshot is left out, and a note names it.

use futures::{StreamExt, stream};

use super::rows::{Growth, TrendPoint};
use crate::engine::clock::shown;
use crate::engine::damage::is_damage;
use crate::engine::note::Note;
use crate::error::{Error, Result};
use crate::manifest::{Records, SnapshotRef};
use crate::model::Snapshot;
use crate::plan::{GrowthSample, slope};

/// Maximum number of snapshots that are read: as many as the chart has columns.
const MOST: usize = 60;
/// Snapshot objects in flight.
const AHEAD: usize = 16;

/// Trend and growth up to the newest snapshot, which the caller has read, and a note about snapshots that cannot be
/// read.
pub async fn trend(records: &Records, list: &[SnapshotRef], newest: &Snapshot) -> Result<(Vec<TrendPoint>, Option<Growth>, Option<Note>)> {
    let mut points = Vec::new();
    let mut samples = Vec::new();
    let mut lost = Vec::new();
    let mut read = stream::iter(spread(list))
        .map(|listed| async move {
            let totals = match listed.number == newest.number {
                true => Ok(newest.totals),
                false => records.snapshot(listed.number).await.map(|(snapshot, _)| snapshot.totals),
            };
            (listed, totals)
        })
        .buffered(AHEAD);
    while let Some((listed, totals)) = read.next().await {
        match totals {
            Ok(totals) => {
                samples.push(GrowthSample { time: listed.modified.timestamp(), bytes: totals.bytes });
                let time = shown(listed.modified);
                points.push(TrendPoint { snapshot: listed.number, time, files: totals.files, bytes: totals.bytes });
            }
            // A usage error means that a newer program wrote the snapshot.
            Err(error) if is_damage(&error) || matches!(error, Error::Usage(_)) => lost.push(listed.number),
            Err(error) => return Err(error),
        }
    }
    let lost = (!lost.is_empty()).then_some(Note::Unreadable(lost));
    let growth = slope(&samples).map(|s| Growth { bytes_per_day: s.bytes_per_day, days: s.days });
    Ok((points, growth, lost))
}

fn spread(list: &[SnapshotRef]) -> Vec<&SnapshotRef> {
    if list.len() <= MOST {
        return list.iter().collect();
    }
    (0..MOST).filter_map(|i| list.get(i * (list.len() - 1) / (MOST - 1))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_snapshots_are_read_spread_out() {
        let of = |count: u64| -> Vec<SnapshotRef> {
            (1..=count)
                .map(|number| SnapshotRef {
                    number,
                    modified: chrono::DateTime::UNIX_EPOCH,
                    written: chrono::DateTime::UNIX_EPOCH,
                    etag: None,
                })
                .collect()
        };
        assert_eq!(spread(&of(60)).len(), 60);
        let list = of(1000);
        let spread = spread(&list);
        assert_eq!((spread.len(), spread[0].number, spread[59].number), (60, 1, 1000));
        assert!(spread.windows(2).all(|pair| pair[0].number < pair[1].number));
    }
}
