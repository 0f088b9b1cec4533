//! Create-only and compare-and-swap on a store that has neither: which writer wins, and what a reader sees.
//!
//! Owns the rules (normative in `docs/format.md`, "Backblaze B2"). Makes no request. Invariants: of several writers
//! at most one wins, in whatever order their uploads are stamped and become visible. A writer wins only if a look
//! after its own upload shows no rival, and a rival that wins never withdraws its upload. A version that a loser left
//! behind changes nothing for a reader.

use super::mark::Mark;
use super::versions::B2Version;
use crate::contract::listing::State;

/// The verdict on an upload of ours after one look.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ClaimVerdict {
    /// It counts, under this id. The versions in `dead` may be deleted, in this order.
    Won { id: String, dead: Vec<String> },
    /// It does not count. The uploads in `ours` must be deleted (two, if a retried upload arrived twice).
    Lost { ours: Vec<String> },
    /// It does not count, and neither does any other version: the name was removed after the upload, or its
    /// hide marker has a later stamp. The upload must be deleted, and the put may be tried again.
    Hidden,
    /// There is a rival, but ours is the oldest. A rival that has not decided yet will see ours and withdraw;
    /// a rival that has won will stay. Look again.
    Wait { ours: Vec<String> },
}

/// The versions of one name that count, oldest first; the input is newest first, as listed. Versions that a
/// hide marker or an unconditional upload replaced do not count.
pub(super) fn live(listed: &[B2Version]) -> Vec<&B2Version> {
    let mut marked = Vec::new();
    let mut base = None;
    for version in listed {
        match (version.state(), version.mark()) {
            (Some(State::Marker), _) => break,
            (Some(State::Current), Mark::Plain) => {
                base = Some(version);
                break;
            }
            (Some(State::Current), _) => marked.push(version),
            _ => {}
        }
    }
    marked.sort_by_key(|version| (version.upload_timestamp, version.id()));
    base.into_iter().chain(marked).collect()
}

/// The version that a reader gets.
pub(super) fn current<'a>(live: &[&'a B2Version]) -> Option<&'a B2Version> {
    let mut current: Option<&B2Version> = None;
    for version in live {
        let takes = match (current, version.mark()) {
            (None, _) | (_, Mark::Plain) => true,
            (Some(_), Mark::Create { .. }) => false,
            (Some(there), mark) => mark.is_after(there.id()),
        };
        if takes {
            current = Some(version);
        }
    }
    current
}

/// Judges the upload that carries `mark`, from a listing that began after the upload had ended.
pub(super) fn judge(live: &[&B2Version], mark: &Mark) -> ClaimVerdict {
    let (ours, others): (Vec<&B2Version>, Vec<&B2Version>) = live.iter().partition(|version| version.mark().put() == mark.put());
    let ids = || ours.iter().map(|version| version.id().to_owned()).collect::<Vec<_>>();
    let Some(first) = ours.first() else {
        let is_free = others.is_empty() && matches!(mark, Mark::Create { .. });
        return if is_free { ClaimVerdict::Hidden } else { ClaimVerdict::Lost { ours: Vec::new() } };
    };
    let (rivals, rest): (Vec<&B2Version>, Vec<&B2Version>) = match mark {
        Mark::Swap { after, .. } => others.iter().partition(|version| version.mark().is_after(after)),
        _ => (others, Vec::new()),
    };
    if let Mark::Swap { after, .. } = mark
        && current(&rest).is_none_or(|there| there.id() != after)
    {
        return ClaimVerdict::Lost { ours: ids() };
    }
    let place = |version: &B2Version| (version.upload_timestamp, version.id().to_owned());
    match rivals.iter().map(|rival| place(rival)).min() {
        None => ClaimVerdict::Won { id: first.id().to_owned(), dead: dead(&rest, &ours) },
        Some(oldest) if oldest < place(first) => ClaimVerdict::Lost { ours: ids() },
        Some(_) => ClaimVerdict::Wait { ours: ids() },
    }
}

