//! Listings, page by page: the full ones with raw names, and the small ones of the data plane.
//!
//! Owns the paging, and the distinction of a name's current version from older ones across pages. Invariants: the
//! stream gives every name under the prefix or ends in an error. A listing that repeats itself is an error.

use std::sync::Arc;

use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ListResult, ObjectMeta};

use super::claim;
use super::error::Failure;
use super::mark::Mark;
use super::put::tag;
use super::rooted::{B2Store, refused};
use super::session::Account;
use super::versions::{B2Version, VersionsPage};
use crate::contract::error::{Error, ErrorKind, Result};
use crate::contract::listing::{Depth, Listed, Scope, State};
use crate::wire::repeats::RepeatedPages;

/// Names in one page; Backblaze bills each thousand as one LIST.
const PAGE: usize = 1000;

/// The position of a listing: the name and version from which to continue. None at its end.
type ListPosition = Option<(String, Option<String>)>;

/// Most versions of one name that are held in memory at once.
const HELD: usize = 100_000;

/// Where the page after this one begins.
fn after(page: &VersionsPage, turns: &mut RepeatedPages) -> Result<ListPosition, Failure> {
    let next = page.next_file_name.clone().map(|name| (name, page.next_file_id.clone()));
    let first = page.files.first().map(|version| (&version.file_name, version.id()));
    turns.page(first, next.as_ref()).map_err(|why| Failure::new(ErrorKind::Other, why))?;
    Ok(next)
}

/// Lists a bucket or prefix; see [`crate::Backend::list`]. If several writers tried to create a name at once,
/// the leftover of a crashed loser can be listed as current until the next write. Readers are not misled by
/// it, but a listing does not check each name.
pub(super) fn list(account: Arc<Account>, scope: Scope, depth: Depth) -> BoxStream<'static, Result<Listed>> {
    let prefix = match (scope, account.prefix.as_str()) {
        (Scope::Bucket, _) | (_, "") => String::new(),
        (Scope::Prefix, prefix) => format!("{prefix}/"),
    };
    let first = Some((prefix.clone(), None));
    let begun = (account, prefix, first, None::<String>, RepeatedPages::default());
    stream::try_unfold(begun, move |(account, prefix, place, mut seen, mut turns)| async move {
        let Some(place) = place else { return Ok(None) };
        let page = match depth {
            Depth::Current => account.names(&prefix, Some(&place.0), false, PAGE).await,
            // Started files are listed among the versions.
            Depth::Everything | Depth::Unfinished => account.versions(&prefix, Some(&place), PAGE).await,
        };
        let fail = |failure: Failure| failure.about(&account.location, "");
        let page = page.map_err(fail)?;
        let next = after(&page, &mut turns).map_err(fail)?;
        let listed: Vec<Listed> = page.files.into_iter().filter_map(|version| listed(version, &prefix, &mut seen)).collect();
        let listed = listed.into_iter().filter(|one| depth != Depth::Unfinished || one.state == State::Unfinished).collect::<Vec<_>>();
        Ok::<_, Error>(Some((listed, (account, prefix, next, seen, turns))))
    })
    .map_ok(|page| stream::iter(page.into_iter().map(Ok)))
    .try_flatten()
    .boxed()
}

/// Converts a version. `seen` is the last name whose newest finished version was already listed.
fn listed(version: B2Version, prefix: &str, seen: &mut Option<String>) -> Option<Listed> {
    let key = version.file_name.strip_prefix(prefix).filter(|key| !key.is_empty())?.as_bytes().to_vec();
    let state = match version.state()? {
        State::Current if seen.as_deref() == Some(&version.file_name) => State::Old,
        state => state,
    };
    if state != State::Unfinished && seen.as_deref() != Some(&version.file_name) {
        *seen = Some(version.file_name.clone());
    }
    let has_content = matches!(state, State::Current | State::Old);
    Some(Listed {
        key,
        size: version.content_length.filter(|_| has_content).unwrap_or(0),
        etag: version.file_id.clone().filter(|_| has_content),
        modified: version.modified(),
        state,
        version: version.file_id,
        class: None,
    })
}

