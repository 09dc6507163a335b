//! Waybills in packets: verified as the kernel programs do it (`bpf/families/connection/option.bpf.h`). Pure.

use std::hash::Hasher as _;

use bpf::abi;
use siphasher::sip::SipHasher24;

use crate::config::Key;
use crate::frame::OPTION_BYTES;

/// What became of waybills, named like the kernel's counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fates {
    /// Right.
    pub(crate) read: u64,
    /// Wrong MAC.
    pub(crate) bad_mac: u64,
    /// Unknown version.
    pub(crate) malformed: u64,
    /// Of a key that this host does not have.
    pub(crate) unknown_epoch: u64,
}

/// Token and flags of a waybill whose MAC is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waybill {
    /// Never 0.
    pub(crate) token: u64,
    /// `WB_OPTION_*`.
    pub(crate) flags: u8,
}

/// Keys by their slot, and what they opened.
#[derive(Debug)]
pub(crate) struct Reader {
    keys: [Option<(u32, [u8; 16])>; abi::WB_KEY_SLOTS as usize],
    fates: Fates,
}

impl Reader {
    pub(crate) fn new(keys: &[Key]) -> Self {
        let mut reader = Self {
            keys: [None; abi::WB_KEY_SLOTS as usize],
            fates: Fates::default(),
        };
        reader.change_keys(keys);
        reader
    }

    /// Judges by these keys from now on.
    pub(crate) fn change_keys(&mut self, keys: &[Key]) {
        self.keys = [None; abi::WB_KEY_SLOTS as usize];
        for key in keys {
            if let Some(slot) = self.keys.get_mut(usize::from(key.slot())) {
                *slot = Some((key.epoch, *key.secret.expose()));
            }
        }
    }

    pub(crate) const fn fates(&self) -> Fates {
        self.fates
    }

    /// What an option says, if it is to be believed; counted either way.
    pub(crate) fn read(&mut self, option: &[u8; OPTION_BYTES]) -> Option<Waybill> {
        let [_, _, _, _, token @ .., flags, mac0, mac1, mac2] = *option;
        let version = u32::from(flags) >> abi::WB_OPTION_VERSION_SHIFT;
        let slot = (u32::from(flags) >> abi::WB_OPTION_EPOCH_SHIFT) & abi::WB_OPTION_EPOCH_MASK;
        if version != abi::WB_OPTION_VERSION {
            self.fates.malformed += 1;
            return None;
        }
        let Some((epoch, secret)) = self.keys.get(slot as usize).copied().flatten() else {
            self.fates.unknown_epoch += 1;
            return None;
        };
        if mac(&secret, epoch, token, flags) != [mac0, mac1, mac2] {
            self.fates.bad_mac += 1;
            return None;
        }
        let token = u64::from_be_bytes(token);
        // 0 is what the kernel's records have for "none".
        if token == 0 {
            self.fates.malformed += 1;
            return None;
        }
        self.fates.read += 1;
        Some(Waybill { token, flags })
    }
}

/// The first three bytes of SipHash-2-4 over token, flags and epoch.
fn mac(secret: &[u8; 16], epoch: u32, token: [u8; 8], flags: u8) -> [u8; 3] {
    let mut hasher = SipHasher24::new_with_key(secret);
    hasher.write(&token);
    hasher.write(&(u64::from(flags) | (u64::from(epoch) << 8)).to_le_bytes());
    let [first, second, third, ..] = hasher.finish().to_le_bytes();
    [first, second, third]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::Secret;

    fn reader() -> Reader {
        Reader::new(&[Key {
            epoch: 5,
            secret: Secret::new([7; 16]),
        }])
    }

    /// Version 1, epoch 5 in slot 1.
    const FLAGS: u8 = (1 << 6) | (1 << 4);

    fn option(token: u64, flags: u8) -> [u8; OPTION_BYTES] {
        let mut option = [0; OPTION_BYTES];
        option[..4].copy_from_slice(&[253, 16, 0x57, 0x42]);
        option[4..12].copy_from_slice(&token.to_be_bytes());
        option[12] = flags;
        option[13..].copy_from_slice(&mac(&[7; 16], 5, token.to_be_bytes(), flags));
        option
    }

    #[test]
    fn a_right_one_is_read_and_each_wrong_one_is_counted_by_its_reason() {
        let mut reader = reader();
        let read = reader.read(&option(9, FLAGS | 2));
        assert_eq!(
            read,
            Some(Waybill {
                token: 9,
                flags: FLAGS | 2
            })
        );
        let mut forged = option(9, FLAGS);
        forged[15] ^= 1;
        assert_eq!(reader.read(&forged), None);
        assert_eq!(reader.read(&option(9, FLAGS ^ (1 << 6))), None);
        assert_eq!(reader.read(&option(9, FLAGS ^ (1 << 4))), None);
        let fates = reader.fates();
        let counted = (fates.read, fates.bad_mac, fates.malformed);
        assert_eq!((counted, fates.unknown_epoch), ((1, 1, 1), 1));
    }

    proptest! {
        #[test]
        fn every_option_has_exactly_one_fate(bytes in any::<[u8; OPTION_BYTES]>()) {
            let mut reader = reader();
            let _ignored = reader.read(&bytes);
            let Fates { read, bad_mac, malformed, unknown_epoch } = reader.fates();
            prop_assert_eq!(read + bad_mac + malformed + unknown_epoch, 1);
        }
    }
}
