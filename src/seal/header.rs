//! The header of an age v1 file: ours is written at a fixed length, any other is read.
//!
//! Owns the keys of one file and the syntax of the header, as strict as <https://c2sp.org/age> demands.
//! Invariants: what is written has one X25519 stanza and [`HEADER`] bytes; a header with a wrong MAC gives no key; at most
//! [`LIMIT`] bytes of a header are read.

use std::fmt;
use std::io::{BufRead, Read};

use age_core::primitives::{aead_decrypt, aead_encrypt, hkdf};
use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD as BASE64;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::{Zeroize, Zeroizing};

use super::error::SealError;
use super::native::{Identity, Recipient, fill_random};

/// The length of the header that is written: lines of 22, 54, 44 and 48 bytes.
pub const HEADER: usize = 168;
/// The length of the nonce between header and payload.
pub const NONCE: usize = 16;
/// What lies before the first chunk of a file that is written here.
pub const PREFIX: usize = HEADER + NONCE;

/// The longest header that is read.
const LIMIT: usize = 64 * 1024;
const VERSION: &[u8] = b"age-encryption.org/v1\n";
const MAGIC: &[u8] = b"age-encryption.org/";
const X25519: &str = "X25519";
const WRAP_LABEL: &[u8] = b"age-encryption.org/v1/X25519";
/// The file key and its tag in a stanza.
const WRAPPED: usize = 32;
/// Lines of a stanza's body have this length, and the last one is shorter.
const COLUMNS: usize = 64;
/// The end of the header that the MAC does not cover: a blank, 43 characters, a line feed.
const MAC_TEXT: usize = 45;

/// The key of one age file, from which all others of it follow.
#[derive(Clone, PartialEq, Eq)]
pub struct FileKey(Zeroizing<[u8; 16]>);

impl FileKey {
    /// The key with these bytes.
    pub fn new(bytes: [u8; 16]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Its bytes, which are secret.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The key of the payload that follows `nonce`.
    pub fn payload_key(&self, nonce: &[u8; NONCE]) -> PayloadKey {
        PayloadKey::new(hkdf(nonce, b"payload", &*self.0))
    }

    /// The MAC over everything up to and with the `---` of a header.
    fn mac(&self, header: &[u8]) -> Result<Hmac<Sha256>, SealError> {
        let key = Zeroizing::new(hkdf(&[], b"header", &*self.0));
        Ok(<Hmac<Sha256> as Mac>::new_from_slice(&*key).map_err(|_| SealError::Cipher)?.chain_update(header))
    }
}

impl fmt::Debug for FileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileKey(…)")
    }
}

/// The key of a payload. It opens the chunks of one file without its header.
#[derive(Clone, PartialEq, Eq)]
pub struct PayloadKey(Zeroizing<[u8; 32]>);

impl PayloadKey {
    /// The key with these bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Its bytes, which are secret.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for PayloadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PayloadKey(…)")
    }
}

/// The secrets that one file is made with. They must never serve for two different plaintexts.
pub struct FileSecrets {
    file_key: FileKey,
    ephemeral: StaticSecret,
    nonce: [u8; NONCE],
}

impl FileSecrets {
    /// Secrets of a file that nobody makes again.
    ///
    /// # Errors
    /// [`SealError::NoRandom`].
    pub fn random() -> Result<Self, SealError> {
        let (mut key, mut ephemeral, mut nonce) = (Zeroizing::new([0; 16]), Zeroizing::new([0; 32]), [0; NONCE]);
        fill_random(&mut *key)?;
        fill_random(&mut *ephemeral)?;
        fill_random(&mut nonce)?;
        Ok(Self { file_key: FileKey(key), ephemeral: StaticSecret::from(*ephemeral), nonce })
    }

    /// Secrets that follow from `key` and the BLAKE3 of the whole plaintext, so that the same plaintext becomes the same
    /// object for the same recipient. Without `key`, nobody learns more than that two objects are equal.
    pub fn derived(key: &[u8; 32], plain_hash: &[u8; 32]) -> Self {
        let ephemeral = Zeroizing::new(expand("offsite 2026-11 derived age file: ephemeral secret", key, plain_hash));
        Self {
            file_key: FileKey::new(expand("offsite 2026-11 derived age file: file key", key, plain_hash)),
            ephemeral: StaticSecret::from(*ephemeral),
            nonce: expand("offsite 2026-11 derived age file: payload nonce", key, plain_hash),
        }
    }

