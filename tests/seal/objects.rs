//! Whole objects, in memory and streaming, against the `age` crate and program.

use std::io::Write;

use proptest::prelude::*;

use super::*;

/// Opens with the `age` crate.
fn crate_opens(identity: &Identity, object: &[u8]) -> Vec<u8> {
    let key: age::x25519::Identity = identity.reveal().parse().unwrap();
    let mut out = Vec::new();
    let reader = age::Decryptor::new(object).unwrap().decrypt([&key as &dyn age::Identity].into_iter());
    reader.unwrap().read_to_end(&mut out).unwrap();
    out
}

/// Seals with the `age` crate, which adds a stanza for nobody, and for another recipient first.
pub fn crate_seals(recipient: Recipient, plain: &[u8]) -> Vec<u8> {
    let other = age::x25519::Identity::generate().to_public();
    let ours: age::x25519::Recipient = recipient.to_string().parse().unwrap();
    let recipients: [&dyn age::Recipient; 2] = [&other, &ours];
    let mut out = Vec::new();
    let mut writer = age::Encryptor::with_recipients(recipients.into_iter()).unwrap().wrap_output(&mut out).unwrap();
    writer.write_all(plain).unwrap();
    writer.finish().unwrap();
    out
}

#[test]
fn objects_have_their_length_and_open_again() {
    let identity = identity();
    for len in LENGTHS.into_iter().chain([16 << 20]) {
        let plain = plain(len);
        let object = sealed(&identity, &plain);
        assert_eq!(object.len() as u64, sealed_len(len as u64), "{len}");
        assert_eq!(plain_len(object.len() as u64), Some(len as u64));
        assert!(opened(&identity, &object).unwrap() == plain, "{len}");
        assert_eq!(stanza_kinds(&object).unwrap(), ["X25519"]);
    }
}

#[test]
fn the_age_crate_opens_ours_and_we_open_its() {
    let identity = identity();
    for len in LENGTHS.into_iter().chain([16 << 20]) {
        let plain = plain(len);
        assert!(crate_opens(&identity, &sealed(&identity, &plain)) == plain, "{len}");
        assert!(opened(&identity, &crate_seals(identity.recipient(), &plain)).unwrap() == plain, "{len}");
    }
}

#[test]
fn the_age_program_opens_ours_and_we_open_its() {
    let (identity, other) = (identity(), identity().recipient().to_string());
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key");
    std::fs::write(&key, identity.reveal().as_bytes()).unwrap();
    let recipient = identity.recipient().to_string();
    for len in LENGTHS.into_iter().chain([16 << 20]) {
        let plain = plain(len);
        let Some(output) = age_program(&["-d", "-i", key.to_str().unwrap()], &sealed(&identity, &plain)) else { return };
        assert!(output.status.success() && output.stdout == plain, "{len}: {}", String::from_utf8_lossy(&output.stderr));
        let output = age_program(&["-r", &recipient], &plain).unwrap();
        assert_eq!(output.stdout.len() as u64, sealed_len(len as u64), "one recipient, no grease: as long as ours");
        assert!(opened(&identity, &output.stdout).unwrap() == plain, "{len}");
        let output = age_program(&["-r", &other, "-r", &recipient], &plain).unwrap();
        assert!(opened(&identity, &output.stdout).unwrap() == plain, "{len}");
    }
}

#[test]
fn the_first_identity_that_fits_opens() {
    let keys = [identity(), identity(), identity()];
    let object = sealed(&keys[1], b"text");
    assert_eq!(open(&keys, &object).unwrap(), b"text");
    assert!(matches!(open(&keys[2..], &object), Err(SealError::NoKey)));
    assert!(matches!(open(&[], &object), Err(SealError::NoKey)));
    assert!(matches!(open(&keys, b""), Err(SealError::Truncated)));
    assert!(matches!(open(&keys, b"hello\n"), Err(SealError::NotAge)));
    assert!(matches!(open(&keys, b"age-encryption.org/v2\n"), Err(SealError::UnknownVersion)));
}

