//! A way for a browser of this machine to the lab's collector, which listens in a namespace of its
//! own.

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{Builder, JoinHandle};

use anyhow::{Context, Result};

use crate::lab::netns;

/// Connections at once; a browser has six to each place.
const MOST: usize = 64;

/// Hands connections on until it is dropped.
pub(super) struct Relay {
    /// Where it listens: a port of 127.0.0.1 that was free.
    pub(super) address: SocketAddr,
    ending: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Relay {
    /// Begins to hand connections on to `to` in the namespace `name`.
    ///
    /// # Errors
    /// When no port can be had.
    pub(super) fn start(name: &str, to: SocketAddr) -> Result<Self> {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listen for the page")?;
        let address = listener.local_addr()?;
        let ending = Arc::new(AtomicBool::new(false));
        let (name, told) = (name.to_owned(), Arc::clone(&ending));
        let accepting = Builder::new()
            .name("relay".into())
            .spawn(move || accept(&listener, &name, to, &told))?;
        Ok(Self {
            address,
            ending,
            accepting: Some(accepting),
        })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        // It waits for a connection, and gets one.
        drop(TcpStream::connect(self.address));
        if let Some(accepting) = self.accepting.take() {
            accepting.join().ok();
        }
    }
}

fn accept(listener: &TcpListener, name: &str, to: SocketAddr, ending: &AtomicBool) {
    let open = Arc::new(AtomicUsize::new(0));
    for near in listener.incoming() {
        if ending.load(Ordering::Relaxed) {
            return;
        }
        let Ok(near) = near else { continue };
        if open.fetch_add(1, Ordering::Relaxed) >= MOST {
            open.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let (name, open) = (name.to_owned(), Arc::clone(&open));
        let handed = Builder::new().name("relayed".into()).spawn(move || {
            // What breaks is closed, which the browser sees.
            hand_on(&near, &name, to).ok();
            open.fetch_sub(1, Ordering::Relaxed);
        });
        drop(handed);
    }
}

/// Copies both ways until both have ended.
fn hand_on(near: &TcpStream, name: &str, to: SocketAddr) -> Result<()> {
    // The socket stays in the namespace that it was made in; no thread does.
    let far = netns::inside(name, || Ok(TcpStream::connect(to)?))?;
    std::thread::scope(|scope| {
        scope.spawn(|| copy(near, &far));
        copy(&far, near);
    });
    Ok(())
}

fn copy(mut from: &TcpStream, mut to: &TcpStream) {
    io::copy(&mut from, &mut to).ok();
    to.shutdown(Shutdown::Write).ok();
    from.shutdown(Shutdown::Read).ok();
}