    /// The key of the file.
    pub fn file_key(&self) -> &FileKey {
        &self.file_key
    }

    /// The key of its payload.
    pub fn payload_key(&self) -> PayloadKey {
        self.file_key.payload_key(&self.nonce)
    }

    /// Appends header and nonce: [`PREFIX`] bytes.
    pub(super) fn write_prefix(&self, recipient: &Recipient, out: &mut Vec<u8>) -> Result<(), SealError> {
        let share = PublicKey::from(&self.ephemeral);
        let shared = self.ephemeral.diffie_hellman(recipient.public());
        let key = wrap_key(&share, recipient, shared.as_bytes());
        let wrapped = aead_encrypt(&key, self.file_key.as_bytes());
        let mut text = String::with_capacity(HEADER);
        text.push_str("age-encryption.org/v1\n-> X25519 ");
        BASE64.encode_string(share.as_bytes(), &mut text);
        text.push('\n');
        BASE64.encode_string(wrapped, &mut text);
        text.push_str("\n---");
        let mac = self.file_key.mac(text.as_bytes())?.finalize().into_bytes();
        text.push(' ');
        BASE64.encode_string(mac, &mut text);
        text.push('\n');
        out.extend_from_slice(text.as_bytes());
        out.extend_from_slice(&self.nonce);
        Ok(())
    }
}

impl fmt::Debug for FileSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileSecrets(…)")
    }
}

fn expand<const N: usize>(context: &'static str, key: &[u8; 32], plain_hash: &[u8; 32]) -> [u8; N] {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    hasher.update(key).update(plain_hash);
    let mut bytes = [0; N];
    let mut output = hasher.finalize_xof();
    output.fill(&mut bytes);
    output.zeroize();
    hasher.zeroize();
    bytes
}

fn wrap_key(share: &PublicKey, recipient: &Recipient, shared: &[u8; 32]) -> Zeroizing<[u8; 32]> {
    let salt = [*share.as_bytes(), *recipient.public().as_bytes()].concat();
    Zeroizing::new(hkdf(&salt, WRAP_LABEL, shared))
}

/// Reads a header up to the nonce and gives its file key.
///
/// # Errors
/// [`SealError::NoKey`] if no X25519 stanza is for one of `identities`; else what is wrong with the header.
pub(super) fn read_header(input: &mut impl BufRead, identities: &[Identity]) -> Result<FileKey, SealError> {
    let bytes = gather(input)?;
    let (stanzas, mac) = parse(&bytes)?;
    let key = unwrap(&stanzas, identities)?.ok_or(SealError::NoKey)?;
    let covered = &bytes[..bytes.len() - MAC_TEXT];
    key.mac(covered)?.verify_slice(&mac).map_err(|_| SealError::Header("its MAC is wrong"))?;
    Ok(key)
}

/// Reads the nonce behind a header.
pub(super) fn read_nonce(input: &mut impl Read) -> Result<[u8; NONCE], SealError> {
    let mut nonce = [0; NONCE];
    match input.read_exact(&mut nonce) {
        Ok(()) => Ok(nonce),
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => Err(SealError::Truncated),
        Err(e) => Err(e.into()),
    }
}

/// The types of all stanzas in the header of `file`, which needs no key. The MAC is not checked.
pub(super) fn stanza_types(mut file: &[u8]) -> Result<Vec<String>, SealError> {
    let bytes = gather(&mut file)?;
    Ok(parse(&bytes)?.0.iter().map(|stanza| stanza.kind.to_owned()).collect())
}

