//! Parts of objects.

use std::ops::Range;

use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD as BASE64;
use hmac::{Hmac, Mac};
use proptest::prelude::*;
use sha2::Sha256;

use super::*;

/// The bytes that a ranged read of an object would give.
fn fetched(object: &[u8], plain: Range<u64>) -> &[u8] {
    let range = sealed_range(plain);
    let end = object.len().min(range.end as usize);
    &object[end.min(range.start as usize)..end]
}

fn borders(len: usize) -> Vec<u64> {
    let mut all: Vec<u64> = [0, 1, 65_535, 65_536, 65_537, 131_071, 131_072, 131_073, len - 1, len].iter().map(|at| *at as u64).collect();
    all.retain(|at| *at <= len as u64);
    all.sort_unstable();
    all.dedup();
    all
}

#[test]
fn every_range_gives_its_bytes() {
    let identity = identity();
    for len in [1, 65_535, 65_536, 65_537, 131_072, 131_073, 200_000] {
        let (plain, object) = (plain(len), sealed(&identity, &plain(len)));
        let opener = Opener::new(std::slice::from_ref(&identity), &object[..PREFIX]).unwrap();
        for start in borders(len) {
            for end in borders(len).into_iter().filter(|end| *end >= start) {
                let part = opener.open_range(start..end, fetched(&object, start..end)).unwrap();
                assert!(part == plain[start as usize..end as usize], "{start}..{end} of {len}");
            }
        }
        let past = len as u64 + 1;
        assert!(matches!(opener.open_range(0..past, fetched(&object, 0..past)), Err(SealError::Truncated | SealError::Range)), "{len}");
    }
}

#[test]
fn the_ranges_are_those_of_the_format() {
    assert_eq!(sealed_range(0..1), 184..184 + 65_552);
    assert_eq!(sealed_range(140_000..205_000), 184 + 2 * 65_552..184 + 4 * 65_552);
    assert_eq!(sealed_range(65_535..65_537), 184..184 + 2 * 65_552);
    assert_eq!(sealed_range(65_536..131_072), 184 + 65_552..184 + 2 * 65_552);
    assert_eq!(sealed_range(70_000..70_000), 184 + 65_552..184 + 65_552);
    assert_eq!((sealed_len(0), sealed_len(1), sealed_len(65_536), sealed_len(65_537)), (200, 201, 65_736, 65_753));
    for impossible in [0, 183, 184, 199, 184 + 65_552 + 15, 184 + 65_552 + 16] {
        assert_eq!(plain_len(impossible), None, "{impossible}");
    }
    // Numbers of a hostile manifest.
    assert_eq!(sealed_len(u64::MAX), u64::MAX);
    assert!(sealed_range(u64::MAX - 1..u64::MAX).end == u64::MAX);
}

#[test]
fn an_opener_is_made_of_any_of_the_keys() {
    let identity = identity();
    let secrets = FileSecrets::random().unwrap();
    let (file_key, payload_key) = (secrets.file_key().clone(), secrets.payload_key());
    let object = seal(&identity.recipient(), secrets, b"some text").unwrap();
    let nonce = object[HEADER..PREFIX].try_into().unwrap();
    let by_header = Opener::new(&[identity], &object).unwrap();
    assert_eq!(by_header.payload_key(), &payload_key);
    let by_file = Opener::from_file_key(&FileKey::new(*file_key.as_bytes()), &nonce).unwrap();
    let by_payload = Opener::from_payload_key(PayloadKey::new(*payload_key.as_bytes())).unwrap();
    for opener in [by_header, by_file, by_payload] {
        assert_eq!(opener.open_range(5..9, fetched(&object, 5..9)).unwrap(), b"text");
        assert_eq!(opener.open_range(3..3, &[]).unwrap(), b"");
    }
}

