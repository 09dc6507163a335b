//! The process that reads the operator's files again when they change: the only one that still sees
//! them after the start.
//!
//! The agent is in its jail and no root, the files are outside and root's. So it is another process
//! that looks: it stays where the agent was started, takes no order but to look now, and understands
//! nothing of what it reads. It says what changed, and copies the files by which names are resolved
//! into the jail. The agent's end, however it comes, closes the connection between the two.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use follow::{PERIOD, Stamp, Watch};
use log::warn;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};

use crate::config::{self, Content, MAX_FILE};
use crate::jail::{self, HelperNeeds};

/// The host's files by which names are resolved.
pub const NAME_FILES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];
/// Kind, number of the file, bytes that follow.
const HEAD_BYTES: usize = 7;
/// Largest message: a file, and its mode.
const BODY_MAX: u64 = MAX_FILE + 4;
/// Bytes read in one turn of the event loop.
const TURN_BYTES: usize = 256 << 10;

const CONTENT: u8 = 0;
const UNREADABLE: u8 = 1;
const NAMES: u8 = 2;
const LOOKED: u8 = 3;

/// What the reader says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// A file changed: its number, and what it holds now or why it cannot be read.
    File(usize, Result<Content, String>),
    /// Files by which names are resolved changed, and were copied; or why they could not be.
    Names(Result<(), String>),
    /// What changed together has all been said.
    Looked,
}

/// The agent's end of the connection; dropped, the process ends.
#[derive(Debug)]
pub struct Reader {
    process: i32,
    socket: OwnedFd,
    unread: Vec<u8>,
}

impl Reader {
    /// Makes a process that follows `files`, whose content is known, and copies [`NAME_FILES`] below
    /// `rootfs`. To be called outside of the jail, while the agent has one thread.
    ///
    /// # Errors
    /// The process cannot be made.
    pub fn start(
        rootfs: &Path,
        files: Vec<(PathBuf, Content)>,
        needs: &HelperNeeds,
    ) -> Result<Self> {
        let (own, other) = socketpair(
            AddressFamily::Unix,
            SockType::Stream,
            None,
            SockFlag::SOCK_CLOEXEC,
        )
        .context("connect with the reader of files")?;
        jail::require_one_thread()?;
        let Some(process) = bpf::process::fork().context("make the reader of files")? else {
            drop(own);
            let kept = [other.as_raw_fd()];
            let code = match jail::confine_companion(c"waybill-reader", needs, &kept) {
                Ok(()) => {
                    Looks::new(rootfs, files).run(other.as_fd());
                    0
                }
                Err(error) => {
                    warn!(error = format!("{error:#}").as_str(); "reader of files not confined");
                    1
                }
            };
            std::process::exit(code);
        };
        Ok(Self {
            process,
            socket: own,
            unread: Vec::new(),
        })
    }

    /// Its process id.
    #[must_use]
    pub const fn process(&self) -> i32 {
        self.process
    }

    /// Has every file read again at once.
    pub fn ask(&self) {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        // Full: it was asked already. Closed: that shows at the next hearing.
        let _sent = send(self.socket.as_raw_fd(), &[0], flags);
    }

    /// Takes what it said, some in each turn.
    ///
    /// # Errors
    /// It ended, or says what it cannot: nobody follows the files.
    pub fn hear(&mut self) -> io::Result<Vec<News>> {
        let mut news = Vec::new();
        let mut buffer = [0; 16 << 10];
        let mut taken = 0;
        while taken < TURN_BYTES {
            match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => {
                    taken += length;
                    let bytes = buffer.get(..length).unwrap_or_default();
                    self.unread.extend_from_slice(bytes);
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => break,
                Err(error) => return Err(error.into()),
            }
        }
        while let Some(one) = decode(&mut self.unread)? {
            news.push(one);
        }
        Ok(news)
    }
}

