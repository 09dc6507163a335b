//! Any text is rules or mistakes; what is rules can be judged on any rows.
#![no_main]
#![forbid(unsafe_code)]

mod on_rows;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(2, |byte| *byte == 0);
    let (text, rows) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if let Ok(text) = std::str::from_utf8(text) {
        on_rows::judge(text, rows);
    }
});
