//! The only reader of the environment.
//!
//! Owns which variables count and in which order: what was given on the command line, then offsite's own
//! variable, then the desktop standard's, then the place that is always there. An empty variable counts
//! as unset. The vendors' SDKs read their own credentials; nothing secret passes through here.

use std::ffi::OsString;
use std::path::PathBuf;

use offsite_backends::Location;

use crate::engine::Machine;
use crate::error::Error;

/// The machine this runs on. `cache_dir` is what the user asked for, if anything.
pub fn machine(cache_dir: Option<PathBuf>) -> Result<Machine, Error> {
    let cache_dir = cache_dir_from(cache_dir, |name| std::env::var_os(name));
    let cache_dir = std::path::absolute(&cache_dir).map_err(|e| Error::local(&cache_dir, e))?;
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Ok(Machine { cache_dir, host })
}

fn cache_dir_from(asked: Option<PathBuf>, lookup: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    let set = |name| lookup(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    // The desktop standard says to pass over a relative path in its variables.
    let absolute = |name| set(name).filter(|path: &PathBuf| path.is_absolute());
    asked
        .or_else(|| set("OFFSITE_CACHE_DIR"))
        .or_else(|| absolute("XDG_CACHE_HOME").map(|dir| dir.join("offsite")))
        .or_else(|| absolute("HOME").map(|dir| dir.join(".cache/offsite")))
        .unwrap_or_else(|| PathBuf::from("/var/cache/offsite"))
}

/// The row of the price table that fits these destinations: Amazon's where one of them is a bucket of
/// Amazon's, and `none` where all are directories or servers of the user's own.
pub fn default_price(urls: &[String]) -> &'static str {
    let elsewhere = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"].iter().any(|name| std::env::var_os(name).is_some_and(|v| !v.is_empty()));
    let amazon = |url: &String| Location::parse(url).is_ok_and(|l| l.scheme() == "s3" && !l.settings().contains_key("endpoint"));
    if !elsewhere && urls.iter().any(amazon) { "aws/s3-standard" } else { "none" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(asked: Option<&str>, variables: &[(&str, &str)]) -> PathBuf {
        cache_dir_from(asked.map(PathBuf::from), |name| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| v.into()))
    }

    #[test]
    fn the_nearest_word_wins() {
        let all = [("OFFSITE_CACHE_DIR", "/o"), ("XDG_CACHE_HOME", "/x"), ("HOME", "/h")];
        assert_eq!(resolved(Some("/asked"), &all), PathBuf::from("/asked"));
        assert_eq!(resolved(None, &all), PathBuf::from("/o"));
        assert_eq!(resolved(None, &all[1..]), PathBuf::from("/x/offsite"));
        assert_eq!(resolved(None, &all[2..]), PathBuf::from("/h/.cache/offsite"));
        assert_eq!(resolved(None, &[("HOME", "")]), PathBuf::from("/var/cache/offsite"));
    }
}
