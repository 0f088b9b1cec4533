//! phpbu's syncs as destinations, and its cleanups as retention.
//!
//! Owns the URLs and the ages. Invariant: a password or key is never a part of a URL.

use super::document::{percent, with_settings};
use super::notes::Notes;
use super::phpbu_read::PhpbuPart;
use super::phpbu_values::{ignored, value};
use super::tree::Node;

/// Options that become a part of the URL or of a note.
const KNOWN: [&str; 19] = [
    "key",
    "secret",
    "bucket",
    "region",
    "path",
    "endpoint",
    "host",
    "port",
    "user",
    "password",
    "privateKey",
    "privateKeyPassphrase",
    "container_name",
    "connection_string",
    "projectId",
    "useMultiPartUpload",
    "signatureVersion",
    "usePathStyleEndpoint",
    "skipOnFailure",
];

/// The URL of a sync, without its credentials. None if offsite has no such store.
pub fn sync_url(sync: &PhpbuPart, at: &str, notes: &mut Notes) -> Option<String> {
    let of = |name: &str, notes: &mut Notes| sync.get(name).map(|text| value(text, at, notes));
    let path = undated(&of("path", notes).unwrap_or_default());
    let below = |root: &str| {
        format!("{root}/{}", [path.trim_matches('/'), at].iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join("/"))
    };
    let login =
        |what: &str, notes: &mut Notes| notes.left_to_do(at, format!("the keys of {} are not copied; offsite finds {what}", sync.kind));
    let url = match sync.kind.as_str() {
        "amazons3" | "amazons3-v2" | "amazons3-v3" | "backblazes3" | "yandex" => {
            login("theirs where the AWS tools do: ~/.aws/credentials, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (docs/s3.md)", notes);
            let mut settings = Vec::new();
            for (name, key) in [("endpoint", "endpoint"), ("region", "region"), ("usePathStyleEndpoint", "path_style")] {
                settings.extend(of(name, notes).map(|value| (key, value)));
            }
            with_settings(&below(&format!("s3://{}", of("bucket", notes).unwrap_or_default())), &settings)
        }
        "googlecloudstorage" => {
            login("them by GOOGLE_APPLICATION_CREDENTIALS, the path of the JSON file (docs/gcs.md)", notes);
            below(&format!("gs://{}", of("bucket", notes).unwrap_or_default()))
        }
        "azureblob" => {
            login("them in OFFSITE_AZBLOB_… variables (docs/opendal.md)", notes);
            below(&format!("azblob://{}", of("container_name", notes).unwrap_or_default()))
        }
        "sftp" | "rsync" => match sync.get("host") {
            Some(_) => ssh_url(sync, &path, &below, at, notes),
            None if path.starts_with('/') && !path.contains(':') => below(""),
            None => String::new(),
        },
        other => {
            notes.left_out(at, format!("the sync {other}: docs/stores.md and docs/opendal.md say which stores there are"));
            return None;
        }
    };
    if url.is_empty() || url.contains(":///") {
        notes.left_out(at, format!("the sync {}: it names no host or bucket", sync.kind));
        return None;
    }
    let cleanups = sync.options.iter().map(|(name, _)| name.as_str()).filter(|name| name.starts_with("cleanup."));
    ignored(sync, &cleanups.chain(KNOWN).collect::<Vec<_>>(), at, notes);
    Some(url)
}

/// The URL of an SFTP server. `below` appends the path.
fn ssh_url(sync: &PhpbuPart, path: &str, below: &dyn Fn(&str) -> String, at: &str, notes: &mut Notes) -> String {
    let mut of = |name: &str| sync.get(name).map(|text| value(text, at, notes)).unwrap_or_default();
    let (host, user, port, key) = (of("host"), of("user"), of("port"), of("privateKey"));
    let user = if user.is_empty() { user } else { format!("{user}@") };
    let port = if port.is_empty() { port } else { format!(":{port}") };
    let root = if path.starts_with('/') { "" } else { "/~" };
    if sync.get("password").is_some() {
        notes.left_to_do(at, "the password of sftp is not copied: offsite logs in as `ssh` does, so use a key (docs/sftp.md)");
    }
    let url = percent(&below(&format!("sftp://{user}{host}{port}{root}")));
    if key.is_empty() { url } else { with_settings(&url, &[("identity", key)]) }
}

