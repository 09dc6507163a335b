//! A connection's name that both ends can make without a word between them.
//!
//! The two initial sequence numbers of a connection (RFC 9293, section 3.4.1) are 64 random bits
//! that both ends know, whatever rewrote the addresses between them. Where a middlebox rewrites a
//! sequence number too (SYN proxies, load balancers that splice), the ends make different names and
//! are not joined by them: that costs recall, never precision.

use std::hash::Hasher as _;

use siphasher::sip::SipHasher24;

/// Not a secret: every agent must make the same name. The hash keeps a reader of batches from
/// learning numbers with which it could inject segments into a living connection.
const KEY: [u8; 16] = *b"waybill sequence";

/// The name of a connection, never 0.
///
/// `client` and `server` are the sequence numbers of the first byte that each end can send, which is
/// its initial sequence number plus one.
#[must_use]
pub fn fingerprint(client: u32, server: u32) -> u64 {
    let mut hasher = SipHasher24::new_with_key(&KEY);
    hasher.write(&client.to_be_bytes());
    hasher.write(&server.to_be_bytes());
    hasher.finish().max(1)
}

#[cfg(test)]
mod tests {
    use super::fingerprint;

    #[test]
    fn the_name_is_the_same_for_every_agent_of_every_version() {
        assert_eq!(fingerprint(1, 2), 10_686_532_749_505_230_552);
    }

    #[test]
    fn the_ends_are_not_to_be_swapped() {
        assert_ne!(fingerprint(1, 2), fingerprint(2, 1));
    }
}
