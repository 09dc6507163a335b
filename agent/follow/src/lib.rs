//! Files of operators: when they are to be read again, and what in them does not show.
//!
//! Somebody looks at each of them once in [`PERIOD`]; what is seen is a [`Stamp`], and [`Watch`],
//! which is pure, decides. Looking instead of being told (inotify): a name can lead through links to
//! other directories, each of which can be replaced, and what is not there yet cannot be watched.
//! A look at a dozen names costs microseconds.

#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

/// Time between two looks. What changed is read at the second look that finds it the same, so that
/// files are whole and those that belong together have been replaced together.
pub const PERIOD: Duration = Duration::from_secs(1);
/// Bytes of a file below `/proc` that are compared; such a file has no time of change.
const SMALL_MAX: u64 = 4096;

/// What was seen at a name: differs whenever what is there may differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stamp {
    /// A file, or whatever is there after all links.
    There {
        /// Device and inode: another one after a rename.
        place: (u64, u64),
        /// Bytes.
        size: u64,
        /// Seconds and nanoseconds of the last change of content, as the file says.
        modified: (i64, i64),
        /// The same of content or attributes, as the kernel says.
        changed: (i64, i64),
    },
    /// The content itself, of files that the kernel makes up while they are read.
    Text(Vec<u8>),
    /// It cannot be looked at.
    Nothing(ErrorKind),
}

impl Stamp {
    /// Looks at a name.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        match fs::metadata(path) {
            Ok(all) => Self::There {
                place: (all.dev(), all.ino()),
                size: all.size(),
                modified: (all.mtime(), all.mtime_nsec()),
                changed: (all.ctime(), all.ctime_nsec()),
            },
            Err(error) => Self::Nothing(error.kind()),
        }
    }

    /// Reads a small file below `/proc`.
    #[must_use]
    pub fn of_text(path: &Path) -> Self {
        let read = || -> io::Result<Vec<u8>> {
            let mut text = Vec::new();
            File::open(path)?.take(SMALL_MAX).read_to_end(&mut text)?;
            Ok(text)
        };
        read().map_or_else(|error| Self::Nothing(error.kind()), Self::Text)
    }

    /// Looks at a name that only has to be the same thing: a directory, whose times say when
    /// something was made in it.
    #[must_use]
    pub fn of_place(path: &Path) -> Self {
        match fs::metadata(path) {
            Ok(all) => Self::There {
                place: (all.dev(), all.ino()),
                size: 0,
                modified: (0, 0),
                changed: (0, 0),
            },
            Err(error) => Self::Nothing(error.kind()),
        }
    }
}

/// One name that is followed.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    /// What was there when it was read.
    read: Option<Stamp>,
    /// What was there at the look before.
    last: Option<Stamp>,
}

impl Watch {
    /// Takes note of what is there now. True: it is to be read, because it is not what was read and
    /// has not changed since the look before; or because it is to be read `at_once`.
    pub fn look(&mut self, now: Stamp, at_once: bool) -> bool {
        let settled = self.last.as_ref() == Some(&now);
        let due = at_once || (settled && self.read.as_ref() != Some(&now));
        if due {
            self.read = Some(now.clone());
        }
        self.last = Some(now);
        due
    }
}

/// Whose limit keeps this process from opening one file more, if any does now.
#[must_use]
pub fn no_more_files() -> Option<&'static str> {
    /// `asm-generic/errno-base.h`
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    let error = File::open("/dev/null").err()?;
    match error.raw_os_error()? {
        EMFILE => Some("the process's (ulimit -n, LimitNOFILE=)"),
        ENFILE => Some("the host's (fs.file-max)"),
        _ => None,
    }
}

