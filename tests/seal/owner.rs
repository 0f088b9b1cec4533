//! Key files sealed to the owner's recipients, and opened with everything that `age -i` takes.

use std::io::Write;
use std::sync::{Arc, Mutex};

use age::secrecy::ExposeSecret;

use super::ssh_keys as ssh;
use super::*;

const TEXT: &str = "# offsite keys 1 of x\nsecret\n";

/// Gives the same answer to everything and remembers what it was asked.
pub struct Answer {
    answer: Option<&'static str>,
    pub asked: Mutex<Vec<String>>,
}

impl Answer {
    pub fn new(answer: Option<&'static str>) -> Arc<Self> {
        Arc::new(Self { answer, asked: Mutex::default() })
    }

    pub fn take_asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

impl Ask for Answer {
    fn passphrase(&self, what: &str) -> Option<SecretString> {
        self.asked.lock().unwrap().push(what.to_owned());
        self.answer.map(SecretString::from)
    }

    fn message(&self, text: &str) {
        self.asked.lock().unwrap().push(format!("message: {text}"));
    }
}

fn secret(text: &str) -> SecretString {
    SecretString::from(text)
}

fn recipients(texts: &[&str]) -> Vec<OwnerRecipient> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn seal_to(texts: &[&str]) -> Vec<u8> {
    seal_keys(&recipients(texts), TEXT, Answer::new(None)).unwrap()
}

/// Opens with what a file of this text has.
fn unlock(file: &[u8], identities: &[u8], answer: &Arc<Answer>) -> Result<String, SealError> {
    let mut owner = OwnerIdentities::new(answer.clone());
    owner.add("id", identities)?;
    open_keys(&owner, file).map(|text| text.to_string())
}

#[test]
fn each_kind_of_recipient_opens_with_its_identity() {
    let native = identity();
    let recipient = native.recipient().to_string();
    let all = [&recipient, &*ssh::ED25519.public, &*ssh::LOCKED_ED25519.public, &*ssh::RSA.public, &*ssh::LOCKED_RSA.public];
    let file = seal_to(&all);
    assert_eq!(stanza_kinds(&file).unwrap(), ["X25519", "ssh-ed25519", "ssh-ed25519", "ssh-rsa", "ssh-rsa"]);
    for (key, asks) in [
        (format!("# mine\n\n{}\n", *native.reveal()), false),
        (ssh::ED25519.private.clone(), false),
        (ssh::LOCKED_ED25519.private.clone(), true),
        (ssh::RSA.private.clone(), false),
        (ssh::LOCKED_RSA.private.clone(), true),
    ] {
        let answer = Answer::new(Some("six words"));
        assert_eq!(unlock(&file, key.as_bytes(), &answer).unwrap(), TEXT);
        let expected: &[&str] = if asks { &["passphrase of the SSH key id"] } else { &[] };
        assert_eq!(answer.take_asked(), expected);
        let other = seal_to(&[&identity().recipient().to_string()]);
        assert!(matches!(unlock(&other, key.as_bytes(), &answer), Err(SealError::NoKey)));
        assert!(answer.take_asked().is_empty(), "asked for a key that the file is not sealed to");
        let (wrong, nothing) = (Answer::new(Some("seven")), Answer::new(None));
        if asks {
            assert!(matches!(unlock(&file, key.as_bytes(), &wrong), Err(SealError::WrongPassphrase)));
            assert!(matches!(unlock(&file, key.as_bytes(), &nothing), Err(SealError::NoPassphrase)));
        }
    }
}

#[test]
fn the_age_program_opens_a_key_file_and_we_open_its() {
    let native = identity();
    let recipient = native.recipient().to_string();
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let file = seal_to(&[&recipient, &*ssh::ED25519.public, &*ssh::RSA.public]);
    for (name, key, public) in [
        ("native", &**native.reveal(), &*recipient),
        ("ed25519", &*ssh::ED25519.private, &*ssh::ED25519.public),
        ("rsa", &*ssh::RSA.private, &*ssh::RSA.public),
    ] {
        std::fs::write(path(name), key).unwrap();
        let Some(output) = age_program(&["-d", "-i", &path(name)], &file) else { return };
        assert_eq!(String::from_utf8_lossy(&output.stdout), TEXT, "{}", String::from_utf8_lossy(&output.stderr));
        let output = age_program(&["-r", public], TEXT.as_bytes()).unwrap();
        assert_eq!(unlock(&output.stdout, key.as_bytes(), &Answer::new(None)).unwrap(), TEXT);
        let mut owner = OwnerIdentities::new(Answer::new(None));
        owner.add_file(path(name).as_ref()).unwrap();
        assert_eq!(*open_keys(&owner, &output.stdout).unwrap(), TEXT);
    }
}

#[test]
fn a_passphrase_opens_and_another_does_not() {
    let file = with_passphrase(TEXT, false);
    assert_eq!(stanza_kinds(&file).unwrap(), ["scrypt"]);
    let with = |passphrase: &str| {
        let mut owner = OwnerIdentities::new(Answer::new(None));
        owner.add("id", identity().reveal().as_bytes()).unwrap();
        owner.add_passphrase(secret(passphrase));
        owner
    };
    assert_eq!(*open_keys(&with("six words"), &file).unwrap(), TEXT);
    assert!(matches!(open_keys(&with("seven"), &file), Err(SealError::WrongPassphrase)));
    assert!(matches!(open_keys(&with("six words"), &seal_to(&[&*ssh::RSA.public])), Err(SealError::NoKey)));
    assert!(matches!(open_keys(&OwnerIdentities::new(Answer::new(None)), &file), Err(SealError::NoKey)));
    assert!(matches!(seal_keys_with_passphrase(secret(""), TEXT), Err(SealError::EmptyPassphrase)));
}

#[test]
fn a_new_passphrase_file_costs_as_much_as_that_of_age() {
    let file = seal_keys_with_passphrase(secret("six words"), TEXT).unwrap();
    let header = String::from_utf8_lossy(&file[..100]).into_owned();
    assert!(header.lines().nth(1).unwrap().ends_with(" 18"), "{header}");
}

#[test]
fn a_passphrase_file_that_asks_for_too_much_work_is_refused() {
    let file = with_passphrase(TEXT, false);
    let at = file.windows(3).position(|bytes| bytes == b" 4\n").unwrap();
    let mut owner = OwnerIdentities::new(Answer::new(None));
    owner.add_passphrase(secret("six words"));
    for (work, given) in [(21, "21"), (63, "63")] {
        let greedy = [&file[..=at], given.as_bytes(), &file[at + 2..]].concat();
        assert!(matches!(open_keys(&owner, &greedy), Err(SealError::Work { required, limit: 20 }) if required == work));
    }
}

fn encrypted(recipient: &dyn age::Recipient, text: &str, armor: bool) -> Vec<u8> {
    let format = if armor { age::armor::Format::AsciiArmor } else { age::armor::Format::Binary };
    let mut out = Vec::new();
    let armored = age::armor::ArmoredWriter::wrap_output(&mut out, format).unwrap();
    let mut writer = age::Encryptor::with_recipients([recipient].into_iter()).unwrap().wrap_output(armored).unwrap();
    writer.write_all(text.as_bytes()).unwrap();
    writer.finish().unwrap().finish().unwrap();
    out
}

/// With less work than a file of ours has.
fn with_passphrase(text: &str, armor: bool) -> Vec<u8> {
    let mut recipient = age::scrypt::Recipient::new(secret("six words"));
    recipient.set_work_factor(4);
    encrypted(&recipient, text, armor)
}

#[test]
fn an_encrypted_identities_file_asks_for_its_passphrase() {
    let native = identity();
    let file = seal_to(&[&native.recipient().to_string()]);
    for armor in [false, true] {
        let key = with_passphrase(&native.reveal(), armor);
        let answer = Answer::new(Some("six words"));
        assert_eq!(unlock(&file, &key, &answer).unwrap(), TEXT);
        let asked = answer.take_asked();
        assert!(asked.len() == 1 && asked[0].contains("'id'"), "{asked:?}");
        assert!(matches!(unlock(&file, &key, &Answer::new(Some("seven"))), Err(SealError::WrongPassphrase)));
        assert!(matches!(unlock(&file, &key, &Answer::new(None)), Err(SealError::NoPassphrase)));
        let nested = encrypted(&age::x25519::Identity::generate().to_public(), &native.reveal(), armor);
        assert!(matches!(unlock(&file, &nested, &answer), Err(SealError::NestedIdentity)));
    }
}

#[test]
fn a_recipients_file_has_comments_and_blank_lines() {
    let native = identity().recipient().to_string();
    let text = format!("# owners\r\n{native}\r\n\n  {}  \n#{native}\n", &*ssh::ED25519.public);
    let found: Vec<String> = recipients_file(&text).unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(found, [native, ssh::ED25519.public.trim_end_matches(" a test").to_owned()]);
    assert!(matches!(recipients_file("# nobody\n"), Err(SealError::NoRecipients)));
    assert!(matches!(seal_keys(&[], TEXT, Answer::new(None)), Err(SealError::NoRecipients)));
}

#[test]
fn a_wrong_recipient_names_its_line_and_an_example() {
    let native = identity();
    let public = native.recipient().to_string();
    let mut typo = public.clone();
    typo.replace_range(20..21, if &public[20..21] == "q" { "p" } else { "q" });
    // The point zero, for which the `age` crate would panic.
    let zero = bech32::encode::<bech32::Bech32>(bech32::Hrp::parse("age").unwrap(), &[0; 32]).unwrap();
    assert!(zero.parse::<age::x25519::Recipient>().is_ok());
    for (wrong, expected) in [
        (&*typo, "`age1…`, `ssh-ed25519 AAAA…`"),
        (&zero, "`age1…`"),
        ("alice", "`age1…`"),
        ("ssh-ed25519 AAAA", "`ssh-rsa AAAA…`"),
        (&native.reveal(), "not a private one"),
        (ssh::ED25519.private.lines().next().unwrap(), "not a private one"),
        (&*ssh::ECDSA.public, "ssh-ed25519 or ssh-rsa, not ecdsa-sha2-nistp256"),
    ] {
        let error = recipients_file(&format!("# owners\n{public}\n{wrong}\n")).unwrap_err().to_string();
        assert!(error.starts_with("line 3 of the recipients: expected ") && error.contains(expected), "{error}");
        assert!(!error.contains("SECRET-KEY-1"), "{error}");
        assert!(wrong.parse::<OwnerRecipient>().is_err());
    }
    assert!("age1".parse::<OwnerRecipient>().is_err() && "ä".parse::<OwnerRecipient>().is_err());
}

#[test]
fn identities_that_cannot_be_used_say_so() {
    let mut owner = OwnerIdentities::new(Answer::new(None));
    let mut error = |bytes: &[u8]| owner.add("id", bytes).unwrap_err().to_string();
    let broken = format!("# mine\n{}\nAGE-SECRET-KEY-1BROKEN\n", *identity().reveal());
    let message = error(broken.as_bytes());
    assert!(message.starts_with("line 3 of the identities: expected ") && !message.contains("BROKEN"), "{message}");
    assert!(error(b"# none\n").contains("no identity"));
    assert!(error(b"\xff").contains("UTF-8"));
    assert!(error(&vec![b'\n'; 1 << 21]).contains("1048576"));
    assert!(error(ssh::ECDSA.private.as_bytes()).contains("ecdsa-sha2-nistp256"));
    assert!(error(ssh::LOCKED_PEM.private.as_bytes()).contains("ssh-keygen -p"));
    assert!(error(&ssh::RSA.private.as_bytes()[..400]).contains("OPENSSH PRIVATE KEY"));
    assert!(error(&sealed(&identity(), b"")[..100]).contains("too early"));
}

#[test]
fn a_damaged_key_file_is_refused() {
    let native = identity();
    let file = seal_to(&[&native.recipient().to_string()]);
    let answer = Answer::new(None);
    for at in 0..file.len() {
        let mut changed = file.clone();
        changed[at] ^= 1;
        assert!(unlock(&changed, native.reveal().as_bytes(), &answer).is_err(), "{at}");
        assert!(unlock(&file[..at], native.reveal().as_bytes(), &answer).is_err(), "{at}");
    }
    let latin = sealed(&native, b"\xe4");
    assert!(matches!(unlock(&latin, native.reveal().as_bytes(), &answer), Err(SealError::NotText(KeyText::KeyFile))));
    let long = vec![0; (1 << 20) + 1];
    assert!(matches!(unlock(&long, native.reveal().as_bytes(), &answer), Err(SealError::TooLong { .. })));
    assert_eq!(secret("x").expose_secret(), "x");
}
