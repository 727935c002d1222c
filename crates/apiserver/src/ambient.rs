//! Time and chance of the real world, and what is made of them.

use jiff::Timestamp;
use ring::rand::{SecureRandom, SystemRandom};

use crate::contract::Ambient;

/// The system's clock and random numbers.
#[derive(Debug)]
pub struct System {
    random: SystemRandom,
}

impl System {
    /// The one of this process.
    #[must_use]
    pub fn new() -> Self {
        Self { random: SystemRandom::new() }
    }
}

impl Default for System {
    fn default() -> Self {
        Self::new()
    }
}

impl Ambient for System {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn fill(&self, bytes: &mut [u8]) {
        // getrandom(2) fails on no kernel that this runs on; a server without chance must stop.
        self.random.fill(bytes).expect("the kernel gives random bytes");
    }
}

/// A random (version 4) uid: `9b2e0c4e-….`
pub(crate) fn uid(ambient: &dyn Ambient) -> String {
    let mut bytes = [0_u8; 16];
    ambient.fill(&mut bytes);
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        for digit in [byte >> 4, byte & 0x0f] {
            text.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
        }
    }
    text
}

/// Five characters of upstream's alphabet, which spells no words.
///
/// Source: kubernetes v1.36 apimachinery `pkg/util/rand`, the alphabet only.
pub(crate) fn suffix(ambient: &dyn Ambient) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut bytes = [0_u8; 5];
    ambient.fill(&mut bytes);
    bytes.iter().map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()])).collect()
}
