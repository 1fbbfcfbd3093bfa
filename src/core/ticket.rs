//! The ticket ties an answer to a later label. Signed and self-contained, so any replica can attribute any label
//! without a database, a label cannot be forged, and its age is known.
//!
//! Layout before base64url: version, time (6 bytes, ms), nonce (8), release (8), route, variant, prediction (each with a
//! length byte), and a MAC of 16 bytes over all of that. Integers are big-endian.
//!
//! The MAC is SipHash-2-4 with its 128-bit output (Aumasson & Bernstein, *SipHash: a fast short-input PRF*, 2012) under a 128-bit key
//! that is derived from the secret by SHA-256. It is made for short messages: a ticket is sealed for every answer, and HMAC-SHA-256
//! was an eighth of all that a request cost.

use super::name::{ReleaseKey, RouteName, VariantName};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};
use siphasher::sip128::{Hasher128, SipHasher24};
use std::{fmt, hash::Hasher};

const VERSION: u8 = 1;
const MAC_BYTES: usize = 16;
/// Longest prediction, in bytes of JSON, that rides in the ticket itself; a longer one rides as its digest.
pub const PREDICTION_BYTES_MAX: usize = 64;
/// Longest ticket text that is looked at.
pub const TICKET_CHARS_MAX: usize = 512;

/// The key that the replicas share.
#[derive(Clone)]
pub struct TicketKey(SipHasher24);

impl TicketKey {
    /// A key from secret bytes; at least 16 of them should be random.
    #[must_use]
    pub fn new(secret: &[u8]) -> Self {
        let mut key = [0; 16];
        key.iter_mut().zip(Sha256::digest(secret)).for_each(|(to, from)| *to = from);
        Self(SipHasher24::new_with_key(&key))
    }

    fn mac(&self, message: &[u8]) -> [u8; MAC_BYTES] {
        let mut hasher = self.0;
        hasher.write(message);
        hasher.finish128().as_bytes()
    }
}

impl fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketKey(..)")
    }
}

/// What the variant answered, as far as a ticket can carry it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Prediction {
    /// The protocol does not say where it sits, or it was not there.
    #[default]
    Unknown,
    /// Its JSON text, at most [`PREDICTION_BYTES_MAX`] bytes.
    Value(Box<str>),
    /// The first 8 bytes of the SHA-256 of its JSON text: enough to compare a label of the same text.
    Digest([u8; 8]),
}

impl Prediction {
    /// The prediction with this JSON text.
    #[must_use]
    pub fn of_json(text: &str) -> Self {
        if text.len() <= PREDICTION_BYTES_MAX { Self::Value(text.into()) } else { Self::Digest(digest(text)) }
    }
}

/// The digest that [`Prediction::Digest`] carries.
#[must_use]
pub fn digest(json: &str) -> [u8; 8] {
    let mut first = [0; 8];
    first.iter_mut().zip(Sha256::digest(json.as_bytes())).for_each(|(to, from)| *to = from);
    first
}

/// What a ticket says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ticket {
    /// When the request was answered, milliseconds since 1970 UTC.
    pub at_ms: u64,
    /// Random: no two tickets are the same.
    pub nonce: u64,
    /// The release the route was in; zero if none.
    pub release: ReleaseKey,
    /// The route that answered.
    pub route: RouteName,
    /// The variant that answered.
    pub variant: VariantName,
    /// What it answered.
    pub prediction: Prediction,
}

/// Why a text is not one of our tickets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// Not the shape of a ticket at all.
    #[error("this is not a ticket; send the value of the x-coalmine-ticket header as it came")]
    Malformed,
    /// The shape is right and the signature is not.
    #[error("the ticket's signature is wrong; was it issued by a replica with the same ticket key?")]
    Forged,
}

