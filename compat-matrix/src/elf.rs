//! The two things that are read from ELF files: what a module and what a program needs.

use anyhow::{Context, Result, bail};
use object::elf::{DT_NEEDED, FileHeader64, PT_INTERP};
use object::read::elf::{Dyn as _, FileHeader as _, ProgramHeader as _};
use object::{Endianness, Object as _, ObjectSection as _};

/// What a kernel module says about itself, as `key=value` pairs in their order.
///
/// # Errors
/// When it is not an ELF file with a section `.modinfo`.
pub fn modinfo(module: &[u8]) -> Result<Vec<(String, String)>> {
    let file = object::File::parse(module).context("not an ELF file")?;
    let section = file
        .section_by_name(".modinfo")
        .context("no section .modinfo")?;
    let data = section.data().context("read .modinfo")?;
    let pairs = data.split(|byte| *byte == 0).filter_map(|text| {
        let (key, value) = std::str::from_utf8(text).ok()?.split_once('=')?;
        Some((key.to_owned(), value.to_owned()))
    });
    Ok(pairs.collect())
}

/// Names of the shared libraries that a program or library asks for, its loader included (as an
/// absolute path). Empty for a static one.
///
/// # Errors
/// When it is not a 64-bit ELF file, or is damaged.
pub fn needed(file: &[u8]) -> Result<Vec<String>> {
    let header = FileHeader64::<Endianness>::parse(file).context("not a 64-bit ELF file")?;
    let endian = header.endian().context("not an ELF file")?;
    let mut names = Vec::new();
    for segment in header.program_headers(endian, file)? {
        if segment.p_type(endian) == PT_INTERP {
            match segment.interpreter(endian, file)? {
                Some(path) => names.push(String::from_utf8_lossy(path).into_owned()),
                None => bail!("damaged: no name of a loader"),
            }
        }
    }
    let sections = header.sections(endian, file)?;
    if let Some((entries, link)) = sections.dynamic(endian, file)? {
        let strings = sections.strings(endian, file, link)?;
        for entry in entries {
            if entry.d_tag(endian) == DT_NEEDED {
                let name = entry.string(endian, strings)?;
                names.push(String::from_utf8_lossy(name).into_owned());
            }
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::{modinfo, needed};

    #[test]
    fn what_is_not_elf_is_refused() {
        assert!(modinfo(b"#!/bin/sh").is_err());
        assert!(needed(b"").is_err());
    }

    #[test]
    fn a_static_program_needs_nothing() {
        // This test is linked as everything here is.
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(needed(&own).unwrap(), [""; 0]);
    }
}
