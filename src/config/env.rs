//! The only reader of the environment.
//!
//! Owns which variables count and in which order: the command line, then offsite's own variable, then the desktop
//! standard's, then a fixed path. An empty variable counts as unset. The vendors' SDKs read their own credentials. This
//! module reads secrets only so that offsite can redact them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use offsite_backends::{Location, kinds};

use crate::engine::{KeyRing, Machine, private_dir};
use crate::error::Error;

/// This machine. `cache_dir` is the directory that the user named, if any.
///
/// # Errors
/// [`Error::Local`] if the path of the cache directory cannot be made absolute: it is empty, or it is relative and
/// offsite cannot determine the current directory.
pub fn machine(cache_dir: Option<PathBuf>) -> Result<Machine, Error> {
    let cache_dir = cache_dir_from(cache_dir, |name| std::env::var_os(name));
    let cache_dir = std::path::absolute(&cache_dir).map_err(|e| Error::local(&cache_dir, e))?;
    let keys = KeyRing { dir: key_dir_from(|name| std::env::var_os(name)), ..KeyRing::default() };
    Ok(Machine { cache_dir, host: host(), keys })
}

/// A temporary cache for a run that only reads, if the usual cache cannot be written. Dropping it deletes the
/// directory.
#[derive(Debug)]
pub struct Makeshift {
    dir: PathBuf,
    /// Why the usual one is not used.
    pub why: Error,
}