/// The versions that a winner replaced, in an order of deletion in which a reader only sees the old value or
/// the new one: our own second copies and the leftovers of others, then the old values, oldest first.
fn dead(rest: &[&B2Version], ours: &[&B2Version]) -> Vec<String> {
    let mut chain: Vec<&str> = Vec::new();
    let mut left: Vec<&str> = ours.iter().skip(1).map(|version| version.id()).collect();
    for (index, version) in rest.iter().enumerate() {
        let is_value = current(&rest[..=index]).is_some_and(|there| there.id() == version.id());
        if version.mark() != Mark::Plain {
            if is_value { &mut chain } else { &mut left }.push(version.id());
        }
    }
    left.into_iter().chain(chain).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(id: &str, at: i64, action: &str, mark: &Mark) -> B2Version {
        B2Version {
            file_id: Some(id.into()),
            file_name: "lease".into(),
            action: action.into(),
            content_length: Some(1),
            content_sha1: None,
            content_type: None,
            upload_timestamp: at,
            file_retention: None,
            legal_hold: None,
            file_info: mark.text().map(|text| [(super::super::mark::MARK.to_owned(), text)].into()),
        }
    }

    fn create(id: &str, at: i64) -> B2Version {
        version(id, at, "upload", &Mark::Create { put: format!("put-{id}") })
    }

    fn swap(id: &str, at: i64, after: &str) -> B2Version {
        version(id, at, "upload", &Mark::Swap { put: format!("put-{id}"), after: after.into() })
    }

    /// Newest first, as a server lists.
    fn listed(mut versions: Vec<B2Version>) -> Vec<B2Version> {
        versions.sort_by_key(|v| std::cmp::Reverse((v.upload_timestamp, v.file_id.clone())));
        versions
    }

    fn seen(versions: Vec<B2Version>) -> Option<String> {
        let versions = listed(versions);
        current(&live(&versions)).map(|v| v.id().to_owned())
    }

    fn verdict(versions: Vec<B2Version>, mine: &B2Version) -> ClaimVerdict {
        let versions = listed(versions);
        judge(&live(&versions), &mine.mark())
    }

    #[test]
    fn marks_come_back() {
        for mark in [Mark::Create { put: "a1".into() }, Mark::Swap { put: "a1".into(), after: "4_z27_x".into() }] {
            assert_eq!(Mark::parse(&mark.text().unwrap()), mark);
        }
        assert_eq!(Mark::parse("else"), Mark::Plain);
    }

    #[test]
    fn a_reader_sees_the_oldest_of_several_creators_and_what_was_swapped_in_after_it() {
        assert_eq!(seen(vec![create("a", 1), create("b", 2)]).as_deref(), Some("a"));
        assert_eq!(seen(vec![create("b", 1), create("a", 1)]).as_deref(), Some("a"), "one moment: the id decides");
        let all = vec![create("a", 1), create("b", 2), swap("c", 3, "a"), swap("d", 4, "a"), swap("e", 5, "c")];
        assert_eq!(seen(all).as_deref(), Some("e"));
        // The first value was deleted after it had been replaced.
        assert_eq!(seen(vec![swap("c", 3, "a"), swap("d", 4, "a")]).as_deref(), Some("c"));
    }

    #[test]
    fn a_marker_or_an_unconditional_upload_makes_an_end_of_what_is_older() {
        let marker = |at| version("h", at, "hide", &Mark::Plain);
        assert_eq!(seen(vec![create("a", 1), marker(2)]), None);
        assert_eq!(seen(vec![create("a", 1), marker(2), create("b", 3), create("c", 4)]).as_deref(), Some("b"));
        let plain = version("p", 3, "upload", &Mark::Plain);
        assert_eq!(seen(vec![create("a", 1), plain.clone(), create("b", 4)]).as_deref(), Some("p"));
        let unfinished = version("u", 9, "start", &Mark::Plain);
        assert_eq!(seen(vec![create("a", 1), unfinished]).as_deref(), Some("a"));
    }

    #[test]
    fn a_creator_wins_alone_waits_when_it_is_oldest_and_loses_otherwise() {
        let (a, b) = (create("a", 1), create("b", 2));
        assert_eq!(verdict(vec![a.clone()], &a), ClaimVerdict::Won { id: "a".into(), dead: vec![] });
        assert_eq!(verdict(vec![a.clone(), b.clone()], &b), ClaimVerdict::Lost { ours: vec!["b".into()] });
        assert_eq!(verdict(vec![a.clone(), b], &a), ClaimVerdict::Wait { ours: vec!["a".into()] });
        let hidden = version("h", 5, "hide", &Mark::Plain);
        assert_eq!(verdict(vec![a.clone(), hidden.clone()], &a), ClaimVerdict::Hidden);
        assert_eq!(verdict(vec![a.clone(), hidden, create("c", 6)], &a), ClaimVerdict::Lost { ours: vec![] });
    }

    #[test]
    fn a_retried_upload_that_landed_twice_is_one() {
        let (a, mut twice) = (create("a", 1), create("a", 2));
        twice.file_id = Some("a2".into());
        assert_eq!(verdict(vec![a.clone(), twice], &a), ClaimVerdict::Won { id: "a".into(), dead: vec!["a2".into()] });
    }

    #[test]
    fn a_swap_wins_only_over_the_version_it_names() {
        let (a, b, c) = (create("a", 1), swap("b", 2, "a"), swap("c", 3, "a"));
        assert_eq!(verdict(vec![a.clone(), b.clone()], &b), ClaimVerdict::Won { id: "b".into(), dead: vec!["a".into()] });
        assert_eq!(verdict(vec![a.clone(), b.clone(), c.clone()], &c), ClaimVerdict::Lost { ours: vec!["c".into()] });
        assert_eq!(verdict(vec![a.clone(), b.clone(), c.clone()], &b), ClaimVerdict::Wait { ours: vec!["b".into()] });
        assert_eq!(verdict(vec![c.clone()], &c), ClaimVerdict::Lost { ours: vec!["c".into()] });
        // The leftover of a crashed creator is deleted before the value, because a reader could take it for
        // the value.
        let crashed = create("x", 2);
        let next = swap("n", 9, "a");
        let dead = vec!["x".into(), "a".into()];
        assert_eq!(verdict(vec![a, crashed, next.clone()], &next), ClaimVerdict::Won { id: "n".into(), dead });
    }
}