impl Ticket {
    /// Seals the ticket into header-safe text.
    #[must_use]
    pub fn seal(&self, key: &TicketKey) -> String {
        let mut bytes = Vec::with_capacity(192);
        bytes.push(VERSION);
        bytes.extend_from_slice(self.at_ms.to_be_bytes().get(2..).unwrap_or_default());
        bytes.extend_from_slice(&self.nonce.to_be_bytes());
        bytes.extend_from_slice(&self.release.0.to_be_bytes());
        push(&mut bytes, self.route.as_str().as_bytes());
        push(&mut bytes, self.variant.as_str().as_bytes());
        match &self.prediction {
            Prediction::Unknown => bytes.push(0),
            Prediction::Value(text) => {
                bytes.push(1);
                push(&mut bytes, text.as_bytes());
            }
            Prediction::Digest(digest) => {
                bytes.push(2);
                push(&mut bytes, digest);
            }
        }
        let mac = key.mac(&bytes);
        bytes.extend_from_slice(&mac);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Opens a ticket and checks its signature in constant time.
    ///
    /// # Errors
    /// [`TicketError`]: not a ticket, or not one of ours.
    pub fn open(text: &str, key: &TicketKey) -> Result<Self, TicketError> {
        if text.len() > TICKET_CHARS_MAX {
            return Err(TicketError::Malformed);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| TicketError::Malformed)?;
        let body_bytes = bytes.len().checked_sub(MAC_BYTES).ok_or(TicketError::Malformed)?;
        let (body, mac) = bytes.split_at_checked(body_bytes).ok_or(TicketError::Malformed)?;
        let ticket = Self::parse(body).ok_or(TicketError::Malformed)?;
        // All bytes are compared, wherever the first difference is: time tells a guesser nothing.
        let difference = key.mac(body).iter().zip(mac).fold(0, |sum, (ours, theirs)| sum | (ours ^ theirs));
        if std::hint::black_box(difference) == 0 { Ok(ticket) } else { Err(TicketError::Forged) }
    }

    fn parse(mut body: &[u8]) -> Option<Self> {
        let rest = &mut body;
        if take(rest, 1)? != [VERSION] {
            return None;
        }
        let ticket = Self {
            at_ms: number(take(rest, 6)?),
            nonce: number(take(rest, 8)?),
            release: ReleaseKey(number(take(rest, 8)?)),
            route: RouteName::new(pull(rest)?).ok()?,
            variant: VariantName::new(pull(rest)?).ok()?,
            prediction: match take(rest, 1)? {
                [0] => Prediction::Unknown,
                [1] => Prediction::Value(pull(rest)?.into()),
                [2] => Prediction::Digest(take(rest, 9)?.get(1..)?.try_into().ok()?),
                _ => return None,
            },
        };
        rest.is_empty().then_some(ticket)
    }
}

fn push(bytes: &mut Vec<u8>, part: &[u8]) {
    // Names have at most 63 bytes and predictions at most 64.
    bytes.push(u8::try_from(part.len()).unwrap_or(0));
    bytes.extend_from_slice(part);
}

fn take<'a>(rest: &mut &'a [u8], n: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(n)?;
    *rest = tail;
    Some(head)
}

fn pull<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let length = usize::from(*take(rest, 1)?.first()?);
    std::str::from_utf8(take(rest, length)?).ok()
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(prediction: Prediction) -> Ticket {
        Ticket {
            at_ms: 1_790_000_000_123,
            nonce: 99,
            release: ReleaseKey(7),
            route: RouteName::new("digits").unwrap(),
            variant: VariantName::new("v2").unwrap(),
            prediction,
        }
    }

    #[test]
    fn a_ticket_survives_the_trip() {
        let key = TicketKey::new(b"a key of the replicas");
        for prediction in [Prediction::Unknown, Prediction::of_json("7"), Prediction::of_json(&"x".repeat(65))] {
            let sent = ticket(prediction);
            assert_eq!(Ticket::open(&sent.seal(&key), &key), Ok(sent));
        }
    }

    #[test]
    fn no_changed_byte_goes_unseen() {
        let key = TicketKey::new(b"a key of the replicas");
        let sealed = ticket(Prediction::of_json("7")).seal(&key);
        let bytes = URL_SAFE_NO_PAD.decode(&sealed).unwrap();
        for i in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[i] ^= 1;
            assert!(Ticket::open(&URL_SAFE_NO_PAD.encode(changed), &key).is_err(), "byte {i}");
        }
        assert_eq!(Ticket::open(&sealed, &TicketKey::new(b"another")), Err(TicketError::Forged));
    }

    #[test]
    fn rubbish_is_not_a_ticket() {
        let key = TicketKey::new(b"k");
        for text in ["", "ü", "AAAA", "!!!!", &"A".repeat(TICKET_CHARS_MAX), &"A".repeat(100_000)] {
            assert_eq!(Ticket::open(text, &key), Err(TicketError::Malformed), "{text:.20}");
        }
    }

    #[test]
    fn a_short_prediction_rides_whole_and_a_long_one_as_its_digest() {
        let short = "x".repeat(PREDICTION_BYTES_MAX);
        assert_eq!(Prediction::of_json(&short), Prediction::Value(short.as_str().into()));
        // `printf 'x%.0s' $(seq 65) | sha256sum`
        let first = [0x95, 0x37, 0xc5, 0xfd, 0xf1, 0x20, 0x48, 0x2f];
        assert_eq!(Prediction::of_json(&"x".repeat(65)), Prediction::Digest(first));
    }

    #[test]
    fn a_key_is_never_shown() {
        assert_eq!(format!("{:?}", TicketKey::new(b"a key of the replicas")), "TicketKey(..)");
    }
}