fn encode(news: &News) -> Vec<u8> {
    let (kind, number, body) = match news {
        News::File(number, Ok(content)) => {
            let body = [&content.mode.to_ne_bytes(), content.bytes.as_slice()].concat();
            (CONTENT, *number, body)
        }
        News::File(number, Err(why)) => (UNREADABLE, *number, why.as_bytes().to_vec()),
        News::Names(Ok(())) => (NAMES, 0, Vec::new()),
        News::Names(Err(why)) => (NAMES, 0, why.as_bytes().to_vec()),
        News::Looked => (LOOKED, 0, Vec::new()),
    };
    let number = u16::try_from(number).unwrap_or(u16::MAX).to_ne_bytes();
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_ne_bytes();
    [&[kind], number.as_slice(), &length, &body].concat()
}

/// Takes one message off the beginning, if it is whole.
fn decode(bytes: &mut Vec<u8>) -> io::Result<Option<News>> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let Some((&[kind, a, b, c, d, e, f], rest)) = bytes.split_first_chunk::<HEAD_BYTES>() else {
        return Ok(None);
    };
    let number = usize::from(u16::from_ne_bytes([a, b]));
    let length = usize::try_from(u32::from_ne_bytes([c, d, e, f])).map_err(|_| invalid())?;
    if length as u64 > BODY_MAX {
        return Err(invalid());
    }
    let Some(body) = rest.get(..length) else {
        return Ok(None);
    };
    let text = || String::from_utf8_lossy(body).into_owned();
    let news = match kind {
        CONTENT => {
            let (mode, content) = body.split_first_chunk().ok_or_else(invalid)?;
            let mode = u32::from_ne_bytes(*mode);
            let bytes = content.to_vec();
            News::File(number, Ok(Content { bytes, mode }))
        }
        UNREADABLE => News::File(number, Err(text())),
        NAMES if body.is_empty() => News::Names(Ok(())),
        NAMES => News::Names(Err(text())),
        LOOKED => News::Looked,
        _ => return Err(invalid()),
    };
    bytes.drain(..HEAD_BYTES + length);
    Ok(Some(news))
}

/// A file of the configuration, and what was last said of it.
struct Followed {
    path: PathBuf,
    watch: Watch,
    known: Result<Content, String>,
}

/// The process at work.
struct Looks {
    rootfs: PathBuf,
    files: Vec<Followed>,
    names: [Watch; 2],
}

impl Looks {
    fn new(rootfs: &Path, files: Vec<(PathBuf, Content)>) -> Self {
        let followed = |(path, content)| Followed {
            path,
            watch: Watch::default(),
            known: Ok(content),
        };
        Self {
            rootfs: rootfs.to_owned(),
            files: files.into_iter().map(followed).collect(),
            names: Default::default(),
        }
    }

    /// Looks until the agent has ended.
    fn run(mut self, agent: BorrowedFd<'_>) {
        let mut at_once = false;
        loop {
            for news in self.look(at_once) {
                if say(agent, &encode(&news)).is_err() {
                    return;
                }
            }
            let mut ready = [PollFd::new(agent, PollFlags::POLLIN)];
            at_once = match poll(
                &mut ready,
                PollTimeout::try_from(PERIOD).unwrap_or(PollTimeout::MAX),
            ) {
                Ok(0) | Err(Errno::EINTR) => false,
                Ok(_) => match recv(agent.as_raw_fd(), &mut [0; 64], MsgFlags::MSG_DONTWAIT) {
                    Ok(0) | Err(_) => return,
                    Ok(_) => true,
                },
                Err(_) => return,
            };
        }
    }

