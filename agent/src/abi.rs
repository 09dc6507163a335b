//! The oldest kernel that the program itself runs on: what its C library was built for.
//!
//! It stands in the program as a note, `.note.ABI-tag`, which the linker copies from the static C
//! library (Linux Standard Base, core specification, 10.6). On an older kernel that library ends the
//! program before anything of the agent runs, with `FATAL: kernel too old` and exit code 127.
//! What the agent can do on a kernel is another question, answered by `doctor`.

use std::fs::File;
use std::io::Read as _;

/// Program headers come first in the file, and notes soon after them.
const ENOUGH: u64 = 64 << 10;
/// `PT_NOTE` in elf.h.
const PT_NOTE: u32 = 4;
/// `NT_GNU_ABI_TAG`, of owner `GNU`, in elf.h; its first word is 0 for Linux.
const ABI_TAG: u32 = 1;
const OWNER: &[u8] = b"GNU\0";

/// The release, such as `3.2.0`; `None` where the program does not say.
#[must_use]
pub fn minimal_kernel() -> Option<String> {
    let mut start = Vec::new();
    let program = File::open("/proc/self/exe").ok()?;
    program.take(ENOUGH).read_to_end(&mut start).ok()?;
    of(&start)
}

/// From the beginning of a 64-bit little-endian program (elf(5)).
fn of(program: &[u8]) -> Option<String> {
    if program.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let headers = usize::try_from(word(program, 0x20, 8)?).ok()?;
    let size = usize::try_from(word(program, 0x36, 2)?).ok()?;
    let count = usize::try_from(word(program, 0x38, 2)?).ok()?;
    (0..count).find_map(|index| {
        let header = headers.checked_add(index.checked_mul(size)?)?;
        let header = program.get(header..)?;
        if word(header, 0, 4)? != u64::from(PT_NOTE) {
            return None;
        }
        let from = usize::try_from(word(header, 8, 8)?).ok()?;
        let length = usize::try_from(word(header, 32, 8)?).ok()?;
        in_notes(program.get(from..from.checked_add(length)?)?)
    })
}

fn in_notes(mut notes: &[u8]) -> Option<String> {
    loop {
        let name = usize::try_from(word(notes, 0, 4)?).ok()?;
        let length = usize::try_from(word(notes, 4, 4)?).ok()?;
        let kind = word(notes, 8, 4)?;
        let owner = notes.get(12..12_usize.checked_add(name)?)?;
        let from = 12_usize.checked_add(name)?.checked_next_multiple_of(4)?;
        let text = notes.get(from..from.checked_add(length)?)?;
        if owner == OWNER && kind == u64::from(ABI_TAG) && word(text, 0, 4)? == 0 {
            let [major, minor, patch] = [word(text, 4, 4)?, word(text, 8, 4)?, word(text, 12, 4)?];
            return Some(format!("{major}.{minor}.{patch}"));
        }
        notes = notes.get(from.checked_add(length)?.checked_next_multiple_of(4)?..)?;
    }
}

/// A little-endian number.
fn word(bytes: &[u8], at: usize, length: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(length)?)?;
    let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
    Some(bytes.iter().rev().fold(0, add))
}

#[cfg(test)]
mod tests {
    use super::{minimal_kernel, of};
    use proptest::prelude::*;

    /// A program of one header and these notes.
    fn program(notes: &[u8]) -> Vec<u8> {
        let mut program = b"\x7fELF\x02\x01".to_vec();
        program.resize(0x40, 0);
        program[0x20] = 0x40;
        program[0x36] = 56;
        program[0x38] = 1;
        let mut header = vec![0; 56];
        header[0] = 4;
        header[8] = 0x78;
        header[32] = u8::try_from(notes.len()).unwrap();
        program.extend(header);
        program.extend(notes);
        program
    }

    fn note(kind: u8, text: &[u8]) -> Vec<u8> {
        let length = u8::try_from(text.len()).unwrap();
        let mut note = vec![4, 0, 0, 0, length, 0, 0, 0, kind, 0, 0, 0];
        note.extend(b"GNU\0");
        note.extend(text);
        note
    }

    #[test]
    fn the_note_is_found_behind_others() {
        let tag = [0, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 7, 0, 0, 0];
        let notes = [note(3, &[9; 20]), note(1, &tag)].concat();
        assert_eq!(of(&program(&notes)).as_deref(), Some("3.2.7"));
        assert_eq!(of(&program(&note(3, &[9; 20]))), None);
        assert_eq!(of(b"#!/bin/sh"), None);
    }

    #[test]
    fn this_program_names_its_kernel() {
        let release = minimal_kernel().unwrap();
        assert_eq!(release.split('.').count(), 3, "{release}");
    }

    proptest! {
        #[test]
        fn whatever_the_bytes_are_nothing_breaks(
            notes in prop::collection::vec(any::<u8>(), 0..200),
            at in 6_usize..120,
            byte in any::<u8>(),
        ) {
            let mut program = program(&notes);
            if let Some(place) = program.get_mut(at) {
                *place = byte;
            }
            of(&program);
        }
    }
}
