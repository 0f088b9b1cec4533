//! Names as keys: they come back unchanged.

use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStoreExt;
use object_store::path::Path;

use super::kit::{At, Case, Outcome, body, case, key, not_here, same, want};

pub(super) const CASES: &[Case] = &[
    case!("odd keys go there and back", odd),
    case!("blanks and dots at the ends of names", ends),
    case!("a backslash in a key", backslash),
    case!("a key of the greatest length", longest),
    case!("a segment of 255 bytes", long_segment),
    case!("a key and a key below it", below),
    case!("keys that differ in case only", letter_case),
];

/// Names that broke some client or server; all are valid keys.
const ODD: [&str; 18] = [
    "plain.txt",
    "a b+c%2Bd%20e",
    "ümläut/日本語 €.txt",
    "e\u{301} composed and é not",
    "emoji 🦀/🗂",
    "q?x=1&y=#frag",
    "quotes'\"`<>&;",
    "star*[x]{y}|~^",
    "..hidden/.dot",
    "deep/er/and/deeper/still",
    "%",
    "%2F",
    "100%.txt",
    "=@:,$!()",
    "nul%00",
    "a#12",
    "-dash",
    "+plus+",
];

/// Puts an object of each name. Finds each by head, get and listing, under that name and no other.
async fn there_and_back(at: &At, names: &[&str]) -> Outcome {
    let backend = at.plain().await?;
    let store = backend.store();
    for name in names {
        let path = Path::parse(name).map_err(|error| super::kit::CaseVerdict::Fails(format!("{name:?} is no key: {error}")))?;
        store.put(&path, body(name)).await.map_err(|error| super::kit::CaseVerdict::Fails(format!("put {name:?}: {error}")))?;
        let head = store.head(&path).await?;
        same("head", (head.location.as_ref(), head.size), (name, name.len() as u64))?;
        want(store.get(&path).await?.bytes().await? == name.as_bytes(), || format!("{name:?} has other bytes"))?;
    }
    let listed: Vec<_> = backend.list_keys().try_collect().await?;
    let raw: BTreeSet<String> = listed.iter().map(|found| String::from_utf8_lossy(&found.key).into_owned()).collect();
    same(
        "listed",
        raw.iter().map(String::as_str).collect::<Vec<_>>(),
        names.iter().copied().collect::<BTreeSet<_>>().into_iter().collect(),
    )?;
    let keys: Vec<_> = names.iter().map(|name| Ok(key(name))).collect();
    store.delete_stream(stream::iter(keys).boxed()).try_collect::<Vec<_>>().await?;
    same("left after the deletes", backend.list_keys().try_collect::<Vec<_>>().await?.len(), 0)
}

async fn odd(at: At) -> Outcome {
    there_and_back(&at, &ODD).await
}

async fn ends(at: At) -> Outcome {
    there_and_back(&at, &[" blanks at both ends ", "...", "d/ x", "x /y", "d./e"]).await
}

async fn backslash(at: At) -> Outcome {
    there_and_back(&at, &["back\\slash", "dir\\file/x"]).await
}

/// The key consists of segments that every file system accepts.
async fn longest(at: At) -> Outcome {
    let backend = at.plain().await?;
    let prefix = match backend.capabilities().any_name {
        true => 0,
        false => backend.location().path().len() + 1,
    };
    let room = backend.capabilities().max_key.min(1024).saturating_sub(prefix);
    let mut name = "0123456789".repeat(9) + "/";
    while name.len() < room {
        name = format!("{name}{name}");
    }
    name.truncate(room);
    let name = match name.strip_suffix('/') {
        Some(cut) => format!("{}xx", &cut[..cut.len() - 1]),
        None => name,
    };
    there_and_back(&at, &[&name]).await
}

async fn long_segment(at: At) -> Outcome {
    let name = format!("d/{}", "n".repeat(255));
    there_and_back(&at, &[&name]).await
}

async fn below(at: At) -> Outcome {
    if at.plain().await?.tree().is_some() {
        return Err(not_here("a file and a directory cannot have one name in a real tree"));
    }
    there_and_back(&at, &["a", "a/b", "a/b/c", "a-b"]).await
}

async fn letter_case(at: At) -> Outcome {
    there_and_back(&at, &["readme", "README", "ReadMe"]).await
}
