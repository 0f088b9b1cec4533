//! The key file and the writer key: text forms and what they open.

use proptest::prelude::*;

use super::*;

const ID: &str = "5f3c0a91b2";

fn key_set() -> KeySet {
    KeySet::new(ID, "2026-11-28").unwrap()
}

fn writer_key() -> WriterKey {
    let first = key_set();
    let sets = [first.clone(), first.rotated("2027-01-01").unwrap()];
    WriterKey::new(&sets, vec![KeyFile::new(1, false, b"one"), KeyFile::new(2, false, b"two")]).unwrap()
}

/// The number of the line that the error names. The error shows nothing of any line.
fn line_of(error: SealError, text: &str) -> usize {
    let message = error.to_string();
    for secret in text.lines().filter(|line| line.contains("SECRET") || line.starts_with("cut")) {
        assert!(!message.contains(&secret[secret.len().saturating_sub(12)..]), "{message}");
    }
    match error {
        SealError::Line { line, .. } => line,
        error => panic!("{error}"),
    }
}

/// The text with `line` (from 1) replaced.
fn with(text: &str, line: usize, new: &str) -> String {
    let lines = text.lines().enumerate().map(|(i, old)| if i + 1 == line { new } else { old });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_key_file_is_read_as_it_was_printed() {
    let keys = key_set();
    let text = keys.print();
    assert_eq!(text.lines().next(), Some("# offsite keys 1 of 5f3c0a91b2, 2026-11-28"));
    assert_eq!(KeySet::parse(&text).unwrap(), keys);
    assert_eq!(KeySet::parse(&format!("\n{}\n\n", text.replace('\n', "\r\n"))).unwrap(), keys);
    let shown = format!("{keys:?}");
    assert_eq!(shown, "KeySet(1 of 5f3c0a91b2)");
}

#[test]
fn age_takes_a_key_file_as_identities() {
    let keys = key_set();
    let text = keys.print();
    for identity in [&keys.contents, &keys.names] {
        let object = sealed(identity, b"text");
        let file = age::IdentityFile::from_buffer(text.as_bytes()).unwrap().into_identities().unwrap();
        let mut out = Vec::new();
        let decryptor = age::Decryptor::new(&object[..]).unwrap();
        decryptor.decrypt(file.iter().map(|i| i.as_ref() as &dyn age::Identity)).unwrap().read_to_end(&mut out).unwrap();
        assert_eq!(out, b"text");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        std::fs::write(&path, text.as_bytes()).unwrap();
        if let Some(output) = age_program(&["-d", "-i", path.to_str().unwrap()], &object) {
            assert_eq!(output.stdout, b"text");
        }
    }
}

#[test]
fn a_key_file_with_a_wrong_line_names_it() {
    let text = key_set().print();
    let secret = identity().reveal();
    let names = text.lines().nth(4).unwrap().to_owned();
    for (line, new) in [
        (1, "# offsite keys 0 of 5f3c0a91b2, 2026-11-28"),
        (1, "# offsite keys 01 of 5f3c0a91b2, 2026-11-28"),
        (1, "# offsite keys 1 of 5f3c 0a91b2, 2026-11-28"),
        (1, "# offsite keys 1 of 5f3c0a91b2, tomorrow"),
        (2, "# content"),
        (2, "# contents of it"),
        (3, "AGE-SECRET-KEY-1QQQ"),
        (3, &secret.to_lowercase()),
        (4, &secret),
        (5, "# cut: 0000000000000000"),
        (6, "# cut: 000000000000000"),
        (6, "# cut: 000000000000000G"),
        (6, "# cut: 00000000000000AB"),
    ] {
        let text = with(&text, line, new);
        assert_eq!(line_of(KeySet::parse(&text).unwrap_err(), &text), line, "{new}");
    }
    let same = with(&text, 3, &names);
    assert_eq!(line_of(KeySet::parse(&same).unwrap_err(), &same), 5);
    let longer = format!("{}# more\n", *text);
    assert_eq!(line_of(KeySet::parse(&longer).unwrap_err(), &longer), 7);
    let cut: String = text.lines().take(4).map(|line| format!("{line}\n")).collect();
    assert_eq!(line_of(KeySet::parse(&cut).unwrap_err(), &cut), 5);
    assert!(matches!(KeySet::parse(&"\n".repeat(1 << 21)), Err(SealError::TooLong { .. })));
    assert!(KeySet::new("a b", "2026-11-28").is_err() && KeySet::new("", "2026-11-28").is_err() && KeySet::new("a", "today").is_err());
}

#[test]
fn a_rotation_makes_new_identities_and_keeps_the_cut() {
    let first = key_set();
    let second = first.rotated("2027-01-01").unwrap();
    assert_eq!((second.number, second.cut, &second.destination), (2, first.cut, &first.destination));
    assert!(second.contents != first.contents && second.names != first.names);
    let opening = Opening::new(&[first.clone(), second.clone()]);
    assert_eq!(opening.contents, [second.contents.clone(), first.contents.clone()]);
    assert_eq!(opening.names, [second.names.clone(), first.names.clone()]);
    let key = WriterKey::new(&[first.clone(), second.clone()], vec![KeyFile::new(1, false, b"")]).unwrap();
    let sealing = Sealing::from(&key);
    assert_eq!((sealing.contents, sealing.names), (second.contents.recipient(), second.names.recipient()));
    assert_eq!(sealing.names_identities, opening.names);
    assert!(WriterKey::new(&[], Vec::new()).is_none());
}

#[test]
fn a_writer_key_is_read_as_it_was_printed_and_opens_no_contents() {
    let first = key_set();
    let alone = WriterKey::new(std::slice::from_ref(&first), vec![KeyFile::new(1, false, b"sealed")]).unwrap();
    for key in [alone, writer_key()] {
        let text = key.print();
        assert_eq!(text.lines().next(), Some("# offsite writer key for 5f3c0a91b2: adds, lists, checks, prunes; cannot read contents"));
        assert_eq!(WriterKey::parse(&text).unwrap(), key);
        let object = seal(&key.contents, FileSecrets::random().unwrap(), b"contents").unwrap();
        let sealing = Sealing::from(&key);
        assert!(matches!(open(&sealing.names_identities, &object), Err(SealError::NoKey)));
        for shown in [format!("{key:?}"), format!("{sealing:?}")] {
            assert!(!shown.contains("SECRET") && !shown.contains(&format!("{}", key.cut)), "{shown}");
        }
    }
}

#[test]
fn a_writer_key_with_a_wrong_line_names_it() {
    let key = writer_key();
    let text = key.print();
    assert_eq!(text.lines().count(), 7);
    let line = |number: usize| text.lines().nth(number - 1).unwrap().to_owned();
    let (names, earlier, file) = (line(3), line(4), line(7));
    for (at, new) in [
        (1, "# offsite writer key for a b: adds".to_owned()),
        (1, "# offsite writer key for ab".to_owned()),
        (2, names.clone()),
        (2, "contents age1qqqq".to_owned()),
        (3, names.to_lowercase()),
        (4, names.replace("names", "earlier")),
        (4, earlier.replace('1', "2")),
        (4, earlier.replace("earlier", "names")),
        (5, "cut 12".to_owned()),
        (6, file.clone()),
        (7, line(6)),
        (7, file.to_uppercase()),
        (7, format!("{file}0")),
        (7, "file 3".to_owned()),
        (7, "more".to_owned()),
    ] {
        let text = with(&text, at, &new);
        let found = line_of(WriterKey::parse(&text).unwrap_err(), &text);
        // A repeated number is wrong where it comes the second time.
        assert_eq!(found, if (at, &new) == (6, &file) { 7 } else { at }, "{new}");
    }
    let without: String = text.lines().take(5).map(|line| format!("{line}\n")).collect();
    assert_eq!(line_of(WriterKey::parse(&without).unwrap_err(), &without), 6);
    let same = with(&text, 2, &format!("contents {}", key.names.recipient()));
    assert_eq!(line_of(WriterKey::parse(&same).unwrap_err(), &same), 3);
}

#[test]
fn derived_secrets_depend_on_the_names_identity() {
    let (one, two) = (Sealing::from(&writer_key()), Sealing::from(&writer_key()));
    let object = |sealing: &Sealing| seal(&one.names, sealing.derived_secrets(blake3::hash(b"page").as_bytes()), b"page").unwrap();
    assert_eq!(object(&one), object(&one.clone()));
    assert_ne!(object(&one), object(&two));
    assert_eq!(open(&one.names_identities, &object(&one)).unwrap(), b"page");
}

proptest! {
    #[test]
    fn no_text_makes_the_parsers_panic(start in 0..400usize, length in 0..80usize, new in "\\PC{0,40}") {
        for text in [key_set().print(), writer_key().print()] {
            let at = |at: usize| at.min(text.len());
            let changed = format!("{}{new}{}", &text[..at(start)], &text[at(start + length)..]);
            let _ = (KeySet::parse(&changed).is_ok(), WriterKey::parse(&changed).is_ok(), recipients_file(&changed).is_ok());
        }
        let _ = (KeySet::parse(&new).is_ok(), WriterKey::parse(&new).is_ok(), new.parse::<OwnerRecipient>().is_ok());
    }
}

#[test]
fn a_writer_key_notes_files_of_a_passphrase() {
    let files = [KeyFile::new(1, false, b"one"), KeyFile::new(1, true, b"two"), KeyFile::new(2, true, b"three")];
    let key = WriterKey::new(&[KeySet::new("5f3c", "2026-11-28").unwrap()], files.to_vec()).unwrap();
    let text = key.print();
    assert!(text.contains("\nfile 1.passphrase ") && text.contains("\nfile 2.passphrase "), "{}", text.lines().count());
    assert_eq!(WriterKey::parse(&text).unwrap(), key);
    assert_eq!(files.map(|file| file.name()), ["1.age", "1.passphrase.age", "2.passphrase.age"]);
    // Only in order, and each once.
    for wrong in
        [text.replace("file 1.passphrase", "file 1"), text.replace("file 1 ", "file 1.passphrase "), text.replace("file 1 ", "file 0 ")]
    {
        assert!(WriterKey::parse(&wrong).is_err());
    }
}
