//! A copy of the calling process, which no library offers safely.

use std::io;

use nix::libc;

/// Makes a copy of the calling process; `None` in the copy, its id in the original (fork(2)).
///
/// # Errors
/// The process has several threads, of which the copy would have one and the locks of all; or what
/// the kernel answers.
pub fn fork() -> io::Result<Option<i32>> {
    let threads = std::fs::read_dir("/proc/self/task")?.count();
    if threads != 1 {
        return Err(io::Error::other(format!(
            "the process has {threads} threads"
        )));
    }
    #[expect(unsafe_code, reason = "no library has a safe wrapper for fork(2)")]
    // SAFETY: there is no other thread, so that no lock and no value is in another thread's hands
    // in the copy, which may go on as the original may.
    let copy = unsafe { libc::fork() };
    match copy {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        process => Ok(Some(process)),
    }
}

/// Ignores every real-time signal, whose default is to end the process (signal(7)).
///
/// # Errors
/// What the kernel answers.
pub fn ignore_real_time_signals() -> io::Result<()> {
    for number in libc::SIGRTMIN()..=libc::SIGRTMAX() {
        #[expect(unsafe_code, reason = "no library knows real-time signals")]
        // SAFETY: to ignore a signal runs no code of ours.
        let before = unsafe { libc::signal(number, libc::SIG_IGN) };
        if before == libc::SIG_ERR {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
