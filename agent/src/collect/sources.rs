//! Where each piece comes from, and what of it is left out.

use std::fs;
use std::io::Read;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use bpf::pack::{Kernel, collected};

use crate::{doctor, sandbox};

/// Largest piece but the types.
const MAX_SMALL: u64 = 4 << 20;
/// Kernel's own types; today's are about 6 MB.
const MAX_TYPES: u64 = 48 << 20;
/// Names of files in one folder.
const MAX_NAMES: usize = 1_000;

/// Tracepoints that programs of this agent are attached to, on some kernel.
const TRACEPOINTS: [&str; 6] = [
    "sock/inet_sock_set_state",
    "tcp/tcp_destroy_sock",
    "tcp/tcp_probe",
    "tcp/tcp_rcv_space_adjust",
    "tcp/tcp_receive_reset",
    "tcp/tcp_send_reset",
];

/// One entry, or why it is missing.
#[derive(Debug)]
pub(super) struct Gathered {
    /// Its name in the archive.
    pub(super) name: String,
    /// What it is, for the list.
    pub(super) what: &'static str,
    /// Its bytes.
    pub(super) content: Result<Vec<u8>, String>,
}

/// Reads everything; what cannot be read is missing with its reason.
pub(super) fn gather() -> Vec<Gathered> {
    let kernel = Kernel::running();
    let mut all = vec![
        entry(
            collected::UNAME,
            "release, version, machine",
            uname(&kernel),
        ),
        entry(
            collected::BUILD_ID,
            "which build of the kernel this is",
            build_id(&kernel),
        ),
        entry(
            "os-release",
            "distribution",
            small("/etc/os-release").or_else(|_| small("/usr/lib/os-release")),
        ),
        entry(
            "kernel/config",
            "options of the kernel, without those that are texts",
            config(&kernel.release),
        ),
        entry(
            "kernel/kallsyms",
            "how many symbols are listed, neither names nor addresses",
            kallsyms(),
        ),
        entry(
            "kernel/files",
            "names of kernels' files and folders of modules",
            Ok(kernel_files()),
        ),
        entry(
            "doctor.json",
            "facts, and the plan that the defaults give",
            facts(),
        ),
    ];
    all.push(entry(
        "load",
        "what the kernel says to the programs when they are loaded, none of which is attached",
        doctor::try_programs().map(String::into_bytes),
    ));
    all.extend(tracepoints());
    all.push(entry(
        collected::BTF,
        "the kernel's own types",
        bounded(Path::new("/sys/kernel/btf/vmlinux"), MAX_TYPES),
    ));
    all
}

fn entry(name: &str, what: &'static str, content: Result<Vec<u8>>) -> Gathered {
    Gathered {
        name: name.to_owned(),
        what,
        content: content.map_err(|error| format!("{error:#}")),
    }
}

fn small(path: &str) -> Result<Vec<u8>> {
    bounded(Path::new(path), MAX_SMALL)
}

fn bounded(path: &Path, most: u64) -> Result<Vec<u8>> {
    let file = fs::File::open(path).with_context(|| format!("open {}", path.display()))?;
    let mut bytes = Vec::new();
    file.take(most + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("read {}", path.display()))?;
    ensure!(
        bytes.len() as u64 <= most,
        "{} is too large",
        path.display()
    );
    Ok(bytes)
}

/// Not `/proc/version`, which names the machine that the kernel was built on.
fn uname(kernel: &Kernel) -> Result<Vec<u8>> {
    let version = small("/proc/sys/kernel/version")?;
    let version = String::from_utf8_lossy(&version);
    let (release, machine) = (&kernel.release, std::env::consts::ARCH);
    let text = format!(
        "release {release}\nversion {}\nmachine {machine}\n",
        version.trim()
    );
    Ok(text.into_bytes())
}

/// Only the number: other notes of some kernels hold addresses (CVE-2024-26816).
fn build_id(kernel: &Kernel) -> Result<Vec<u8>> {
    let id = kernel
        .build_id
        .as_ref()
        .context("the kernel does not say")?;
    Ok(format!("{id}\n").into_bytes())
}