/// All lines up to the one with the MAC.
fn gather(input: &mut impl BufRead) -> Result<Vec<u8>, SealError> {
    let mut bytes = Vec::with_capacity(HEADER);
    loop {
        let start = bytes.len();
        input.by_ref().take((LIMIT - start) as u64).read_until(b'\n', &mut bytes)?;
        let line = &bytes[start..];
        if start == 0 && line != VERSION {
            return Err(if VERSION.starts_with(line) {
                SealError::Truncated
            } else if line.starts_with(MAGIC) {
                SealError::UnknownVersion
            } else {
                SealError::NotAge
            });
        }
        if !line.ends_with(b"\n") {
            return Err(if bytes.len() == LIMIT { SealError::LongHeader(LIMIT) } else { SealError::Truncated });
        }
        if line.starts_with(b"---") {
            return Ok(bytes);
        }
    }
}

struct Stanza<'a> {
    kind: &'a str,
    args: Vec<&'a str>,
    body: Vec<u8>,
}

fn parse(header: &[u8]) -> Result<(Vec<Stanza<'_>>, [u8; 32]), SealError> {
    let text = std::str::from_utf8(header).map_err(|_| SealError::Header("a byte is not ASCII"))?;
    let mut lines = text.split_terminator('\n').skip(1);
    let mut stanzas = Vec::new();
    while let Some(line) = lines.next() {
        if let Some(mac) = line.strip_prefix("--- ") {
            let mac = decode(mac).ok_or(SealError::Header("its MAC is not 32 bytes in base64"))?;
            // A passphrase stanza promises that the sealer knew the passphrase, so nothing else may open the file.
            let alone = stanzas.len() == 1 || stanzas.iter().all(|stanza: &Stanza<'_>| stanza.kind != "scrypt");
            return match stanzas.is_empty() {
                true => Err(SealError::Header("it has no stanza")),
                false if alone => Ok((stanzas, mac)),
                false => Err(SealError::Header("a passphrase stanza is not the only one")),
            };
        }
        let arguments = line.strip_prefix("-> ").ok_or(SealError::Header("a line begins neither a stanza nor the MAC"))?;
        let mut args = arguments.split(' ');
        let valid = |arg: &str| !arg.is_empty() && arg.bytes().all(|byte| byte.is_ascii_graphic());
        if !args.clone().all(valid) {
            return Err(SealError::Header("an argument of a stanza is not allowed"));
        }
        stanzas.push(Stanza { kind: args.next().unwrap_or_default(), args: args.collect(), body: body(&mut lines)? });
    }
    Err(SealError::Truncated)
}

/// The body of a stanza: full lines, then a shorter one, which may be empty.
fn body<'a>(lines: &mut impl Iterator<Item = &'a str>) -> Result<Vec<u8>, SealError> {
    let mut encoded = String::new();
    for line in lines {
        if line.len() > COLUMNS {
            break;
        }
        encoded.push_str(line);
        if line.len() < COLUMNS {
            return BASE64.decode(encoded).map_err(|_| SealError::Header("the body of a stanza is not canonical base64"));
        }
    }
    Err(SealError::Header("the body of a stanza does not end in a short line"))
}

fn decode(text: &str) -> Option<[u8; 32]> {
    BASE64.decode(text).ok()?.try_into().ok()
}

/// The file key, if a stanza is for one of the identities. All X25519 stanzas must be well formed.
fn unwrap(stanzas: &[Stanza<'_>], identities: &[Identity]) -> Result<Option<FileKey>, SealError> {
    let mut found = None;
    for stanza in stanzas.iter().filter(|stanza| stanza.kind == X25519) {
        let share = match stanza.args[..] {
            [share] if stanza.body.len() == WRAPPED => decode(share),
            _ => None,
        };
        let share = PublicKey::from(share.ok_or(SealError::Header("an X25519 stanza is malformed"))?);
        for identity in identities {
            if found.is_some() {
                break;
            }
            let shared = identity.shared(&share);
            if !shared.was_contributory() {
                return Err(SealError::Header("an X25519 stanza has a share of low order"));
            }
            let key = wrap_key(&share, &identity.recipient(), shared.as_bytes());
            let opened = aead_decrypt(&key, 16, &stanza.body).ok().map(Zeroizing::new);
            found = opened.and_then(|key| Some(FileKey(Zeroizing::new(key.as_slice().try_into().ok()?))));
        }
    }
    Ok(found)
}