/// Retention from the `cleanup.*` options of a sync.
pub fn remote_cleanup(sync: &PhpbuPart, at: &str, notes: &mut Notes) -> Option<Node> {
    let kind = sync.get("cleanup.type")?.to_owned();
    keep(&PhpbuPart { kind, options: sync.options.clone() }, "cleanup.", at, notes)
}

/// Retention from a cleanup. `prefix` precedes the names of its options.
pub fn keep(part: &PhpbuPart, prefix: &str, at: &str, notes: &mut Notes) -> Option<Node> {
    let of = |name: &str| part.get(&format!("{prefix}{name}"));
    let number = |name: &str| of(name).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    match part.kind.as_str() {
        "outdated" => {
            let age = of("older").and_then(age);
            if age.is_none() {
                notes.left_out(at, "the age of the cleanup `outdated`; write `\"keep\": {\"within\": \"14d\"}`");
            }
            age.map(|age| Node::map().with("within", age))
        }
        "quantity" => Some(Node::map().with("last", number("amount").max(1))),
        "stepwise" => {
            let (all, daily, weekly) = (number("daysToKeepAll"), number("daysToKeepDaily"), number("weeksToKeepWeekly"));
            let (monthly, yearly) = (number("monthToKeepMonthly"), number("yearsToKeepYearly"));
            notes.different(
                at,
                "the steps of `stepwise` followed one another; those of `keep` all begin today, so each includes the ones before it",
            );
            if yearly > 0 {
                notes.different(at, format!("one a year for {yearly} years: offsite keeps one a month for that long"));
            }
            let days = all + daily;
            let weeks = weekly + days.div_ceil(7);
            let months = monthly + (weeks * 7).div_ceil(30) + yearly * 12;
            let steps = [("daily", daily, days), ("weekly", weekly, weeks), ("monthly", monthly + yearly, months)];
            let keep = Node::map().with("within", format!("{}d", all.max(1)));
            Some(steps.iter().filter(|(_, asked, _)| *asked > 0).fold(keep, |keep, (name, _, count)| keep.with(name, *count)))
        }
        "capacity" => {
            notes.left_out(at, "the cleanup `capacity`: offsite keeps by age and count (`keep`), not by size; the default is 30 days");
            None
        }
        other => {
            notes.left_out(at, format!("the cleanup {other}"));
            None
        }
    }
}

/// offsite's notation of an age: `14D`, `2w`, `3M` (months of 31 days), `1Y`, `90i` (minutes).
fn age(text: &str) -> Option<String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).filter(|at| *at > 0)?);
    let number: u64 = number.parse().ok()?;
    Some(match unit.to_lowercase().as_str() {
        "y" => format!("{}d", number.checked_mul(365)?),
        "m" => format!("{}d", number.checked_mul(31)?),
        "i" => format!("{number}m"),
        unit @ ("w" | "d" | "h" | "s") => format!("{number}{unit}"),
        _ => return None,
    })
}

/// A path up to its first directory with a date in its name.
pub fn undated(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').take_while(|part| !part.contains('%')).collect();
    parts.join("/").trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_and_dates() {
        assert_eq!(
            ["14D", "2w", "3M", "1Y", "90i", "x", "d"].map(age),
            [Some("14d"), Some("2w"), Some("93d"), Some("365d"), Some("90m"), None, None].map(|a| a.map(str::to_owned))
        );
        assert_eq!([undated("/b/%Y/%m"), undated("/b/x/"), undated("%Y")], ["/b".to_owned(), "/b/x".to_owned(), String::new()]);
    }

    #[test]
    fn steps_add_up() {
        let options = [("daysToKeepAll", "7"), ("daysToKeepDaily", "14"), ("weeksToKeepWeekly", "4"), ("yearsToKeepYearly", "1")];
        let part = PhpbuPart { kind: "stepwise".into(), options: options.map(|(a, b)| (a.to_owned(), b.to_owned())).to_vec() };
        let keep = keep(&part, "", "x", &mut Notes::default()).unwrap();
        assert_eq!(serde_json::to_string(&keep).unwrap(), r#"{"within":"7d","daily":21,"weekly":7,"monthly":14}"#);
    }
}