fn config(release: &str) -> Result<Vec<u8>> {
    let text = match fs::File::open("/proc/config.gz") {
        Ok(packed) => {
            let mut text = Vec::new();
            let mut unpacked = flate2::read::GzDecoder::new(packed).take(MAX_SMALL);
            unpacked
                .read_to_end(&mut text)
                .context("unpack /proc/config.gz")?;
            text
        }
        Err(_) => small(&format!("/boot/config-{release}"))
            .or_else(|_| small(&format!("/lib/modules/{release}/config")))
            .context("there is neither /proc/config.gz nor one in /boot or /lib/modules")?,
    };
    Ok(without_texts(&String::from_utf8_lossy(&text)).into_bytes())
}

/// Options that are texts name hosts, paths and command lines of who built the kernel.
fn without_texts(config: &str) -> String {
    let kept = config.lines().filter(|line| {
        let option = line.trim_start_matches("# ");
        option.starts_with("CONFIG_") && !line.contains('"')
    });
    kept.flat_map(|line| [line, "\n"]).collect()
}

fn kallsyms() -> Result<Vec<u8>> {
    const MAX_LIST: u64 = 64 << 20;
    let list = bounded(Path::new("/proc/kallsyms"), MAX_LIST)?;
    let count = list.iter().filter(|byte| **byte == b'\n').count();
    Ok(format!("symbols {count}\n").into_bytes())
}

/// Versions of installed kernels show in the names of their files.
fn kernel_files() -> Vec<u8> {
    let of = |folder: &str, wanted: fn(&str) -> bool| {
        let mut names: Vec<String> = fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .take(MAX_NAMES)
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| wanted(name))
            .map(|name| format!("{folder}/{name}\n"))
            .collect();
        names.sort();
        names.concat()
    };
    let text = [
        of("/boot", is_kernel_file),
        of("/lib/modules", |_| true),
        of("/var/lib/dpkg/info", |name| {
            name.starts_with("linux-image-") && name.ends_with(".list")
        }),
    ];
    text.concat().into_bytes()
}

/// A rescue kernel is named after the machine's own identifier.
fn is_kernel_file(name: &str) -> bool {
    const BEGIN: [&str; 4] = ["vmlinuz-", "vmlinux-", "config-", "System.map-"];
    BEGIN.iter().any(|begin| name.starts_with(begin)) && !name.contains("rescue")
}

/// Nothing of the operator's configuration goes into it.
fn facts() -> Result<Vec<u8>> {
    let mut text =
        serde_json::to_vec_pretty(&doctor::facts_and_plan()).context("make the report")?;
    text.push(b'\n');
    Ok(text)
}

fn tracepoints() -> Vec<Gathered> {
    const MOUNTED: &str = "/sys/kernel/tracing";
    let read = |tracefs: &Path| {
        TRACEPOINTS.map(|name| {
            let format = tracefs.join("events").join(name).join("format");
            bounded(&format, MAX_SMALL)
        })
    };
    let events = Path::new(MOUNTED).join("events");
    let formats = match events.exists() {
        true => Ok(read(Path::new(MOUNTED))),
        // A mount that nobody else sees, and that ends with its thread.
        false => sandbox::with_tracefs(read),
    };
    let formats = formats.unwrap_or_else(|error| {
        let why = format!("tracefs cannot be mounted: {error:#}");
        TRACEPOINTS.map(|_| Err(anyhow::anyhow!("{why}")))
    });
    TRACEPOINTS
        .into_iter()
        .zip(formats)
        .map(|(name, content)| {
            entry(
                &format!("tracepoints/{name}/format"),
                "fields of a tracepoint",
                content,
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{is_kernel_file, without_texts};

    #[test]
    fn options_that_are_texts_are_left_out() {
        let config = "#\n# Automatically generated\nCONFIG_BPF=y\nCONFIG_HZ=250\n\
                      # CONFIG_KASAN is not set\nCONFIG_DEFAULT_HOSTNAME=\"db7.example\"\n";
        let kept = "CONFIG_BPF=y\nCONFIG_HZ=250\n# CONFIG_KASAN is not set\n";
        assert_eq!(without_texts(config), kept);
    }

    #[test]
    fn a_rescue_kernels_name_identifies_the_machine() {
        assert!(is_kernel_file("vmlinuz-4.18.0-553.el8_10.x86_64"));
        for name in ["vmlinuz-0-rescue-2b1f", "initrd.img-6.1", "grub"] {
            assert!(!is_kernel_file(name), "{name}");
        }
    }
}
