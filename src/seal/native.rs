//! Native age keys: X25519 recipients and identities.
//!
//! Owns their text forms and the random bytes they are made of.
//! Invariants: a recipient is never one of the points for which everybody knows the shared secret; an identity is wiped
//! from memory when it is dropped, and `Debug` does not show it.

use std::fmt;
use std::str::FromStr;

use bech32::Hrp;
use bech32::primitives::decode::CheckedHrpstring;
use x25519_dalek::{PublicKey, SharedSecret, StaticSecret};
use zeroize::Zeroizing;

use super::error::SealError;

const RECIPIENT: Hrp = Hrp::parse_unchecked("age");
const IDENTITY: Hrp = Hrp::parse_unchecked("age-secret-key-");
/// The length of an identity as text.
const IDENTITY_LEN: usize = 74;
const RECIPIENT_FORM: &str = "a recipient like `age1…` with 62 characters";
const IDENTITY_FORM: &str = "an identity like `AGE-SECRET-KEY-1…` with 74 characters";

/// Fills `bytes` with random bytes of the system that are fit for keys.
///
/// # Errors
/// [`SealError::NoRandom`]. There is no weaker source to fall back on.
pub(super) fn fill_random(bytes: &mut [u8]) -> Result<(), SealError> {
    let mut filled = 0;
    while filled < bytes.len() {
        match rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty()) {
            Ok(0) => return Err(SealError::NoRandom),
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return Err(SealError::NoRandom),
        }
    }
    Ok(())
}

/// The public half of an X25519 key: what is sealed to it, only its [`Identity`] opens.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Recipient(PublicKey);

impl Recipient {
    pub(super) fn public(&self) -> &PublicKey {
        &self.0
    }
}

impl FromStr for Recipient {
    type Err = SealError;

    /// Accepts the one canonical form only, in lower case.
    fn from_str(text: &str) -> Result<Self, SealError> {
        let wrong = || SealError::NativeKey(RECIPIENT_FORM);
        let recipient = Self(PublicKey::from(*decode(RECIPIENT, text).ok_or_else(wrong)?));
        // Any secret shows whether the point is of low order, because all secrets are multiples of 8.
        let usable = StaticSecret::from([1; 32]).diffie_hellman(&recipient.0).was_contributory();
        if usable && recipient.to_string() == text { Ok(recipient) } else { Err(wrong()) }
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        bech32::encode_lower_to_fmt::<bech32::Bech32, _>(f, RECIPIENT, self.0.as_bytes()).map_err(|_| fmt::Error)
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recipient({self})")
    }
}

/// The private half of an X25519 key.
#[derive(Clone)]
pub struct Identity {
    secret: StaticSecret,
    public: Recipient,
}

impl Identity {
    /// A new identity.
    ///
    /// # Errors
    /// [`SealError::NoRandom`].
    pub fn random() -> Result<Self, SealError> {
        let mut bytes = Zeroizing::new([0; 32]);
        fill_random(&mut *bytes)?;
        Ok(Self::new(&bytes))
    }

    fn new(bytes: &Zeroizing<[u8; 32]>) -> Self {
        let secret = StaticSecret::from(**bytes);
        let public = Recipient(PublicKey::from(&secret));
        Self { secret, public }
    }

    /// The public half.
    pub fn recipient(&self) -> Recipient {
        self.public
    }

    /// The identity as text. This is the secret itself.
    pub fn reveal(&self) -> Zeroizing<String> {
        // As long as the text from the start, so that no shorter copy is left in memory.
        let mut text = Zeroizing::new(String::with_capacity(IDENTITY_LEN));
        // Writing into a string of the right length cannot fail; half a key is never given out.
        if bech32::encode_upper_to_fmt::<bech32::Bech32, _>(&mut *text, IDENTITY, self.secret.as_bytes()).is_err() {
            text.clear();
        }
        text
    }

    pub(super) fn shared(&self, share: &PublicKey) -> SharedSecret {
        self.secret.diffie_hellman(share)
    }

    /// A key for another purpose. Only a holder of the identity can compute it.
    pub(super) fn derive(&self, context: &'static str) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(blake3::derive_key(context, self.secret.as_bytes()))
    }
}

impl FromStr for Identity {
    type Err = SealError;

    /// Accepts the one canonical form only, in upper case.
    fn from_str(text: &str) -> Result<Self, SealError> {
        let wrong = || SealError::NativeKey(IDENTITY_FORM);
        let identity = Self::new(&decode(IDENTITY, text).ok_or_else(wrong)?);
        if *identity.reveal() == text { Ok(identity) } else { Err(wrong()) }
    }
}

/// Two identities are equal if their public halves are.
impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.public == other.public
    }
}

impl Eq for Identity {}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(…)")
    }
}

fn decode(prefix: Hrp, text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let parsed = CheckedHrpstring::new::<bech32::Bech32>(text).ok()?;
    let bytes = parsed.byte_iter();
    if parsed.hrp() != prefix || bytes.len() != 32 {
        return None;
    }
    let mut key = Zeroizing::new([0; 32]);
    key.iter_mut().zip(bytes).for_each(|(to, byte)| *to = byte);
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";
    const PUBLIC: &str = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";

    #[test]
    fn the_text_forms_are_those_of_age() {
        let identity: Identity = SECRET.parse().unwrap();
        assert_eq!((identity.reveal().as_str(), identity.recipient().to_string().as_str()), (SECRET, PUBLIC));
        assert_eq!(PUBLIC.parse::<Recipient>().unwrap(), identity.recipient());
        let new = Identity::random().unwrap();
        assert_eq!(new.reveal().parse::<age::x25519::Identity>().unwrap().to_public().to_string(), new.recipient().to_string());
        assert_ne!(new, Identity::random().unwrap());
    }

    #[test]
    fn other_forms_are_refused_and_not_shown() {
        let broken = |text: &str, at: usize| {
            let swap = if text.as_bytes()[at] == b'q' || text.as_bytes()[at] == b'Q' { "p" } else { "q" };
            format!("{}{swap}{}", &text[..at], &text[at + 1..])
        };
        for text in [SECRET.to_lowercase(), broken(SECRET, 30), SECRET[..70].into(), format!("{SECRET} "), PUBLIC.into(), String::new()] {
            let error = text.parse::<Identity>().unwrap_err().to_string();
            assert!(error.contains("AGE-SECRET-KEY-1…") && !error.contains("1GQ9"), "{error}");
        }
        for text in [PUBLIC.to_uppercase(), broken(PUBLIC, 30), PUBLIC[..60].into(), SECRET.into(), "age1".into()] {
            assert!(text.parse::<Recipient>().is_err(), "{text}");
        }
        assert_eq!(format!("{:?}", SECRET.parse::<Identity>().unwrap()), "Identity(…)");
    }

    #[test]
    fn a_point_whose_shared_secret_everybody_knows_is_no_recipient() {
        for point in [[0; 32], std::array::from_fn(|i| u8::from(i == 0))] {
            let text = Recipient(PublicKey::from(point)).to_string();
            assert!(text.parse::<Recipient>().is_err(), "{text}");
        }
    }
}