#[test]
fn a_header_without_end_is_not_read_forever() {
    let endless = std::io::repeat(b'\n').take(1 << 40);
    let input = b"age-encryption.org/v1\n".chain(endless);
    assert!(matches!(OpenReader::new(&[identity()], input), Err(SealError::LongHeader(65_536))));
    let line = b"age-encryption.org/v1\n-> ".chain(std::io::repeat(b'a'));
    assert!(matches!(OpenReader::new(&[identity()], line), Err(SealError::LongHeader(65_536))));
    assert!(matches!(OpenReader::new(&[identity()], std::io::repeat(b'a')), Err(SealError::NotAge)));
}

#[test]
fn derived_secrets_make_the_same_object_of_the_same_text_only() {
    let identity = identity();
    let object = |key: u8, text: &[u8]| {
        let secrets = FileSecrets::derived(&[key; 32], blake3::hash(text).as_bytes());
        seal(&identity.recipient(), secrets, text).unwrap()
    };
    let first = object(1, b"text");
    assert_eq!(first, object(1, b"text"));
    for other in [object(2, b"text"), object(1, b"tex_")] {
        // Neither the ephemeral share, the wrapped key, the MAC, the nonce nor the payload are alike.
        for part in [32..75, 76..119, 124..167, 168..184, 184..204] {
            assert_ne!(first[part.clone()], other[part]);
        }
    }
    assert_eq!(opened(&identity, &first).unwrap(), b"text");
    let random = [sealed(&identity, b"text"), sealed(&identity, b"text")];
    assert_ne!(random[0][168..184], random[1][168..184]);
}

#[test]
fn a_derived_object_never_changes() {
    // The bytes of a release must come out of every later one, or repair makes other names.
    let identity: Identity = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33".parse().unwrap();
    let secrets = FileSecrets::derived(&[7; 32], blake3::hash(b"text").as_bytes());
    let object = seal(&identity.recipient(), secrets, b"text").unwrap();
    assert_eq!(blake3::hash(&object).to_hex().as_str(), "9aa1fae72b5c39df22e7989251b6d5c66128449245a0a09c4a205cdcf042d0f5");
}

/// Takes at most 7 bytes a write, and fails after `left` of them.
struct Narrow {
    bytes: Vec<u8>,
    left: usize,
}

impl Write for Narrow {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = bytes.len().min(7).min(self.left);
        if count == 0 {
            return Err(std::io::Error::other("full"));
        }
        self.left -= count;
        self.bytes.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_writer_that_failed_stays_failed() {
    let identity = identity();
    let output = Narrow { bytes: Vec::new(), left: 70_000 };
    let mut writer = SealWriter::new(&identity.recipient(), FileSecrets::random().unwrap(), output).unwrap();
    let error = writer.write_all(&plain(200_000)).unwrap_err();
    assert_eq!(error.to_string(), "full");
    assert!(writer.write(b"more").is_err() && writer.finish().is_err());
}

#[test]
fn a_reader_that_failed_stays_failed() {
    let identity = identity();
    let mut object = sealed(&identity, &plain(200_000));
    object[100_000] ^= 1;
    let mut reader = OpenReader::new(&[identity], &object[..]).unwrap();
    let mut out = Vec::new();
    let error = SealError::from(reader.read_to_end(&mut out).unwrap_err());
    assert!(matches!(error, SealError::Chunk(1)) && out == plain(CHUNK), "{error}");
    assert!(reader.read(&mut [0]).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_stream_gives_the_same_object(len in 0..200_000usize, step in 1..100_000usize) {
        let (identity, plain) = (identity(), plain(len));
        let secrets = || FileSecrets::derived(&[1; 32], &[2; 32]);
        let mut writer = SealWriter::new(&identity.recipient(), secrets(), Narrow { bytes: Vec::new(), left: usize::MAX }).unwrap();
        for part in plain.chunks(step) {
            writer.write_all(part).unwrap();
            writer.flush().unwrap();
        }
        let object = writer.finish().unwrap().bytes;
        prop_assert!(object == seal(&identity.recipient(), secrets(), &plain).unwrap());
        prop_assert!(opened(&identity, &object).unwrap() == plain);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(at in 0..1_000usize, bytes: Vec<u8>) {
        let identity = identity();
        let mut object = sealed(&identity, &plain(816));
        let end = (at + bytes.len()).min(object.len());
        let changed = object[at..end] != bytes[..end - at];
        object.splice(at..end, bytes.iter().copied());
        prop_assert_eq!(opened(&identity, &object).is_err(), changed || object.len() != 1_016);
    }
}
