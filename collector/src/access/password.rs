//! Passwords: what of them is kept, and whether one is right.

use argon2::{Algorithm, Argon2, Params, Version};
use data_encoding::BASE64URL_NOPAD;

use super::error::Error;
use super::secret::random;
use crate::digest::sha256;

/// Shortest password, in characters; there is no rule about which.
const MIN_CHARS: usize = 12;
/// Longest one, in bytes.
const MAX_BYTES: usize = 1024;

/// What a password costs to try out.
///
/// 19 MiB and two passes are the least that OWASP recommends for argon2id, and the default of the
/// crate: some 30 ms of one core. RFC 9106 prefers 64 MiB, which would be a fourth of what the whole
/// collector takes; the number of attempts is bounded otherwise, so the cost counts only for who has
/// stolen the database. One lane: the collector's cores are for batches.
const COST: Cost = Cost {
    memory_kib: 19 << 10,
    passes: 2,
    lanes: 1,
};

/// Most that is believed of what is read from the database: a file that was changed cannot take the
/// machine.
const MOST: Cost = Cost {
    memory_kib: 256 << 10,
    passes: 16,
    lanes: 16,
};

/// Parameters of argon2id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cost {
    pub(super) memory_kib: u32,
    pub(super) passes: u32,
    pub(super) lanes: u32,
}

/// What is kept of a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Hashed {
    pub(super) salt: [u8; 16],
    pub(super) hash: [u8; 32],
    pub(super) cost: Cost,
}

impl std::fmt::Debug for Hashed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hashed({:?})", self.cost)
    }
}

impl Hashed {
    /// Of a new password. Takes 19 MiB of memory and some 30 ms.
    ///
    /// # Errors
    /// When there is no memory or randomness for it.
    pub fn of(password: &str) -> Result<Self, Error> {
        let salt = random()?;
        Ok(Self {
            hash: hash(password, &salt, COST)?,
            salt,
            cost: COST,
        })
    }

    /// That of nobody, which costs as much to try and is of no password.
    #[must_use]
    pub fn of_nobody() -> Self {
        Self {
            salt: [0; 16],
            // No input is known that gives all zeros, and who logs in by it would be nobody.
            hash: [0; 32],
            cost: COST,
        }
    }

    /// Whether it is of this password. Takes as long for each.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn is_of(&self, password: &str) -> Result<bool, Error> {
        let found = hash(password, &self.salt, self.cost)?;
        // Of digests: how many bytes are equal tells nothing about what they are of.
        Ok(sha256(&found) == sha256(&self.hash))
    }
}

fn hash(password: &str, salt: &[u8], cost: Cost) -> Result<[u8; 32], Error> {
    let Cost {
        memory_kib,
        passes,
        lanes,
    } = cost;
    if memory_kib > MOST.memory_kib || passes > MOST.passes || lanes > MOST.lanes {
        return Err(Error::Password);
    }
    let params = Params::new(memory_kib, passes, lanes, Some(32)).map_err(|_| Error::Password)?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut hash = [0; 32];
    argon2
        .hash_password_into(password.as_bytes(), salt, &mut hash)
        .map_err(|_| Error::Password)?;
    Ok(hash)
}

/// A password that nobody has chosen: 144 random bits.
///
/// # Errors
/// The kernel gives no random bytes.
pub fn made_up() -> Result<String, Error> {
    let bytes: [u8; 18] = random()?;
    Ok(BASE64URL_NOPAD.encode(&bytes))
}

/// Whether a text can be a password, for a user of this name.
///
/// # Errors
/// What is expected.
pub fn check(password: &str, user: &str) -> Result<(), String> {
    if password.chars().count() < MIN_CHARS || password.len() > MAX_BYTES {
        return Err(format!(
            "expected a password of at least {MIN_CHARS} characters, and at most {MAX_BYTES} bytes"
        ));
    }
    let distinct: std::collections::BTreeSet<char> = password.chars().collect();
    if distinct.len() < 4
        || password.to_lowercase().contains(user) && password.len() < 2 * user.len()
    {
        return Err(String::from(
            "expected a password that is neither the user's name nor a few characters repeated",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{COST, Cost, Hashed, check, hash, made_up};

    #[test]
    fn a_password_is_its_own_alone_and_each_hash_has_its_salt() {
        let one = Hashed::of("correct horse battery").unwrap();
        let two = Hashed::of("correct horse battery").unwrap();
        assert!(one.is_of("correct horse battery").unwrap());
        assert!(!one.is_of("correct horse batterz").unwrap());
        assert!(!one.is_of("").unwrap());
        assert_ne!((one.salt, one.hash), (two.salt, two.hash));
        assert_eq!(one.cost, COST);
        assert!(!Hashed::of_nobody().is_of("").unwrap());
        assert!(!format!("{one:?}").contains(&format!("{:?}", one.hash[0..2].to_vec())));
    }

    /// A vector of the reference implementation (`test.c`, argon2id of version 0x13).
    #[test]
    fn the_hash_is_argon2id() {
        let small = Cost {
            memory_kib: 256,
            passes: 2,
            lanes: 1,
        };
        let found = hash("password", b"somesalt", small).unwrap();
        let expected = "9dfeb910e80bad0311fee20f9c0e2b12c17987b4cac90c2ef54d5b3021c68bfe";
        assert_eq!(crate::digest::hex(&found), expected);
    }

    #[test]
    fn what_a_changed_database_asks_for_is_bounded() {
        let large = Cost {
            memory_kib: u32::MAX,
            ..COST
        };
        assert!(hash("x", &[0; 16], large).is_err());
    }

    #[test]
    fn short_and_simple_passwords_are_refused_and_made_ones_are_not() {
        for bad in ["", "short", "aaaaaaaaaaaaaaaa", "ababababababab"] {
            assert!(check(bad, "ann").is_err(), "{bad}");
        }
        assert!(check(&"xyz0".repeat(300), "ann").is_err());
        assert!(check("alexandra.smith1", "alexandra.smith").is_err());
        assert!(check("correct horse battery", "ann").is_ok());
        let made = made_up().unwrap();
        assert!(check(&made, "ann").is_ok());
        assert_ne!(made, made_up().unwrap());
    }
}
