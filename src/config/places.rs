//! Places of jobs that are in each other's way.
//!
//! Owns one rule: no two pairs of job and type go to the same place, or one to a place inside another's. Each
//! would take what the other one wrote for its own, or for nobody's.

use offsite_backends::Location;

use super::job::Job;
use super::parse::Parsed;
use crate::error::Result;

/// Refuses places of `jobs` that are not apart from each other's and from those of `others`.
///
/// # Errors
/// [`crate::error::Error::Usage`] naming both jobs.
pub fn apart(parsed: &Parsed, jobs: &[Job], others: &[Job]) -> Result<()> {
    let others = others.iter().filter(|job| !job.ignored);
    let mut met: Vec<(&Job, Location)> = others.flat_map(|job| places(job).map(move |place| (job, place))).collect();
    for job in jobs.iter().filter(|job| !job.ignored) {
        let mut own = Vec::new();
        for location in places(job) {
            let other = met.iter().find(|(_, other)| overlap(&location, other));
            if let Some((other, there)) = other {
                let what =
                    format!("its destination {location} and {there}, where the job `{}` goes, lie at or inside one another", other.shown());
                return Err(parsed.error(&["jobs", &job.name, "destinations"], format!("{what}; give each a place apart")));
            }
            own.push((job, location));
        }
        met.extend(own);
    }
    Ok(())
}

/// What cannot be a place was refused already.
fn places(job: &Job) -> impl Iterator<Item = Location> {
    job.places.iter().filter_map(|place| Location::parse(&place.url).ok())
}

fn overlap(a: &Location, b: &Location) -> bool {
    let same_server = a.scheme() == b.scheme() && a.host() == b.host() && a.settings().get("endpoint") == b.settings().get("endpoint");
    let parts = |l: &Location| l.path().split(|c| *c == b'/').filter(|part| !part.is_empty()).map(<[u8]>::to_vec).collect::<Vec<_>>();
    let (a, b) = (parts(a), parts(b));
    same_server && a.iter().zip(&b).all(|(a, b)| a == b)
}
