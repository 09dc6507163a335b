//! The files of a package, as they will lie on a host.

use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use ::rootfs::Manifest;
use anyhow::{Context, Result, ensure};

use super::release::Release;
use crate::{child, workspace};

/// Where the jail is on a host.
pub(super) const JAIL: &str = "opt/waybill/rootfs";

/// Folders that belong to the packages; all others are the system's.
const OWN: [&str; 5] = [
    "etc/waybill",
    "opt/waybill",
    "usr/share/waybill",
    "usr/share/doc/waybill-agent",
    "usr/share/doc/waybill-collector",
];
/// State of the collector.
const STORE: &str = "var/lib/waybill-collector";

/// A package before it is packed.
#[derive(Debug)]
pub(super) struct Package {
    /// `waybill-agent`
    pub(super) name: &'static str,
    /// One line.
    pub(super) summary: &'static str,
    /// A few lines.
    pub(super) description: &'static str,
    /// Files that are kept when an operator changed them, relative to the root.
    pub(super) config: &'static str,
    /// The functions of its maintainer scripts: name of a file in `packaging/scripts`.
    pub(super) functions: &'static str,
    /// The folder that looks like the root of a host.
    pub(super) tree: PathBuf,
    /// Every path in `tree`, sorted, folders before what is in them.
    pub(super) paths: Vec<String>,
}

impl Package {
    /// Stages the agent below `folder`.
    ///
    /// # Errors
    /// When a file is missing or the file system refuses.
    pub(super) fn agent(release: &Release, folder: &Path) -> Result<Self> {
        let name = "waybill-agent";
        let tree = Tree::new(folder, release)?;
        let programs = folder.join("programs");
        fs::create_dir_all(&programs)?;
        program(release, name, &programs.join(name))?;
        tree.directory("opt/waybill", 0o755)?;
        ::rootfs::assemble(
            &Manifest::current()?,
            &programs,
            &tree.root.join(JAIL),
            release.time(),
        )?;
        // Once on the host's disk: the jail has the program, the host a link to it.
        tree.link(
            &format!("usr/bin/{name}"),
            &format!("/{JAIL}/usr/bin/{name}"),
        )?;
        tree.copy(
            "packaging/sysvinit/waybill-agent",
            "usr/share/waybill/waybill-agent.init",
            0o755,
        )?;
        let config = read("packaging/config/agent.toml.example")?;
        // RFC 4727 and 6994: experiments are configured explicitly, so the package says the kind.
        let config = explicit(&config, "kind = 253")?;
        let config = explicit(&config, "exid = 0x5742")?;
        tree.write("etc/waybill/agent.toml", &config, 0o644)?;
        tree.common(name)?;
        tree.finish(Self {
            name,
            summary: "joins both ends of each TCP connection, behind any NAT",
            description: "The agent measures the TCP connections of a host, writes a 16-byte TCP option on\n\
                 their handshake where the kernel can do it, and sends what it saw to a collector.\n\
                 It is one static program that confines itself to /opt/waybill/rootfs.",
            config: "etc/waybill/agent.toml",
            functions: "agent.sh",
            tree: PathBuf::new(),
            paths: Vec::new(),
        })
    }

    /// Stages the collector below `folder`.
    ///
    /// # Errors
    /// When a file is missing or the file system refuses.
    pub(super) fn collector(release: &Release, folder: &Path) -> Result<Self> {
        let name = "waybill-collector";
        let tree = Tree::new(folder, release)?;
        tree.directory("usr/bin", 0o755)?;
        program(release, name, &tree.root.join("usr/bin").join(name))?;
        set_mode(&tree.root.join("usr/bin").join(name), 0o755)?;
        tree.directory(STORE, 0o750)?;
        let config = read("packaging/config/collector.toml.example")?;
        tree.write("etc/waybill/collector.toml", &config, 0o644)?;
        tree.common(name)?;
        tree.finish(Self {
            name,
            summary: "takes what Waybill agents saw and shows who talks to whom",
            description: "The collector accepts batches from agents, joins both ends of each connection and\n\
                 answers questions. It is one static program without privilege.",
            config: "etc/waybill/collector.toml",
            functions: "collector.sh",
            tree: PathBuf::new(),
            paths: Vec::new(),
        })
    }

    /// Whether a folder of the tree belongs to the package, and not to the system.
    pub(super) fn owns(&self, path: &str) -> bool {
        path == STORE
            || OWN.iter().any(|own| {
                path.strip_prefix(own)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
    }

    /// Permission bits of a path in the tree.
    ///
    /// # Errors
    /// When it is not there.
    pub(super) fn mode(&self, path: &str) -> Result<u32> {
        let metadata = self.tree.join(path).symlink_metadata()?;
        Ok(metadata.permissions().mode() & 0o7777)
    }

    /// What a path in the tree is.
    ///
    /// # Errors
    /// When it is not there.
    pub(super) fn kind(&self, path: &str) -> Result<fs::FileType> {
        Ok(self.tree.join(path).symlink_metadata()?.file_type())
    }
}

/// A folder that is being filled.
struct Tree<'r> {
    root: PathBuf,
    release: &'r Release,
}

impl<'r> Tree<'r> {
    fn new(folder: &Path, release: &'r Release) -> Result<Self> {
        let root = folder.join("tree");
        ensure!(!root.exists(), "{} is in the way", root.display());
        fs::create_dir_all(&root).with_context(|| format!("make {}", root.display()))?;
        set_mode(&root, 0o755)?;
        Ok(Self { root, release })
    }