    /// One look at everything; what there is to say.
    fn look(&mut self, at_once: bool) -> Vec<News> {
        let mut news = Vec::new();
        for (number, file) in self.files.iter_mut().enumerate() {
            if !file.watch.look(Stamp::of(&file.path), at_once) {
                continue;
            }
            let now = config::read(&file.path).map_err(|error| error.to_string());
            if now != file.known {
                file.known.clone_from(&now);
                news.push(News::File(number, now));
            }
        }
        let names = NAME_FILES.iter().zip(&mut self.names);
        let changed = names.filter_map(|(path, watch)| {
            let due = watch.look(Stamp::of(Path::new(path)), at_once);
            due.then_some(())
        });
        if changed.count() > 0 {
            match jail::refresh_name_files(&self.rootfs) {
                Ok(false) => {}
                Ok(true) => news.push(News::Names(Ok(()))),
                Err(error) => news.push(News::Names(Err(format!("{error:#}")))),
            }
        }
        if at_once || !news.is_empty() {
            news.push(News::Looked);
        }
        news
    }
}

/// Waits until the agent takes it, or has ended.
fn say(agent: BorrowedFd<'_>, mut message: &[u8]) -> io::Result<()> {
    while !message.is_empty() {
        match send(agent.as_raw_fd(), message, MsgFlags::MSG_NOSIGNAL) {
            Ok(sent) => message = message.get(sent..).unwrap_or_default(),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    fn content(text: &str) -> Content {
        Content {
            bytes: text.into(),
            mode: 0o600,
        }
    }

    #[test]
    fn what_the_reader_says_is_understood_in_pieces_of_any_size() {
        let all = [
            News::File(7, Ok(content("a token\n"))),
            News::File(0, Ok(content(""))),
            News::File(65_000, Err("no such file".into())),
            News::Names(Ok(())),
            News::Names(Err("read-only".into())),
            News::Looked,
        ];
        let bytes: Vec<u8> = all.iter().flat_map(encode).collect();
        for size in [1, 2, 7, 1000] {
            let (mut unread, mut heard) = (Vec::new(), Vec::new());
            for piece in bytes.chunks(size) {
                unread.extend_from_slice(piece);
                while let Some(news) = decode(&mut unread).unwrap() {
                    heard.push(news);
                }
            }
            assert_eq!(heard, all);
            assert!(unread.is_empty());
        }
    }

    #[test]
    fn a_message_larger_than_any_file_is_not_waited_for() {
        let mut bytes = vec![CONTENT, 0, 0, 255, 255, 255, 255];
        assert!(decode(&mut bytes).is_err());
        assert!(decode(&mut vec![9, 0, 0, 0, 0, 0, 0]).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(mut bytes: Vec<u8>) {
            while let Ok(Some(_)) = decode(&mut bytes) {}
        }
    }

    #[test]
    fn only_what_differs_is_said_and_all_of_it_together() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        fs::create_dir(at("etc")).unwrap();
        for name in ["cert", "key"] {
            fs::write(at(name), "old").unwrap();
        }
        let known = |name: &str| (at(name), config::read(&at(name)).unwrap());
        let mut looks = Looks::new(place.path(), vec![known("cert"), known("key")]);
        let files = |news: Vec<News>| -> Vec<(usize, String)> {
            let text = |content: Result<Content, String>| match content {
                Ok(content) => String::from_utf8(content.bytes).unwrap(),
                Err(_) => "gone".into(),
            };
            let file = |one| match one {
                News::File(number, content) => Some((number, text(content))),
                _ => None,
            };
            news.into_iter().filter_map(file).collect()
        };
        looks.look(false);
        assert_eq!(files(looks.look(false)), [], "what was read at the start");
        fs::write(at("cert"), "new!").unwrap();
        fs::write(at("next"), "new!!").unwrap();
        fs::rename(at("next"), at("key")).unwrap();
        assert_eq!(files(looks.look(false)), []);
        let both = [(0, "new!".to_owned()), (1, "new!!".to_owned())];
        let said = looks.look(false);
        assert_eq!(said.last(), Some(&News::Looked));
        assert_eq!(files(said), both);
        fs::remove_file(at("key")).unwrap();
        assert_eq!(files(looks.look(true)), [(1, "gone".to_owned())], "asked");
        assert_eq!(looks.look(false), []);
    }
}