/// What a text has that people do not see and programs do not take, if it has any; for messages.
#[must_use]
pub fn unseen(bytes: &[u8]) -> Option<&'static str> {
    if bytes.starts_with(&[0xfe, 0xff]) || bytes.starts_with(&[0xff, 0xfe]) {
        return Some("UTF-16 text: save it as UTF-8");
    }
    let text = String::from_utf8_lossy(bytes);
    text.chars().find_map(|one| match one {
        '\u{feff}' => Some("a byte-order mark (U+FEFF): save it as UTF-8 without one"),
        '\u{a0}' | '\u{202f}' => Some("a no-break space (U+00A0 or U+202F)"),
        '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{ad}' => {
            Some("a character that does not show (U+200B to U+200F, U+2060 or U+00AD)")
        }
        '\u{2018}' | '\u{2019}' | '\u{201c}' | '\u{201d}' => Some("a typographic quotation mark"),
        '\0' => Some("a NUL byte"),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Stamp {
        Stamp::Text(text.into())
    }

    #[test]
    fn what_changed_is_read_once_and_when_it_is_still_the_same() {
        let mut watch = Watch::default();
        let mut look = |now: &str| watch.look(text(now), false);
        // What was read at the start may be older than the first look.
        assert!(!look("a") && look("a") && !look("a"));
        assert!(!look("b"), "perhaps half of it");
        assert!(!look("c") && look("c") && !look("c"));
        assert!(
            !look("b") && !look("c") && !look("c"),
            "back to what was read"
        );
    }

    #[test]
    fn who_asks_has_it_read_at_once_and_then_not_again() {
        let mut watch = Watch::default();
        assert!(watch.look(text("a"), true) && !watch.look(text("a"), false));
        assert!(watch.look(text("a"), true));
        assert!(watch.look(text("b"), true) && !watch.look(text("b"), false));
    }

    #[test]
    fn what_is_gone_and_what_comes_are_changes() {
        let mut watch = Watch::default();
        let nothing = || Stamp::Nothing(ErrorKind::NotFound);
        watch.look(nothing(), true);
        assert!(!watch.look(text("a"), false) && watch.look(text("a"), false));
        assert!(!watch.look(nothing(), false) && watch.look(nothing(), false));
    }

    #[test]
    fn a_stamp_differs_after_a_write_a_rename_over_it_and_another_target_of_a_link() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        let link = at("link");
        let mut stamps = vec![Stamp::of(&link)];
        let mut changed = |what: &str| {
            let now = Stamp::of(&link);
            assert!(!stamps.contains(&now), "{what}: {now:?}");
            assert_eq!(Stamp::of(&link), now);
            stamps.push(now);
        };
        std::os::unix::fs::symlink(at("one"), &link).unwrap();
        fs::write(at("one"), "1").unwrap();
        changed("made later");
        fs::write(at("one"), "12").unwrap();
        changed("written");
        fs::write(at("new"), "34").unwrap();
        fs::rename(at("new"), at("one")).unwrap();
        changed("renamed over");
        fs::write(at("two"), "56").unwrap();
        std::os::unix::fs::symlink(at("two"), at("next")).unwrap();
        fs::rename(at("next"), &link).unwrap();
        changed("the link leads elsewhere");
        fs::remove_file(at("two")).unwrap();
        assert_eq!(Stamp::of(&link), Stamp::Nothing(ErrorKind::NotFound));
    }

    #[test]
    fn files_of_the_kernel_are_compared_by_what_they_say() {
        let path = Path::new("/proc/sys/kernel/ostype");
        assert_eq!(Stamp::of_text(path), text("Linux\n"));
        assert_eq!(
            Stamp::of_text(Path::new("/proc/none")),
            Stamp::Nothing(ErrorKind::NotFound)
        );
    }

    #[test]
    fn a_directory_is_the_same_whatever_is_made_in_it_and_another_one_when_it_was_made_anew() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("group");
        fs::create_dir(&directory).unwrap();
        let first = Stamp::of_place(&directory);
        fs::write(directory.join("file"), "").unwrap();
        assert_eq!(Stamp::of_place(&directory), first);
        fs::rename(&directory, place.path().join("old")).unwrap();
        fs::create_dir(&directory).unwrap();
        assert_ne!(Stamp::of_place(&directory), first);
    }

    #[test]
    fn what_does_not_show_is_named() {
        let named = |text: &str| unseen(text.as_bytes()).unwrap_or_default();
        assert!(named("\u{feff}token").contains("byte-order mark"));
        assert!(named("a =\u{a0}1").contains("no-break space"));
        assert!(named("to\u{200b}ken").contains("does not show"));
        assert!(named("a = \u{201c}b\u{201d}").contains("quotation"));
        assert!(unseen(b"\xff\xfet\0o\0").unwrap().contains("UTF-16"));
        assert_eq!(named("plain \u{e4} text\r\n"), "");
    }
}
