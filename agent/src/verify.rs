//! `verify`: is a bundle, or one file of a release, what its makers signed?
//!
//! A signature is Ed25519 (RFC 8032), 128 hexadecimal digits, over the text of `SHA256SUMS`: lines
//! `<sha256>  <path>`, as `sha256sum` writes and reads them. A single file `F` has its line alone in
//! that form signed in `F.sig`, so its name is part of what is signed. Keys are 64 digits.

mod release;
mod unpack;

use std::io::Write;

use anyhow::Context as _;

use crate::cli::{Format, VerifyArgs};
use crate::exit::{Exit, Failure, OrExit as _};
use crate::reports::print_json;
use release::{folder, read_key, single};

/// Checks a folder or a file against its signature, and says how many files are right.
///
/// With `unpack` what is checked is a copy of its own that nobody else reaches, and the copy is
/// what stays there: whoever changes the original afterwards changes nothing.
///
/// # Errors
/// Exit code 2 for a key that cannot be read, 1 for everything that is not as it was signed.
pub fn run(args: &VerifyArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let key = read_key(&args.key).or_exit(Exit::Usage)?;
    let files = match &args.unpack {
        Some(to) => unpack::verified(&args.path, to, &key),
        None if args.path.is_dir() => folder(&args.path, &key),
        None => single(&args.path, &key),
    }
    .with_context(|| format!("{}: not as it was signed", args.path.display()))
    .or_exit(Exit::Runtime)?;
    match args.output.format {
        Format::Human => writeln!(out, "{}: {files} files, as signed", args.path.display())
            .context("print the report"),
        Format::Json => print_json(out, &serde_json::json!({ "ok": true, "files": files })),
    }
    .or_exit(Exit::Runtime)
}
