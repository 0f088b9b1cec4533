//! Places of jobs that are in each other's way.
//!
//! Owns one rule: no two pairs of job and type go to the same place, or one to a place inside another's, nor does one
//! job go twice to one place or into its own source. Each would take what the other one wrote for its own, or for
//! nobody's. Invariant: places are compared as what they are, however they are written: directories by where links
//! lead to, servers by name and port.

use std::path::PathBuf;

use offsite_backends::Location;

use super::job::Job;
use super::parse::Parsed;
use crate::engine::{mixed, real};
use crate::error::Result;

/// A variable of the environment.
type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Refuses places of `jobs` that are not apart from each other's, from those of `others`, and from their own source.
///
/// # Errors
/// [`crate::error::Error::Usage`] naming both jobs.
pub fn apart(parsed: &Parsed, jobs: &[Job], others: &[Job], env: Env<'_>) -> Result<()> {
    let others = others.iter().filter(|job| !job.ignored);
    let mut met: Vec<(&Job, DestinationSpot)> = others.flat_map(|job| spots(job, env).map(move |spot| (job, spot))).collect();
    for job in jobs.iter().filter(|job| !job.ignored) {
        let before = met.len();
        for spot in spots(job, env) {
            let refuse = |what| Err(parsed.error(&["jobs", &job.name, "destinations"], what));
            let to = &spot.location;
            let is_mixed = |source: &PathBuf| !source.as_os_str().is_empty() && mixed(source, &to.dir());
            if to.scheme() == "file" && job.source.as_ref().is_some_and(is_mixed) {
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

/// What cannot be a place was refused already.
fn spots<'a>(job: &'a Job, env: Env<'a>) -> impl Iterator<Item = DestinationSpot> + 'a {
    job.places.iter().filter_map(move |place| Location::parse(&place.url).ok().map(|location| DestinationSpot::of(location, env)))
}

/// A place in the one way to write it.
struct DestinationSpot {
    server: String,
    parts: Vec<Vec<u8>>,
    location: Location,
}

impl DestinationSpot {
    fn of(location: Location, env: Env<'_>) -> Self {
        use std::os::unix::ffi::OsStrExt;
        let (scheme, host) = (location.scheme(), location.host());
        let asked = location.settings().get("endpoint").cloned();
        let parts = |path: &[u8]| path.split(|c| *c == b'/').filter(|part| !part.is_empty()).map(<[u8]>::to_vec).collect::<Vec<_>>();
        let (host, parts) = match scheme {
            "file" => (String::new(), parts(real(&location.dir()).as_os_str().as_bytes())),
            "sftp" => {
                let (user, server) = host.rsplit_once('@').unwrap_or(("", host));
                let parts = walked(parts(location.path()));
                // Each account has a home of its own; all else is the same to all.
                let user = if parts.first().is_some_and(|part| part == b"~") { user } else { "" };
                let server = server.to_lowercase();
                (format!("{user}@{}", server.strip_suffix(":22").unwrap_or(&server)), parts)
            }
            _ => (host.to_owned(), parts(location.path())),
        };
        let endpoint = match scheme {
            "s3" => {
                let set = |name: &&str| env(name).filter(|value| !value.is_empty());
                asked.or_else(|| ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"].iter().find_map(set)).map(|url| server(&url))
            }
            _ => asked.map(|url| server(&url)),
        };
        let endpoint = endpoint.filter(|host| !(scheme == "s3" && host.starts_with("s3") && host.ends_with(".amazonaws.com")));
        let server = format!("{scheme}://{}/{host}", endpoint.unwrap_or_default());
        Self { server, parts, location }
    }

    fn meets(&self, other: &Self) -> bool {
        self.server == other.server && self.parts.iter().zip(&other.parts).all(|(a, b)| a == b)
    }
}

/// A path of a server's, `.` and `..` followed.
fn walked(parts: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut out: Vec<Vec<u8>> = Vec::new();
    for part in parts {
        match part.as_slice() {
            b"." => {}
            b".." => drop(out.pop()),
            _ => out.push(part),
        }
    }
    out
}

/// The server of an endpoint: its name in small letters, and its port where it is not the usual one.
fn server(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let usual = if scheme.eq_ignore_ascii_case("http") { ":80" } else { ":443" };
    let host = host.to_lowercase();
    let host = host.strip_suffix(usual).unwrap_or(&host);
    format!("{host}/{path}").trim_end_matches('/').to_owned()
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
