//! A receive ring: packets that passed a filter, each with the time at which it did.
//!
//! A socket that is read with recvmsg(2) has such times only if it asks for them
//! (`SO_TIMESTAMPNS`), and then the kernel takes the time of every packet of the host
//! (`net_enable_timestamp`, net/core/dev.c). For a ring it takes them behind the filter
//! (`tpacket_rcv`, net/packet/af_packet.c), which costs the other packets nothing.

use std::io;
use std::mem::offset_of;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::libc::{self, sockaddr_ll, tpacket_req, tpacket2_hdr};

use crate::packet::{self, Instruction, set};

/// What the kernel allocates at once; a multiple of the page size of every architecture.
const BLOCK_BYTES: usize = 64 << 10;

/// Where the address of a frame begins: behind its header.
const ADDRESS: usize = size_of::<tpacket2_hdr>().next_multiple_of(libc::TPACKET_ALIGNMENT);

/// Where the packet of a frame begins, at most: `tpacket_rcv` leaves 16 bytes for a link header.
const HEAD_BYTES: usize = libc::TPACKET2_HDRLEN.next_multiple_of(libc::TPACKET_ALIGNMENT) + 16;

/// A packet in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// When it passed the filter, since 1970.
    pub at: Duration,
    /// Where it came from and goes to: `PACKET_HOST`, `PACKET_OUTGOING` and so on,
    /// `linux/if_packet.h`.
    pub kind: u8,
    /// From its network header on, as much as the filter lets through.
    pub bytes: &'a [u8],
}

/// A packet socket and the memory that it shares with the kernel.
#[derive(Debug)]
pub struct Ring {
    socket: OwnedFd,
    memory: NonNull<u8>,
    blocks: usize,
    frame_bytes: usize,
    /// The frame that is read next.
    next: usize,
}

#[expect(unsafe_code, reason = "a pointer is not `Send` by itself")]
// SAFETY: the memory is the ring's alone, and bound to no thread.
unsafe impl Send for Ring {}

impl Ring {
    /// Opens a socket as [`packet::open`] does, with a ring of about `bytes` for packets of which the
    /// filter lets at most `snap` bytes through; with half of that, and so on, where the kernel has
    /// not as much memory.
    ///
    /// # Errors
    /// As [`packet::open`]; `ENOMEM`.
    pub fn open(filter: &[Instruction], snap: usize, bytes: usize) -> io::Result<Self> {
        let socket = packet::open(filter)?;
        let version = libc::tpacket_versions::TPACKET_V2 as libc::c_int;
        set(&socket, libc::SOL_PACKET, libc::PACKET_VERSION, &version)?;
        let frame_bytes = (HEAD_BYTES + snap).next_multiple_of(libc::TPACKET_ALIGNMENT);
        let mut blocks = (bytes / BLOCK_BYTES).max(1);
        while let Err(error) = allocate(&socket, blocks, frame_bytes) {
            blocks /= 2;
            if blocks == 0 || error.raw_os_error() != Some(libc::ENOMEM) {
                return Err(error);
            }
        }
        let memory = map(&socket, blocks * BLOCK_BYTES)?;
        Ok(Self {
            socket,
            memory,
            blocks,
            frame_bytes,
            next: 0,
        })
    }

