//! Why the kernel refused a program: what libbpf has said of it, which its error does not hold.

use std::sync::{Mutex, PoisonError};

use libbpf_rs::PrintLevel;

/// Texts that are kept, and bytes of each: a verifier's log ends with what it is about.
const TEXTS: usize = 8;
const TEXT_BYTES: usize = 4096;
/// Lines of a verifier's log that are told.
const LINES: usize = 3;
const PROGRAM: &str = "prog '";
const BEGIN: &str = "-- BEGIN PROG LOAD LOG --";
const END: &str = "-- END PROG LOAD LOG --";
/// Begins the line of numbers behind the reason.
const NUMBERS: &str = "processed ";

/// The last that libbpf warned of, bounded.
static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Sends what libbpf says to the log: refused trials are answers, not messages for a terminal.
pub(super) fn listen() {
    libbpf_rs::set_print(Some((PrintLevel::Info, hear)));
}

fn hear(level: PrintLevel, text: String) {
    log::debug!(text = text.trim(); "libbpf");
    if level != PrintLevel::Warn {
        return;
    }
    let from = text.ceil_char_boundary(text.len().saturating_sub(TEXT_BYTES));
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if said.len() == TEXTS {
        said.remove(0);
    }
    said.push(text[from..].to_owned());
}

/// Forgets what was said of other programs.
pub fn forget() {
    SAID.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

/// The error with what was said since: the program, and the last lines of the verifier's log.
#[must_use]
pub fn explain(error: &libbpf_rs::Error) -> String {
    let said = std::mem::take(&mut *SAID.lock().unwrap_or_else(PoisonError::into_inner));
    told(&said.concat(), &format!("{error:#}"))
}

fn told(said: &str, error: &str) -> String {
    let quoted = |text: &str| text.split_once('\'').map(|(name, _)| name.to_owned());
    let program = said
        .split_once(PROGRAM)
        .and_then(|(_, rest)| quoted(rest))
        .map(|name| format!("{name}: "));
    // A long log begins before what is kept of it.
    let log = said.rsplit_once(BEGIN).map_or(said, |(_, log)| log);
    let log = log.split_once(END).map(|(log, _)| log);
    let mut lines: Vec<&str> = log.unwrap_or_default().lines().map(str::trim).collect();
    lines.retain(|line| !line.is_empty() && !line.starts_with(NUMBERS));
    let last = lines
        .split_off(lines.len().saturating_sub(LINES))
        .join("; ");
    let log = match last.is_empty() {
        true => String::new(),
        false => format!(", the verifier says: {last}"),
    };
    format!("{}{error}{log}", program.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::told;

    const ERROR: &str = "Invalid argument (os error 22)";

    #[test]
    fn a_refusal_names_the_program_and_ends_with_the_verifiers_last_lines() {
        let said = "libbpf: prog 'wb_conn_accept': BPF program load failed: -EINVAL\n\
            libbpf: prog 'wb_conn_accept': -- BEGIN PROG LOAD LOG --\n\
            0: (b7) r1 = 1\n\
            127: (15) if r1 == 0x0 goto pc+2\n\
            128: <invalid CO-RE relocation>\n\
            failed to resolve CO-RE relocation <byte_off> [5] struct kernfs_node.id (0:0 @ offset 0)\n\
            processed 128 insns (limit 1000000)\n\
            -- END PROG LOAD LOG --\n\
            libbpf: prog 'wb_conn_accept': failed to load: -EINVAL\n";
        assert_eq!(
            told(said, ERROR),
            "wb_conn_accept: Invalid argument (os error 22), the verifier says: \
             127: (15) if r1 == 0x0 goto pc+2; 128: <invalid CO-RE relocation>; failed to resolve \
             CO-RE relocation <byte_off> [5] struct kernfs_node.id (0:0 @ offset 0)"
        );
    }

    #[test]
    fn what_is_not_said_is_not_told() {
        assert_eq!(told("", ERROR), ERROR);
        assert_eq!(
            told("libbpf: prog 'wb_x': failed to load: -EPERM\n", ERROR),
            format!("wb_x: {ERROR}")
        );
        // The beginning was cut.
        let cut = "5: (95) exit\nR0 !read_ok\n-- END PROG LOAD LOG --\n\
                   libbpf: prog 'wb_y': failed to load: -EACCES\n";
        let told = told(cut, ERROR);
        assert!(told.starts_with("wb_y: "), "{told}");
        assert!(told.ends_with("5: (95) exit; R0 !read_ok"), "{told}");
    }
}