#[test]
fn an_opener_takes_objects_with_our_prefix_only() {
    let identity = identity();
    let object = sealed(&identity, b"text");
    let identities = std::slice::from_ref(&identity);
    assert!(matches!(Opener::new(identities, &object[..PREFIX - 1]), Err(SealError::Truncated)));
    assert!(matches!(Opener::new(&[super::identity()], &object), Err(SealError::NoKey)));
    let long = super::objects::crate_seals(identity.recipient(), b"text");
    assert!(matches!(Opener::new(identities, &long), Err(SealError::LongHeader(168))));
    // A header that is longer and still ends within the prefix.
    let secrets = FileSecrets::random().unwrap();
    let mac_key = age_core::primitives::hkdf(&[], b"header", secrets.file_key().as_bytes());
    let object = seal(&identity.recipient(), secrets, b"text").unwrap();
    let covered = [&object[..120], b"-> other\n\n---"].concat();
    let mac = <Hmac<Sha256> as Mac>::new_from_slice(&mac_key).unwrap().chain_update(&covered).finalize().into_bytes();
    let header = [&covered[..], b" ", BASE64.encode(mac).as_bytes(), b"\n"].concat();
    let object = [&header, &object[HEADER..]].concat();
    assert_eq!((header.len(), opened(&identity, &object).unwrap()), (178, b"text".to_vec()));
    assert!(matches!(Opener::new(identities, &object), Err(SealError::LongHeader(168))));
}

#[test]
fn a_range_of_wrong_bytes_is_refused() {
    let identity = identity();
    let object = sealed(&identity, &plain(300_000));
    let opener = Opener::new(&[identity], &object[..PREFIX]).unwrap();
    let chunk = |i: usize| &object[PREFIX + i * 65_552..object.len().min(PREFIX + (i + 1) * 65_552)];
    let range = 65_536..2 * 65_536;
    assert!(opener.open_range(range.clone(), chunk(1)).is_ok());
    for wrong in [chunk(0), chunk(2), chunk(4), &chunk(1)[..65_551], &[]] {
        assert!(opener.open_range(range.clone(), wrong).is_err());
    }
    assert!(matches!(opener.open_range(range.clone(), &object[PREFIX + 65_552..PREFIX + 131_105]), Err(SealError::Range)));
    // The object was cut between two chunks: what was asked for is not all there.
    assert!(matches!(opener.open_range(65_536..3 * 65_536, chunk(1)), Err(SealError::Truncated)));
    let mut damaged = chunk(1).to_vec();
    damaged[65_551] ^= 1;
    assert!(matches!(opener.open_range(range.clone(), &damaged), Err(SealError::Chunk(1))));
    // A last chunk in the middle of what was given.
    let two = sealed(&super::identity(), &plain(65_536));
    assert!(opener.open_range(0..131_072, &[&two[PREFIX..], chunk(1)].concat()).is_err());
}

#[test]
fn a_last_chunk_in_front_of_another_is_refused() {
    let identity = identity();
    let secrets = || FileSecrets::derived(&[1; 32], &[2; 32]);
    let short = seal(&identity.recipient(), secrets(), &plain(65_536)).unwrap();
    let long = seal(&identity.recipient(), secrets(), &plain(131_072)).unwrap();
    let joined = [&short[..], &long[PREFIX + 65_552..]].concat();
    assert!(matches!(opened(&identity, &joined), Err(SealError::Extended)));
    let opener = Opener::new(&[identity], &joined).unwrap();
    assert!(matches!(opener.open_range(0..131_072, &joined[PREFIX..]), Err(SealError::Extended)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_range_gives_its_bytes(len in 1..300_000usize, a in 0..300_000usize, b in 0..300_000usize) {
        let (a, b) = (a.min(len), b.min(len));
        let range = a.min(b) as u64..a.max(b) as u64;
        let (identity, plain) = (identity(), plain(len));
        let object = sealed(&identity, &plain);
        let opener = Opener::new(&[identity], &object).unwrap();
        let part = opener.open_range(range.clone(), fetched(&object, range.clone())).unwrap();
        prop_assert!(part == plain[range.start as usize..range.end as usize]);
    }

    #[test]
    fn lengths_go_both_ways(len in 0..1u64 << 50) {
        prop_assert_eq!(plain_len(sealed_len(len)), Some(len));
        prop_assert!(plain_len(len).is_none_or(|plain| sealed_len(plain) == len));
    }
}
