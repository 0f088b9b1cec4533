//! The config that an import builds.
//!
//! Owns the order of the keys, valid and unique names, URLs, and how a destination is sealed. Invariant: no two jobs and no two destinations have
//! the same name, even if the old names were equal.

use super::notes::Notes;
use super::tree::Node;
use super::words;

/// A config that is being built.
#[derive(Debug, Default)]
pub struct Document {
    /// `variables`.
    pub variables: Vec<(String, Node)>,
    /// `destinations`.
    pub destinations: Vec<(String, Node)>,
    /// `jobs`.
    pub jobs: Vec<(String, Node)>,
    /// `notify`, `metrics`, …
    pub rest: Vec<(String, Node)>,
}

impl Document {
    /// A name like the wanted one that no job or destination has yet.
    pub fn name(&self, wanted: &str) -> String {
        let fine = |c: char| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '-' };
        let name: String = wanted.chars().map(fine).collect();
        let name = name.trim_start_matches(['-', '.', ' ']).trim_end_matches('-');
        let name = if name.is_empty() || name == "comment" { "job" } else { name };
        let taken = |name: &str| self.jobs.iter().chain(&self.destinations).any(|(known, _)| known == name);
        match taken(name) {
            false => name.to_owned(),
            true => (2..=u32::MAX).map(|n| format!("{name}-{n}")).find(|name| !taken(name)).unwrap_or_default(),
        }
    }

    /// The config as JSON.
    pub fn into_node(self) -> Node {
        let mut all = Node::map();
        for (key, entries) in [("variables", self.variables), ("destinations", self.destinations), ("jobs", self.jobs)] {
            if !entries.is_empty() || key == "jobs" {
                all.put(key, Node::Map(entries));
            }
        }
        for (key, value) in self.rest {
            all.put(&key, value);
        }
        all
    }
}

/// A destination that is sealed, because the old backup was encrypted. The user names the recipients: without them, no run
/// begins.
pub fn sealed(place: Node, how: &str, at: &str, notes: &mut Notes) -> Node {
    notes.left_to_do(
        at,
        format!("the old backup was encrypted ({how}), so the new one is sealed. Set $RECIPIENTS to a file that has the public keys of two `age-keygen` keys, one a line. No key or password of the old backup can be used for it, and none is copied: you need them for the old backups (docs/sealed.md)"),
    );
    place.with("seal", Node::map().with("to", Node::texts(["$RECIPIENTS".to_owned()])))
}

/// offsite's URL for an address as shells and programs write it: `user@host:path`, a URL, a directory.
pub fn url_of(place: &str, port: Option<&str>, at: &str, notes: &mut Notes) -> String {
    let port = port.map_or(String::new(), |port| format!(":{port}"));
    let place = trimmed(place);
    if place.starts_with("rsync://") || place.split('/').next().is_some_and(|host| host.contains("::")) {
        notes.left_to_do(at, format!("`{place}` is an rsync daemon, which offsite does not support; set $NEW_DESTINATION to a URL, such as sftp:// on the same host"));
        return "$NEW_DESTINATION".to_owned();
    }
    if place.contains("://") {
        return place.to_owned();
    }
    match place.split_once(':').filter(|(host, _)| !host.contains('/') && !host.ends_with('{') && !host.is_empty()) {
        Some((host, path)) if path.starts_with('/') => format!("sftp://{host}{port}{}", percent(path)),
        Some((host, path)) => format!("sftp://{host}{port}/~/{}", percent(path.trim_start_matches("~/"))),
        None => place.to_owned(),
    }
}

/// A path without slashes at its end, except for the root.
pub fn trimmed(place: &str) -> &str {
    match place.trim_end_matches('/') {
        "" => place,
        trimmed => trimmed,
    }
}

/// A path, escaped for a URL.
pub fn percent(path: &str) -> String {
    path.replace('%', "%25").replace('?', "%3F").replace('#', "%23").replace(' ', "%20")
}

/// A URL with settings in its query.
pub fn with_settings(url: &str, settings: &[(&str, String)]) -> String {
    let query: Vec<String> = settings.iter().map(|(key, value)| format!("{key}={value}")).collect();
    if query.is_empty() { url.to_owned() } else { format!("{url}?{}", query.join("&")) }
}

/// A word of a script without the parts that only a shell can expand. A note says which word changed.
pub fn plain(word: &str, at: &str, notes: &mut Notes) -> String {
    let (mut text, cut) = words::without_shell(word);
    if cut {
        let (scheme, mut path) = text.split_once("://").map_or((String::new(), text.clone()), |(s, p)| (format!("{s}://"), p.to_owned()));
        while path.contains("//") {
            path = path.replace("//", "/");
        }
        text = format!("{scheme}{path}");
        notes.different(at, format!("the shell expanded a part of `{word}`; without it this is `{text}`. Check whether that is right. A date needs no directory, because snapshots keep older states"));
    }
    text
}