    /// Makes a folder and those above it.
    fn directory(&self, path: &str, mode: u32) -> Result<()> {
        let mut way = self.root.clone();
        for part in Path::new(path) {
            way.push(part);
            if !way.exists() {
                fs::create_dir(&way)?;
                set_mode(&way, 0o755)?;
            }
        }
        set_mode(&way, mode)
    }

    fn above(&self, path: &str) -> Result<PathBuf> {
        if let Some((folder, _)) = path.rsplit_once('/')
            && !self.root.join(folder).exists()
        {
            self.directory(folder, 0o755)?;
        }
        Ok(self.root.join(path))
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>, mode: u32) -> Result<()> {
        let to = self.above(path)?;
        fs::write(&to, content).with_context(|| format!("write {path}"))?;
        set_mode(&to, mode)
    }

    fn copy(&self, from: &str, path: &str, mode: u32) -> Result<()> {
        self.write(path, read(from)?, mode)
    }

    fn link(&self, path: &str, target: &str) -> Result<()> {
        symlink(target, self.above(path)?).with_context(|| format!("link {path}"))
    }

    /// What both packages have: unit, manual, documents.
    fn common(&self, name: &str) -> Result<()> {
        self.copy(
            &format!("packaging/systemd/{name}.service"),
            &format!("usr/lib/systemd/system/{name}.service"),
            0o644,
        )?;
        let page = workspace::root().join(format!("packaging/man/{name}.8"));
        let mut gzip = self.release.tool("gzip");
        let output = gzip.args(["-9nc"]).arg(&page).output().context("gzip")?;
        ensure!(output.status.success(), "gzip {}", page.display());
        self.write(
            &format!("usr/share/man/man8/{name}.8.gz"),
            output.stdout,
            0o644,
        )?;
        for document in [
            "README.md",
            "CHANGELOG.md",
            "docs/OPERATIONS.md",
            "docs/THREAT-MODEL.md",
            "docs/KERNEL-POLICY.md",
        ] {
            let file = document.rsplit('/').next().unwrap_or(document);
            self.copy(document, &format!("usr/share/doc/{name}/{file}"), 0o644)?;
        }
        self.copy("LICENSE", &format!("usr/share/doc/{name}/copyright"), 0o644)
    }

    /// Gives everything its time and lists it.
    fn finish(self, package: Package) -> Result<Package> {
        let mut paths = Vec::new();
        list(&self.root, &self.root, &mut paths)?;
        paths.sort();
        let time = self.release.time();
        let times = FileTimes::new().set_modified(time).set_accessed(time);
        for path in paths.iter().rev() {
            let path = self.root.join(path);
            // A link's own time is set by nothing safe; every packer here clamps it.
            if !path.is_symlink() {
                File::open(&path)?.set_times(times)?;
            }
        }
        File::open(&self.root)?.set_times(times)?;
        Ok(Package {
            tree: self.root,
            paths,
            ..package
        })
    }
}

/// Every path below `folder`, relative to `root`.
fn list(root: &Path, folder: &Path, into: &mut Vec<String>) -> Result<()> {
    for entry in folder.read_dir()? {
        let path = entry?.path();
        let relative = path
            .strip_prefix(root)?
            .to_str()
            .context("a path in UTF-8")?;
        into.push(relative.to_owned());
        if path.is_dir() && !path.is_symlink() {
            list(root, &path, into)?;
        }
    }
    Ok(())
}

/// Copies a built program; the developer's is stripped, as the shipped one is already.
pub(super) fn program(release: &Release, name: &str, to: &Path) -> Result<()> {
    let from = release.programs.join(name);
    fs::copy(&from, to).with_context(|| format!("copy {}", from.display()))?;
    if release.haste {
        child::run(Command::new("strip").arg(to))?;
    }
    Ok(())
}

/// A file of this workspace.
pub(super) fn read(path: &str) -> Result<String> {
    let path = workspace::root().join(path);
    fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
}

/// Makes a default of the example explicit.
fn explicit(config: &str, line: &str) -> Result<String> {
    let commented = format!("\n#{line}\n");
    ensure!(
        config.contains(&commented),
        "the example configuration has no line #{line}"
    );
    Ok(config.replace(&commented, &format!("\n{line}\n")))
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode))
        .with_context(|| format!("set the mode of {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::explicit;

    #[test]
    fn a_default_becomes_explicit_and_nothing_else_changes() {
        let config = "[option]\n#kind = 253\n#exid = 1\n";
        let made = explicit(config, "kind = 253").expect("there");
        assert_eq!(made, "[option]\nkind = 253\n#exid = 1\n");
        assert!(explicit(config, "kind = 254").is_err());
    }
}
