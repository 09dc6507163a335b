//! The frames that really passed a device, by size and content.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use super::host::Host;
use super::process::Running;
use super::wait::wait_until;

/// How long tcpdump may take to begin and to end.
const DEADLINE: Duration = Duration::from_secs(20);

/// Looks without growth after which tcpdump has written all it received.
const QUIET_LOOKS: u32 = 10;

/// TCP option kind that is counted.
const OPTION: u8 = 253;

/// A running capture.
#[derive(Debug)]
pub struct Capture {
    running: Running,
    file: PathBuf,
}

/// What a capture saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frames {
    /// Number of frames with payload by frame length.
    pub data: BTreeMap<u32, u64>,
    /// Number of frames without payload by frame length; handshake, ACK, FIN and RST.
    pub empty: BTreeMap<u32, u64>,
    /// Frames with option 253 and no payload.
    pub option_empty: u64,
    /// Frames with option 253 and payload.
    pub option_data: u64,
    /// Frames with RST.
    pub resets: u64,
    /// Options 253 in full, kind and length included, in order of appearance.
    pub options: Vec<Vec<u8>>,
    /// Frames with option 253 whose next frame of the same kind is the same without it: same
    /// addresses, identification, sequence, acknowledgement, window and other options.
    pub twins: u64,
    /// The part of those that has payload, which the frame with the option has not.
    pub twins_with_data: u64,
    /// Frames captured whole whose TCP checksum is wrong; on the sending host a device that
    /// completes checksums makes all of them so.
    pub wrong_sums: u64,
    /// What the frame without the option must look like.
    awaited: Vec<Vec<u8>>,
}

impl Capture {
    /// Captures TCP frames on `device` of `host` from now on.
    ///
    /// # Errors
    /// When tcpdump does not start.
    pub fn start(host: &Host, device: &str) -> Result<Self> {
        let stem = host.stem("tcpdump");
        let file = stem.with_extension("pcap");
        let mut command = host.command_beside("tcpdump");
        // -s 160 holds every header; -B leaves room for bursts on a busy machine.
        command.args([
            "-i",
            device,
            "-s",
            "160",
            "-B",
            "16384",
            "--immediate-mode",
            "-U",
            "-Z",
            "root",
            "-w",
        ]);
        command.arg(&file).arg("tcp");
        let running = Running::start(command, &stem)?;
        wait_until(DEADLINE, "start of tcpdump", || {
            Ok(running.errors()?.contains("listening on").then_some(()))
        })?;
        Ok(Self { running, file })
    }

    /// Ends the capture and counts.
    ///
    /// # Errors
    /// When frames were lost by the capture itself, or the file cannot be read.
    pub fn stop(mut self) -> Result<Frames> {
        let mut before = (0, 0);
        wait_until(DEADLINE, "end of the capture file's growth", || {
            let size = self.file.metadata()?.len();
            before = if size == before.0 {
                (size, before.1 + 1)
            } else {
                (size, 0)
            };
            Ok((before.1 > QUIET_LOOKS).then_some(()))
        })?;
        self.running.signal(Signal::SIGINT)?;
        self.running.wait(DEADLINE)?;
        let said = self.running.errors()?;
        ensure!(
            said.contains("\n0 packets dropped by kernel"),
            "tcpdump lost frames: {said}"
        );
        let bytes = std::fs::read(&self.file).context("read capture")?;
        Frames::parse(&bytes)
    }
}

impl Frames {
    /// Number of frames.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.data.values().chain(self.empty.values()).sum()
    }

    /// Largest frame.
    #[must_use]
    pub fn largest(&self) -> u32 {
        self.data
            .keys()
            .chain(self.empty.keys())
            .copied()
            .max()
            .unwrap_or(0)
    }

    /// Reads a capture file with microsecond or nanosecond stamps in the byte order of x86.
    fn parse(bytes: &[u8]) -> Result<Self> {
        let magic = u32_at(bytes, 0).context("empty capture")?;
        ensure!(
            matches!(magic, 0xA1B2_C3D4 | 0xA1B2_3C4D),
            "not a capture file"
        );
        let mut frames = Self::default();
        let mut at = 24;
        while let (Some(kept), Some(length)) = (u32_at(bytes, at + 8), u32_at(bytes, at + 12)) {
            let begin = at + 16;
            at = begin + kept as usize;
            let Some(frame) = bytes.get(begin..at) else {
                break;
            };
            frames.add(frame, length);
        }
        Ok(frames)
    }

    fn add(&mut self, frame: &[u8], length: u32) {
        let Some((tcp, payload)) = tcp_header(frame) else {
            return;
        };
        let sizes = if payload > 0 {
            &mut self.data
        } else {
            &mut self.empty
        };
        *sizes.entry(length).or_default() += 1;
        if tcp[13] & 0x04 != 0 {
            self.resets += 1;
        }
        if frame.len() == length as usize && !sum_is_right(frame) {
            self.wrong_sums += 1;
        }
        if let Some((plain, had_option)) = without_option(frame) {
            if had_option {
                self.awaited.push(plain);
            } else if let Some(at) = self.awaited.iter().position(|awaited| *awaited == plain) {
                self.awaited.swap_remove(at);
                self.twins += 1;
                self.twins_with_data += u64::from(payload > 0);
            }
        }
        for option in options(tcp).filter(|option| option[0] == OPTION) {
            *(if payload > 0 {
                &mut self.option_data
            } else {
                &mut self.option_empty
            }) += 1;
            self.options.push(option.to_vec());
        }
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?).into())
}