/// The objects of the data plane under a path and after `offset` in byte order, as readers see them. Reads
/// all versions, so that the loser of a race is not taken for the current one. Names that are not valid paths
/// (`a//b`) are left out.
pub(super) fn objects(
    account: Arc<Account>,
    prefix: Option<&Path>,
    offset: Option<&Path>,
) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
    let (root, below) = roots(&account, prefix);
    let offset = offset.map(|offset| format!("{root}{offset}"));
    let first = offset.clone().filter(|offset| *offset > below).unwrap_or_else(|| below.clone());
    let walk = B2Walk { account, root, below, offset, place: Some((first, None)), held: Vec::new(), turns: RepeatedPages::default() };
    stream::try_unfold(walk, |mut walk| async move {
        let Some(place) = walk.place.take() else { return Ok(None) };
        let location = walk.account.location.clone();
        let found = walk.page(place).await.map_err(|failure| refused(&location, "", failure))?;
        Ok::<_, object_store::Error>(Some((found, walk)))
    })
    .map_ok(|page| stream::iter(page.into_iter().map(Ok)))
    .try_flatten()
    .boxed()
}

struct B2Walk {
    account: Arc<Account>,
    root: String,
    below: String,
    offset: Option<String>,
    place: ListPosition,
    /// The versions of the last name on the last page, which may continue on the next one.
    held: Vec<B2Version>,
    turns: RepeatedPages,
}

impl B2Walk {
    async fn page(&mut self, place: (String, Option<String>)) -> Result<Vec<ObjectMeta>, Failure> {
        let page = self.account.versions(&self.below, Some(&place), PAGE).await?;
        self.place = after(&page, &mut self.turns)?;
        let mut found = Vec::new();
        for version in page.files {
            if self.held.first().is_some_and(|held| held.file_name != version.file_name) {
                found.extend(self.seen());
            }
            if self.held.len() == HELD {
                return Err(Failure::new(ErrorKind::Other, format!("the server lists more than {HELD} versions of one name")));
            }
            self.held.push(version);
        }
        if self.place.is_none() {
            found.extend(self.seen());
        }
        Ok(found)
    }

    /// What a reader sees of the held versions, which are all versions of their name.
    fn seen(&mut self) -> Option<ObjectMeta> {
        let held = std::mem::take(&mut self.held);
        let current = claim::current(&claim::live(&held))?;
        let is_after = self.offset.as_ref().is_none_or(|offset| current.file_name > *offset);
        if is_after { meta(current, &self.root) } else { None }
    }
}

fn meta(version: &B2Version, root: &str) -> Option<ObjectMeta> {
    let key = version.file_name.strip_prefix(root)?;
    Some(ObjectMeta {
        location: Path::parse(key).ok().filter(|path| path.as_ref() == key)?,
        last_modified: version.modified(),
        size: version.content_length.unwrap_or(0),
        e_tag: Some(tag(version.id())),
        version: Some(version.id().to_owned()),
    })
}

/// Objects and folders directly under a path, without the contents of the folders; one LIST a page.
pub(super) async fn folder(store: &B2Store, prefix: Option<&Path>) -> object_store::Result<ListResult> {
    let account = &store.account;
    let (root, below) = roots(account, prefix);
    let fail = |failure: Failure| refused(&account.location, "", failure);
    let (mut objects, mut common_prefixes) = (Vec::new(), Vec::new());
    let (mut place, mut turns) = (Some((below.clone(), None)), RepeatedPages::default());
    while let Some(from) = place {
        let page = account.names(&below, Some(&from.0), true, PAGE).await.map_err(fail)?;
        place = after(&page, &mut turns).map_err(fail)?;
        for version in page.files {
            if version.action == "folder" {
                let key = version.file_name.strip_prefix(&root).map(|key| key.trim_end_matches('/'));
                common_prefixes.extend(key.and_then(|key| Path::parse(key).ok().filter(|path| path.as_ref() == key)));
                continue;
            }
            let Some(found) = meta(&version, &root) else { continue };
            // Several writers may have put this name at once: the listed version can be a loser's.
            objects.extend(match version.mark() {
                Mark::Plain => Some(found),
                _ => match store.look(&found.location).await {
                    Ok(seen) => meta(&seen, &root),
                    Err(failure) if failure.kind == ErrorKind::NotFound => None,
                    Err(failure) => return Err(fail(failure)),
                },
            });
        }
    }
    Ok(ListResult { objects, common_prefixes, extensions: Default::default() })
}

/// The destination's root in the bucket, and the prefix of all names below a path.
fn roots(account: &Account, prefix: Option<&Path>) -> (String, String) {
    let root = if account.prefix.is_empty() { String::new() } else { format!("{}/", account.prefix) };
    let below = match prefix.map(Path::as_ref) {
        None | Some("") => root.clone(),
        Some(prefix) => format!("{root}{prefix}/"),
    };
    (root, below)
}
