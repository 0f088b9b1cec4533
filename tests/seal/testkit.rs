//! The test kit of age (<https://c2sp.org/CCTV/age>) against our reader, which knows X25519 in binary files only.

use std::collections::BTreeMap;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::*;

#[derive(Default)]
struct Vector {
    fields: BTreeMap<String, String>,
    identities: Vec<Identity>,
    file: Vec<u8>,
}

fn read(path: &Path) -> Vector {
    let bytes = std::fs::read(path).unwrap();
    let end = bytes.windows(2).position(|pair| pair == b"\n\n").unwrap();
    let mut vector = Vector { file: bytes[end + 2..].to_vec(), ..Vector::default() };
    for line in std::str::from_utf8(&bytes[..end]).unwrap().lines() {
        let (name, value) = line.split_once(": ").unwrap();
        // Identities of other kinds stay away, so that nothing may open their files.
        if name == "identity" && value.starts_with("AGE-SECRET-KEY-1") {
            vector.identities.push(value.parse().unwrap());
        }
        vector.fields.insert(name.to_owned(), value.to_owned());
    }
    if vector.fields.get("compressed").is_some_and(|kind| kind == "zlib") {
        let mut file = Vec::new();
        flate2::read::ZlibDecoder::new(&vector.file[..]).read_to_end(&mut file).unwrap();
        vector.file = file;
    }
    vector
}

/// Whether the error is of the stage that the kit names.
fn is_expected(error: &SealError, expect: &str) -> bool {
    match expect {
        "no match" => matches!(error, SealError::NoKey),
        "HMAC failure" => matches!(error, SealError::Header("its MAC is wrong")),
        "header failure" => {
            matches!(error, SealError::Header(_) | SealError::NotAge | SealError::UnknownVersion | SealError::Truncated | SealError::NoKey)
        }
        "payload failure" => matches!(error, SealError::Truncated | SealError::Extended | SealError::Chunk(_)),
        _ => false,
    }
}

#[test]
fn our_reader_agrees_with_the_test_kit() {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/seal/age-testkit");
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let vector = read(&path);
        let expect = vector.fields["expect"].as_str();
        if vector.fields.contains_key("armored") {
            *counts.entry("armored, skipped").or_default() += 1;
            continue;
        }
        let whole = open(&vector.identities, &vector.file);
        let mut given = Vec::new();
        let streamed = OpenReader::new(&vector.identities, &vector.file[..])
            .and_then(|mut reader| reader.read_to_end(&mut given).map_err(SealError::from));
        let payload_is = |bytes: &[u8]| hex::encode(Sha256::digest(bytes)) == vector.fields["payload"];
        let (class, right) = match (&whole, &streamed) {
            (Err(error), Err(_)) if vector.identities.is_empty() => ("not for us, refused", !matches!(error, SealError::Io(_))),
            (Ok(bytes), Ok(_)) => ("opened", expect == "success" && payload_is(bytes) && payload_is(&given)),
            (Err(error), Err(again)) if expect == "payload failure" => {
                // The kit says what may be given out before a payload fails. A last chunk that is not where it should be is
                // held back here.
                let held_back = matches!(again, SealError::Truncated | SealError::Extended) && given.len() % CHUNK == 0;
                ("payload refused", is_expected(error, expect) && is_expected(again, expect) && (payload_is(&given) || held_back))
            }
            (Err(error), Err(again)) => ("header refused", is_expected(error, expect) && is_expected(again, expect) && given.is_empty()),
            _ => ("differs", false),
        };
        *counts.entry(class).or_default() += 1;
        if !right {
            wrong.push(format!("{}: expected {expect}, got {whole:?} and {streamed:?}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{counts:?}\n{}", wrong.join("\n"));
    let expected = [("armored, skipped", 33), ("header refused", 36), ("not for us, refused", 42), ("opened", 14), ("payload refused", 18)];
    assert_eq!(counts, BTreeMap::from(expected), "counts of the vectors");
}