/// The TCP header of an Ethernet frame and the length of its payload.
fn tcp_header(frame: &[u8]) -> Option<(&[u8], usize)> {
    let (begin, segment) = match u16_at(frame, 12)? {
        0x0800 => {
            let header = usize::from(frame.get(14)? & 0x0F) * 4;
            (14 + header, u16_at(frame, 16)?.checked_sub(header)?)
        }
        // Without extension headers, which no lab uses.
        0x86DD => (54, u16_at(frame, 18)?),
        _ => return None,
    };
    let header = usize::from(frame.get(begin + 12)? >> 4) * 4;
    Some((
        frame.get(begin..begin + header)?,
        segment.checked_sub(header)?,
    ))
}

/// A frame's headers without option 253 at their end, without what must differ then (lengths,
/// checksums) and without what a copy leaves out (payload, PSH); and whether it was there.
fn without_option(frame: &[u8]) -> Option<(Vec<u8>, bool)> {
    let (tcp, _) = tcp_header(frame)?;
    let begin = tcp.as_ptr().addr() - frame.as_ptr().addr();
    let mut plain = frame.get(..begin + tcp.len())?.to_vec();
    let last = tcp.len().checked_sub(16).and_then(|at| tcp.get(at..));
    let had_option = tcp.len() >= 36 && last.is_some_and(|last| last[..2] == [OPTION, 16]);
    if had_option {
        plain.truncate(plain.len() - 16);
    }
    if u16_at(frame, 12)? == 0x0800 {
        plain[16..18].fill(0);
        plain[24..26].fill(0);
    } else {
        plain[18..20].fill(0);
    }
    plain[begin + 12] = 0;
    plain[begin + 13] &= !0x08;
    plain[begin + 16..begin + 18].fill(0);
    Some((plain, had_option))
}

/// Whether the TCP checksum of a whole frame is right; true for frames without TCP.
fn sum_is_right(frame: &[u8]) -> bool {
    let sum = || -> Option<u64> {
        let (tcp, payload) = tcp_header(frame)?;
        let begin = tcp.as_ptr().addr() - frame.as_ptr().addr();
        let addresses = if u16_at(frame, 12)? == 0x0800 {
            frame.get(26..34)?
        } else {
            frame.get(22..54)?
        };
        let length = tcp.len() + payload;
        let segment = frame.get(begin..begin + length)?;
        let words = |bytes: &[u8]| -> u64 {
            bytes
                .chunks(2)
                .map(|pair| u64::from(pair[0]) << 8 | u64::from(pair.get(1).copied().unwrap_or(0)))
                .sum()
        };
        Some(words(addresses) + length as u64 + 6 + words(segment))
    };
    sum().is_none_or(|mut sum| {
        while sum > 0xFFFF {
            sum = (sum >> 16) + (sum & 0xFFFF);
        }
        sum == 0xFFFF
    })
}

/// The options in a TCP header, each with kind and length; ends at the first broken one.
fn options(tcp: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut left = tcp.get(20..).unwrap_or_default();
    std::iter::from_fn(move || {
        loop {
            match *left.first()? {
                0 => return None,
                1 => left = &left[1..],
                _ => {
                    let length = usize::from(*left.get(1)?);
                    let (option, rest) = left.split_at_checked(length.max(2))?;
                    left = rest;
                    return Some(option);
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An IPv4 frame with the given TCP options and payload length.
    fn frame(options: &[u8], payload: usize) -> Vec<u8> {
        let mut frame = vec![0; 12];
        let total = u16::try_from(40 + options.len() + payload).unwrap();
        frame.extend([0x08, 0x00, 0x45, 0x00]);
        frame.extend(total.to_be_bytes());
        frame.extend([0; 16]);
        let mut tcp = vec![0; 20];
        tcp[12] = u8::try_from((20 + options.len()) / 4).unwrap() << 4;
        frame.extend(tcp);
        frame.extend(options);
        frame.extend(vec![7; payload]);
        frame
    }

    #[test]
    fn options_are_found_behind_padding_and_counted_by_payload() {
        let mut option = vec![1, 1, 253, 16];
        option.extend([9; 14]);
        option.extend([1, 1]);
        let mut frames = Frames::default();
        frames.add(&frame(&option, 0), 74);
        frames.add(&frame(&[], 100), 154);
        assert_eq!(
            (frames.option_empty, frames.option_data, frames.total()),
            (1, 0, 2)
        );
        assert_eq!((frames.data[&154], frames.empty[&74]), (1, 1));
        assert_eq!(frames.options[0].len(), 16);
    }

    #[test]
    fn a_copy_is_the_twin_of_its_original_and_of_nothing_else() {
        let option = [&[253, 16][..], &[9; 14]].concat();
        let mut frames = Frames::default();
        frames.add(&frame(&option, 0), 70);
        frames.add(&frame(&[1, 1, 1, 1], 0), 58);
        assert_eq!(frames.twins, 0, "another option");
        frames.add(&frame(&[], 0), 54);
        frames.add(&frame(&[], 0), 54);
        assert_eq!(frames.twins, 1, "one twin each");
    }

    #[test]
    fn a_checksum_is_right_or_wrong() {
        let mut whole = frame(&[], 4);
        assert!(!sum_is_right(&whole));
        // Version 4, protocol and length, header without sum, four sevens.
        let sum = 24 + 6 + 0x5000 + 0x0707 * 2;
        whole[50..52].copy_from_slice(&(!u16::try_from(sum).unwrap()).to_be_bytes());
        assert!(sum_is_right(&whole));
    }

    #[test]
    fn a_broken_option_ends_the_list_without_harm() {
        let mut frames = Frames::default();
        frames.add(&frame(&[253, 200, 0, 0], 0), 58);
        frames.add(&frame(&[5], 0)[..30], 58);
        assert_eq!((frames.option_empty, frames.total()), (0, 1));
    }
}
