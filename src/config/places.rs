//! Destinations of jobs that overlap.
//!
//! Owns one rule: no two destinations are the same or one inside the other, and no destination and its source are.
//! Otherwise each job would take the objects of the other for its own or for foreign ones. Invariant: two notations of
//! one destination are equal: directories are compared after links are resolved, servers by name and port.

use std::path::PathBuf;

use offsite_backends::{Location, kinds};

use super::job::Job;
use super::parse::Parsed;
use crate::engine::{mixed, real};
use crate::error::Result;

/// Looks up a variable of the environment.
type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Refuses destinations of `jobs` that overlap with each other, with those of `others`, or with their own source.
///
/// # Errors
/// [`crate::error::Error::Usage`] that names both destinations.
pub fn apart(parsed: &Parsed, jobs: &[Job], others: &[Job], env: Env<'_>) -> Result<()> {
    let others = others.iter().filter(|job| !job.ignored);
    let mut met: Vec<(&Job, DestinationSpot)> = others.flat_map(|job| spots(job, env).map(move |spot| (job, spot))).collect();
    for job in jobs.iter().filter(|job| !job.ignored) {
        let before = met.len();
        for spot in spots(job, env) {
            let refuse = |what| Err(parsed.error(&["jobs", &job.name, "destinations"], what));
            let to = &spot.location;
            let is_mixed = |source: &PathBuf| !source.as_os_str().is_empty() && mixed(source, &to.dir());
            if to.is_directory() && job.source.as_ref().is_some_and(is_mixed) {
                let source = job.shown_source();
                return refuse(format!(
                    "its destination {to} and its source {source} are one inside the other; choose a separate destination"
                ));
            }
            if let Some(at) = met.iter().position(|(_, other)| spot.meets(other)) {
                let (other, there) = (met[at].0, &met[at].1.location);
                if at < before {
                    let other = other.shown();
                    return refuse(format!(
                        "its destination {to} and {there} of the job `{other}` are the same or one inside the other; use separate destinations"
                    ));
                }
                return refuse(format!("its destinations {there} and {to} are the same or one inside the other; name each once"));
            }
            met.push((job, spot));
        }
    }
    Ok(())
}

/// The destinations of a job. A URL that cannot be parsed was refused earlier.
fn spots<'a>(job: &'a Job, env: Env<'a>) -> impl Iterator<Item = DestinationSpot> + 'a {
    job.destinations.iter().filter_map(move |place| Location::parse(&place.url).ok().map(|location| DestinationSpot::of(location, env)))
}

/// A destination, and its notation-independent position.
struct DestinationSpot {
    at: kinds::Spot,
    location: Location,
}

impl DestinationSpot {
    fn of(location: Location, env: Env<'_>) -> Self {
        let at = match location.is_directory() {
            // For a directory, the target of its links counts.
            true => Location::from_dir(real(&location.dir())).map_or_else(|_| kinds::spot(&location, env), |real| kinds::spot(&real, env)),
            false => kinds::spot(&location, env),
        };
        Self { at, location }
    }

    fn meets(&self, other: &Self) -> bool {
        self.at.meets(&other.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn meet(a: &str, b: &str, wanted: bool) {
        let env = |name: &str| (name == "AWS_ENDPOINT_URL").then(|| "http://S3.nas:9000/".to_owned());
        let spot = |url: &str| DestinationSpot::of(Location::parse(url).unwrap(), &env);
        assert_eq!(spot(a).meets(&spot(b)), wanted, "{a} {b}");
    }

    #[test]
    fn servers_are_the_same_however_they_are_written() {
        meet("s3://a/x", "s3://a/x/y?endpoint=http://s3.NAS:9000", true);
        meet("s3://a/x", "s3://a/x?endpoint=http://s3.nas:9001", false);
        meet("s3://a/x", "s3://a/x2", false);
        meet("s3://a/?endpoint=https://o.example:443/", "s3://a/x?endpoint=https://O.example", true);
        meet("s3://a/x?endpoint=https://s3.eu-central-1.amazonaws.com", "s3://a/x?endpoint=https://s3.amazonaws.com/", true);
        meet("s3://a/x", "gs://a/x", false);
        meet("sftp://me@NAS:22/b/./x", "sftp://nas/b/y/../x/z", true);
        meet("sftp://nas:2222/b", "sftp://nas/b", false);
        meet("sftp://me@nas/~/b", "sftp://you@nas/~/b", false);
    }

    #[test]
    fn directories_are_the_same_by_whatever_way_they_are_reached() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        std::fs::create_dir(at("real")).unwrap();
        std::os::unix::fs::symlink(at("real"), at("link")).unwrap();
        meet(&at("real/x"), &at("link/x/y"), true);
        meet(&at("real/x"), &at("real/no/../x"), true);
        meet(&format!("file://{}", at("link/")), &at("real"), true);
        meet(&at("real/x"), &at("link/y"), false);
    }
}