    /// The socket, for [`packet::receive_all`] and [`packet::statistics`].
    #[must_use]
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Packets for which there is room.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.blocks * (BLOCK_BYTES / self.frame_bytes)
    }

    /// Gives up to `most` packets, oldest first, and then their room back to the kernel; how many.
    pub fn take(&mut self, most: usize, mut each: impl FnMut(Packet<'_>)) -> usize {
        for taken in 0..most {
            let frame = self.frame();
            #[expect(unsafe_code, reason = "shared memory")]
            // SAFETY: a frame begins with this word, aligned to 16 bytes; while the ring lives, the
            // kernel and this function are the only ones to use it, both as one word.
            let status = unsafe { AtomicU32::from_ptr(frame.cast().as_ptr()) };
            if status.load(Ordering::Acquire) & libc::TP_STATUS_USER == 0 {
                return taken;
            }
            #[expect(unsafe_code, reason = "shared memory")]
            // SAFETY: the frame has as many bytes, and the kernel does not write to them before the
            // status gives it back; a packet does not outlive the call.
            let bytes = unsafe { slice::from_raw_parts(frame.as_ptr(), self.frame_bytes) };
            each(parse(bytes));
            status.store(libc::TP_STATUS_KERNEL, Ordering::Release);
            self.next = (self.next + 1) % self.capacity();
        }
        most
    }

    /// Where the next frame is. Frames do not cross from one block to the next.
    fn frame(&self) -> NonNull<u8> {
        let of_block = BLOCK_BYTES / self.frame_bytes;
        let (block, number) = (self.next / of_block, self.next % of_block);
        let offset = block * BLOCK_BYTES + number * self.frame_bytes;
        #[expect(unsafe_code, reason = "shared memory")]
        // SAFETY: `next` is less than the number of frames, so this is within the memory.
        unsafe {
            self.memory.add(offset)
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        #[expect(unsafe_code, reason = "shared memory")]
        // SAFETY: it was mapped with this length, and nobody else has a pointer into it.
        let _status =
            unsafe { libc::munmap(self.memory.as_ptr().cast(), self.blocks * BLOCK_BYTES) };
    }
}

/// What a frame says. A packet that is not within it, which no kernel writes, has no bytes.
fn parse(frame: &[u8]) -> Packet<'_> {
    let word = |offset: usize| {
        let bytes = frame.get(offset..offset + 4).unwrap_or_default();
        u32::from_ne_bytes(bytes.try_into().unwrap_or_default())
    };
    let net = offset_of!(tpacket2_hdr, tp_net);
    let net = frame.get(net..net + 2).unwrap_or_default();
    let begin = usize::from(u16::from_ne_bytes(net.try_into().unwrap_or_default()));
    let length = word(offset_of!(tpacket2_hdr, tp_snaplen)) as usize;
    let kind = frame.get(ADDRESS + offset_of!(sockaddr_ll, sll_pkttype));
    Packet {
        at: Duration::new(
            word(offset_of!(tpacket2_hdr, tp_sec)).into(),
            word(offset_of!(tpacket2_hdr, tp_nsec)),
        ),
        kind: kind.copied().unwrap_or_default(),
        bytes: frame.get(begin..begin + length).unwrap_or_default(),
    }
}

/// Allocates the ring.
fn allocate(socket: &OwnedFd, blocks: usize, frame_bytes: usize) -> io::Result<()> {
    let number = |count: usize| libc::c_uint::try_from(count).map_err(io::Error::other);
    let request = tpacket_req {
        tp_block_size: number(BLOCK_BYTES)?,
        tp_block_nr: number(blocks)?,
        tp_frame_size: number(frame_bytes)?,
        tp_frame_nr: number(blocks * (BLOCK_BYTES / frame_bytes))?,
    };
    set(socket, libc::SOL_PACKET, libc::PACKET_RX_RING, &request)
}

fn map(socket: &OwnedFd, bytes: usize) -> io::Result<NonNull<u8>> {
    #[expect(unsafe_code, reason = "shared memory")]
    // SAFETY: the kernel chooses where, so nothing that is there is replaced.
    let memory = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            socket.as_raw_fd(),
            0,
        )
    };
    if memory == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(memory.cast()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame whose packet, four bytes, is said to begin and to be as long as this.
    fn frame(begin: u16, length: u32) -> Vec<u8> {
        let mut frame = vec![0; HEAD_BYTES + 4];
        let mut write = |at: usize, bytes: &[u8]| {
            frame[at..at + bytes.len()].copy_from_slice(bytes);
        };
        write(offset_of!(tpacket2_hdr, tp_net), &begin.to_ne_bytes());
        write(offset_of!(tpacket2_hdr, tp_snaplen), &length.to_ne_bytes());
        write(offset_of!(tpacket2_hdr, tp_sec), &7_u32.to_ne_bytes());
        write(offset_of!(tpacket2_hdr, tp_nsec), &9_u32.to_ne_bytes());
        write(ADDRESS + offset_of!(sockaddr_ll, sll_pkttype), &[4]);
        write(HEAD_BYTES, b"abcd");
        frame
    }

    #[test]
    fn a_frame_has_time_direction_and_bytes() {
        assert_eq!(HEAD_BYTES, 80);
        let frame = frame(80, 4);
        let expected = Packet {
            at: Duration::new(7, 9),
            kind: 4,
            bytes: b"abcd",
        };
        assert_eq!(parse(&frame), expected);
    }

    #[test]
    fn nothing_is_read_beyond_a_frame() {
        for (begin, length) in [(80, 5), (85, 0), (u16::MAX, u32::MAX)] {
            assert_eq!(parse(&frame(begin, length)).bytes, b"", "{begin} {length}");
        }
        for length in 0..HEAD_BYTES {
            assert_eq!(parse(&vec![0xff; length]).bytes, b"");
        }
    }
}