impl Makeshift {
    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Makeshift {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// This machine for a run that only reads, because a restore must not need a writable cache. The second value is the
/// temporary cache, if there is one. It must live as long as the run.
///
/// # Errors
/// Neither the cache nor a temporary directory can be used.
pub fn machine_to_read(cache_dir: Option<PathBuf>) -> Result<(Machine, Option<Makeshift>), Error> {
    let mut machine = machine(cache_dir)?;
    let writable = private_dir(&machine.cache_dir).and_then(|()| {
        rustix::fs::access(&machine.cache_dir, rustix::fs::Access::WRITE_OK).map_err(|e| Error::local(&machine.cache_dir, e.into()))
    });
    let Err(why) = writable else { return Ok((machine, None)) };
    let dir = std::env::temp_dir().join(format!("offsite-{:016x}", crate::random()));
    if private_dir(&dir).is_err() {
        return Err(why);
    }
    machine.cache_dir.clone_from(&dir);
    Ok((machine, Some(Makeshift { dir, why })))
}

/// This machine's name.
pub fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The directory of systemd units: the system's for root, else the user's own. The second value says whether it is the
/// user's own.
pub fn unit_dir() -> (Option<PathBuf>, bool) {
    if rustix::process::geteuid().is_root() {
        return (Some("/etc/systemd/system".into()), false);
    }
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let own = set("XDG_CONFIG_HOME").filter(|dir| dir.is_absolute()).or_else(|| Some(set("HOME")?.join(".config")));
    (own.map(|dir| dir.join("systemd/user")), true)
}

/// Sockets of container engines, in the order in which to try them.
pub fn engine_sockets() -> Vec<PathBuf> {
    sockets_from(|name| std::env::var_os(name))
}

/// `DOCKER_HOST` counts if it is a socket of this machine. Volumes of another machine are no directories here.
fn sockets_from(lookup: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let said = lookup("DOCKER_HOST").and_then(|host| host.to_str()?.strip_prefix("unix://").map(PathBuf::from));
    if let Some(socket) = said.filter(|path| path.is_absolute()) {
        return vec![socket];
    }
    let own = lookup("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_absolute());
    let of_all = ["/var/run/docker.sock", "/run/podman/podman.sock"].map(PathBuf::from);
    of_all.into_iter().chain(own.map(|dir| dir.join("podman/podman.sock"))).collect()
}

/// The value of a variable of the environment. None if it is unset or is not UTF-8.
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// All variables of the environment whose name and value are UTF-8.
pub fn variables() -> Vec<(String, String)> {
    let text = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    std::env::vars_os().filter_map(text).collect()
}

/// The config file that the user named. If there is none, `Err` has the paths to try, in order.
pub fn config_places(asked: Option<&Path>) -> Result<PathBuf, Vec<PathBuf>> {
    places_from(asked, |name| std::env::var_os(name))
}

fn places_from(asked: Option<&Path>, lookup: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, Vec<PathBuf>> {
    let set = |name| lookup(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(path) = asked.map(Path::to_path_buf).or_else(|| set("OFFSITE_CONFIG")) {
        return Ok(path);
    }
    let own = set("XDG_CONFIG_HOME").filter(|dir| dir.is_absolute()).or_else(|| Some(set("HOME")?.join(".config")));
    let own = own.map(|dir| dir.join("offsite/offsite.json"));
    Err([Some("offsite.json".into()), own, Some("/etc/offsite/offsite.json".into())].into_iter().flatten().collect())
}

/// The directory of writer keys. Unlike the cache it must not be lost, so it lies beside the config.
fn key_dir_from(lookup: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let set = |name| lookup(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let absolute = |name| set(name).filter(|path: &PathBuf| path.is_absolute());
    set("OFFSITE_KEY_DIR")
        .or_else(|| absolute("XDG_CONFIG_HOME").map(|dir| dir.join("offsite/keys")))
        .or_else(|| absolute("HOME").map(|dir| dir.join(".config/offsite/keys")))
        .or_else(|| Some(PathBuf::from("/etc/offsite/keys")))
}

fn cache_dir_from(asked: Option<PathBuf>, lookup: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    let set = |name| lookup(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    // The desktop standard says to ignore a relative path in its variables.
    let absolute = |name| set(name).filter(|path: &PathBuf| path.is_absolute());
    asked
        .or_else(|| set("OFFSITE_CACHE_DIR"))
        .or_else(|| absolute("XDG_CACHE_HOME").map(|dir| dir.join("offsite")))
        .or_else(|| absolute("HOME").map(|dir| dir.join(".cache/offsite")))
        .unwrap_or_else(|| PathBuf::from("/var/cache/offsite"))
}

/// The row of the price table for these destinations: that of the first one that costs anything, or `none` if all are
/// directories or servers of the user's own.
pub fn default_price(urls: &[String]) -> &'static str {
    let of = |url: &String| kinds::price(&Location::parse(url).ok()?, &variable);
    urls.iter().find_map(of).unwrap_or("none")
}

/// Whether the character set of the terminal is UTF-8, by `LC_ALL`, `LC_CTYPE` and `LANG`.
pub fn is_utf8() -> bool {
    is_utf8_by(|name| std::env::var_os(name))
}

fn is_utf8_by(lookup: impl Fn(&str) -> Option<OsString>) -> bool {
    let said = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| lookup(name).filter(|value| !value.is_empty()));
    let name = said.map(|value| value.to_string_lossy().to_ascii_lowercase().replace('-', ""));
    name.is_some_and(|name| name.contains("utf8"))
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

    #[test]
    fn a_config_is_looked_for_near_first() {
        let by = |asked: Option<&str>, variables: &[(&str, &str)]| {
            places_from(asked.map(Path::new), |name| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| v.into()))
        };
        assert_eq!(by(Some("x.json"), &[("OFFSITE_CONFIG", "/c")]), Ok("x.json".into()));
        assert_eq!(by(None, &[("OFFSITE_CONFIG", "/c"), ("HOME", "/h")]), Ok("/c".into()));
        let places = by(None, &[("HOME", "/h")]).unwrap_err();
        let wanted = ["offsite.json", "/h/.config/offsite/offsite.json", "/etc/offsite/offsite.json"];
        assert_eq!(places, wanted.map(PathBuf::from));
    }

    #[test]
    fn an_engine_is_looked_for_where_it_says_and_then_where_they_are() {
        let by = |variables: &[(&str, &str)]| sockets_from(|name| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| v.into()));
        assert_eq!(by(&[("DOCKER_HOST", "unix:///run/my.sock"), ("XDG_RUNTIME_DIR", "/r")]), [PathBuf::from("/run/my.sock")]);
        let usual = ["/var/run/docker.sock", "/run/podman/podman.sock", "/r/podman/podman.sock"].map(PathBuf::from);
        assert_eq!(by(&[("DOCKER_HOST", "tcp://10.0.0.1:2375"), ("XDG_RUNTIME_DIR", "/r")]), usual);
        assert_eq!(by(&[]), usual[..2]);
    }

    #[test]
    fn the_price_is_that_of_the_first_place_that_costs() {
        assert_eq!(default_price(&["/mnt/x".into(), "b2://a".into()]), "backblaze/b2");
        assert_eq!(default_price(&["/mnt/x".into(), "sftp://nas/x".into()]), "none");
    }

    #[test]
    fn the_first_variable_says_the_character_set() {
        let by = |variables: &[(&str, &str)]| is_utf8_by(|name| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| v.into()));
        assert!(by(&[("LANG", "de_DE.UTF-8")]) && by(&[("LC_ALL", "C.utf8"), ("LANG", "C")]));
        assert!(!by(&[]) && !by(&[("LC_ALL", "C"), ("LANG", "de_DE.UTF-8")]));
    }
}
