//! Changed, cut, extended and rearranged objects are refused.

use super::*;

#[test]
fn every_bit_of_the_prefix_counts() {
    let identity = identity();
    let object = sealed(&identity, b"text");
    for at in 0..object.len() {
        for bit in 0..8 {
            let mut changed = object.clone();
            changed[at] ^= 1 << bit;
            let error = opened(&identity, &changed).unwrap_err();
            match at {
                0..22 => assert!(matches!(error, SealError::NotAge | SealError::UnknownVersion | SealError::Truncated), "{at}: {error}"),
                184.. | 168..184 => assert!(matches!(error, SealError::Chunk(0)), "{at}: {error}"),
                _ => {}
            }
        }
    }
}

#[test]
fn every_class_of_bytes_of_the_payload_counts() {
    let identity = identity();
    let object = sealed(&identity, &plain(200_000));
    let chunk = |i: usize| PREFIX + i * 65_552;
    let last = object.len() - 1;
    for (at, number) in [
        (chunk(0), 0),
        (chunk(0) + 65_535, 0),
        (chunk(0) + 65_536, 0),
        (chunk(1) - 1, 0),
        (chunk(1), 1),
        (chunk(2) + 100, 2),
        (chunk(3), 3),
        (last - 16, 3),
        (last - 15, 3),
        (last, 3),
    ] {
        let mut changed = object.clone();
        changed[at] ^= 0x80;
        let error = opened(&identity, &changed).unwrap_err();
        assert!(matches!(error, SealError::Chunk(n) if n == number), "{at}: {error}");
    }
}

#[test]
fn a_cut_object_is_refused_wherever_it_is_cut() {
    let identity = identity();
    let object = sealed(&identity, &plain(131_072 + 100));
    let borders = [PREFIX + 65_552, PREFIX + 131_104];
    let around = borders.iter().flat_map(|border| border - 17..border + 18);
    for len in (0..220).chain(around).chain(object.len() - 120..object.len()) {
        let error = opened(&identity, &object[..len]).unwrap_err();
        if len <= PREFIX || borders.contains(&len) {
            assert!(matches!(error, SealError::Truncated), "{len}: {error}");
        }
    }
}

#[test]
fn an_object_with_more_behind_it_is_refused() {
    let identity = identity();
    for len in LENGTHS {
        let object = sealed(&identity, &plain(len));
        for more in [&[0][..], &[0; 16], &[7; 17], &object[PREFIX..], &object] {
            opened(&identity, &[&object, more].concat()).unwrap_err();
        }
    }
}

#[test]
fn moved_chunks_are_refused() {
    let identity = identity();
    let (object, other) = (sealed(&identity, &plain(4 * CHUNK)), sealed(&identity, &plain(4 * CHUNK)));
    let chunk = |i: usize| &object[PREFIX + i * 65_552..PREFIX + (i + 1) * 65_552];
    let foreign = &other[PREFIX + 65_552..PREFIX + 2 * 65_552];
    let built = |chunks: &[&[u8]]| [&[&object[..PREFIX]], chunks].concat().concat();
    assert!(opened(&identity, &built(&[chunk(0), chunk(1), chunk(2), chunk(3)])).is_ok());
    for wrong in [
        built(&[chunk(1), chunk(0), chunk(2), chunk(3)]),
        built(&[chunk(0), chunk(2), chunk(1), chunk(3)]),
        built(&[chunk(0), chunk(1), chunk(3)]),
        built(&[chunk(0), chunk(1), chunk(1), chunk(2), chunk(3)]),
        built(&[chunk(0), foreign, chunk(2), chunk(3)]),
        built(&[chunk(0), chunk(1), chunk(3), chunk(2)]),
        built(&[chunk(3)]),
        [&other[..PREFIX], &object[PREFIX..]].concat(),
    ] {
        opened(&identity, &wrong).unwrap_err();
    }
}
