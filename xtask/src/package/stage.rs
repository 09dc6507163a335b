//! The files of a package, as they will lie on a host.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use ::rootfs::Manifest;
use anyhow::{Result, ensure};

use super::documents::Documents;
use super::release::Release;
use super::tree::{Tree, clamp, set_mode};
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
/// Folders that we and others put something into, and that go with the last of them.
const SHARED: [&str; 6] = [
    "usr/share/bash-completion",
    "usr/share/bash-completion/completions",
    "usr/share/fish",
    "usr/share/fish/vendor_completions.d",
    "usr/share/zsh",
    "usr/share/zsh/site-functions",
];
/// Files of the jail that the agent writes: nobody need complain about them.
pub(super) const WRITTEN: [&str; 2] = ["etc/hosts", "etc/resolv.conf"];
/// Folders of the jail that the agent gives to its own user.
pub(super) const GIVEN: [&str; 2] = ["run", "var/lib/waybill"];
/// State of the collector.
pub(super) const STORE: &str = "var/lib/waybill-collector";

/// What a package is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// dpkg.
    Deb,
    /// rpm.
    Rpm,
    /// Hosts with neither.
    Archive,
}

/// A program that is packaged.
#[derive(Debug)]
pub(super) struct Program {
    /// `waybill-agent`
    pub(super) name: &'static str,
    /// One line.
    pub(super) summary: &'static str,
    /// A few lines.
    pub(super) description: &'static str,
    /// The functions of its maintainer scripts: name of a file in `packaging/scripts`.
    pub(super) functions: &'static str,
    fill: fn(&Staging<'_>) -> Result<()>,
}

/// Both.
pub(super) const PROGRAMS: [Program; 2] = [
    Program {
        name: "waybill-agent",
        summary: "joins both ends of each TCP connection, behind any NAT",
        description: "The agent measures the TCP connections of a host, writes a 16-byte TCP option\n\
             on their handshake where the kernel can do it, and sends what it saw to a\n\
             collector. It is one static program that confines itself to\n\
             /opt/waybill/rootfs.",
        functions: "agent.sh",
        fill: agent,
    },
    Program {
        name: "waybill-collector",
        summary: "takes what Waybill agents saw and shows who talks to whom",
        description: "The collector accepts batches from agents, joins both ends of each connection\n\
             and answers questions. It is one static program without privilege.",
        functions: "collector.sh",
        fill: collector,
    },
];

/// A package before it is packed.
#[derive(Debug)]
pub(super) struct Package {
    pub(super) program: &'static Program,
    /// Files that are kept when an operator changed them, relative to the root.
    pub(super) config: Vec<String>,
    /// The folder that looks like the root of a host.
    pub(super) tree: PathBuf,
    /// Every path in `tree`, sorted, folders before what is in them.
    pub(super) paths: Vec<String>,
}

impl Package {
    /// Stages a program below `folder`.
    ///
    /// # Errors
    /// When a file is missing or the file system refuses.
    pub(super) fn stage(
        release: &Release,
        documents: &Documents,
        program: &'static Program,
        kind: Kind,
        folder: &Path,
    ) -> Result<Self> {
        let staging = Staging {
            tree: Tree::new(folder, release)?,
            documents,
            name: program.name,
            kind,
        };
        (program.fill)(&staging)?;
        staging.common()?;
        let config = vec![
            format!("etc/waybill/{}", config_name(program.name)),
            format!("etc/logrotate.d/{}", program.name),
        ];
        let tree = staging.tree.root;
        Ok(Self {
            program,
            config,
            paths: clamp(&tree, release)?,
            tree,
        })
    }

    /// Whether a path is configuration.
    pub(super) fn is_config(&self, path: &str) -> bool {
        self.config.iter().any(|config| config == path)
    }

    /// Whether a folder of the tree belongs to the package, and not to the system alone.
    pub(super) fn owns(&self, path: &str) -> bool {
        path == STORE
            || SHARED.contains(&path)
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

/// `agent.toml`
fn config_name(program: &str) -> String {
    format!("{}.toml", program.trim_start_matches("waybill-"))
}

fn agent(staging: &Staging<'_>) -> Result<()> {
    let (tree, name) = (&staging.tree, staging.name);
    let programs = tree.root.with_file_name("programs");
    fs::create_dir_all(&programs)?;
    program(tree.release, name, &programs.join(name))?;
    tree.directory("opt/waybill", 0o755)?;
    let time = tree.release.time();
    ::rootfs::assemble(
        &Manifest::current()?,
        &programs,
        &tree.root.join(JAIL),
        time,
    )?;
    fs::remove_dir_all(&programs)?;
    // Once on the host's disk: the jail has the program, the host a link to it.
    tree.link(
        &format!("usr/bin/{name}"),
        &format!("/{JAIL}/usr/bin/{name}"),
    )?;
    tree.copy(
        "packaging/bundle/waybill-bundle",
        "usr/sbin/waybill-bundle",
        0o755,
    )?;
    staging.page("man8/waybill-bundle.8")?;
    let config = workspace::read("packaging/config/agent.toml.example")?;
    // RFC 4727 and 6994: experiments are configured explicitly, so the package says the kind.
    let config = explicit(&config, "kind = 253")?;
    let config = explicit(&config, "exid = 0x5742")?;
    tree.write("etc/waybill/agent.toml", &config, 0o644)
}

fn collector(staging: &Staging<'_>) -> Result<()> {
    let (tree, name) = (&staging.tree, staging.name);
    tree.directory("usr/bin", 0o755)?;
    let to = tree.root.join("usr/bin").join(name);
    program(tree.release, name, &to)?;
    set_mode(&to, 0o755)?;
    tree.directory(STORE, 0o750)?;
    tree.copy(
        "packaging/systemd/waybill-collector.socket",
        "usr/lib/systemd/system/waybill-collector.socket",
        0o644,
    )?;
    let config = workspace::read("packaging/config/collector.toml.example")?;
    tree.write("etc/waybill/collector.toml", &config, 0o644)
}

/// A package while it is staged.
struct Staging<'r> {
    tree: Tree<'r>,
    documents: &'r Documents,
    name: &'static str,
    kind: Kind,
}

impl Staging<'_> {
    /// A manual page, `man8/NAME.8`.
    fn page(&self, page: &str) -> Result<()> {
        let text = self.documents.get(page)?;
        self.tree.packed(&format!("usr/share/man/{page}.gz"), &text)
    }

    /// What both programs have: unit, script, completions, manual, documents.
    fn common(&self) -> Result<()> {
        let name = self.name;
        self.tree.copy(
            &format!("packaging/systemd/{name}.service"),
            &format!("usr/lib/systemd/system/{name}.service"),
            0o644,
        )?;
        let script = workspace::read(&format!("packaging/sysvinit/{name}"))?;
        let script = script + &workspace::read("packaging/sysvinit/service.sh")?;
        self.tree
            .write(&format!("usr/share/waybill/{name}.init"), script, 0o755)?;
        self.tree.copy(
            &format!("packaging/logrotate/{name}"),
            &format!("etc/logrotate.d/{name}"),
            0o644,
        )?;
        self.page(&format!("man8/{name}.8"))?;
        self.page(&format!("man5/{name}.toml.5"))?;
        let zsh = match self.kind {
            Kind::Deb => "usr/share/zsh/vendor-completions",
            Kind::Rpm | Kind::Archive => "usr/share/zsh/site-functions",
        };
        for (made, path) in [
            (
                format!("bash/{name}"),
                format!("usr/share/bash-completion/completions/{name}"),
            ),
            (format!("zsh/_{name}"), format!("{zsh}/_{name}")),
            (
                format!("fish/{name}.fish"),
                format!("usr/share/fish/vendor_completions.d/{name}.fish"),
            ),
            (
                format!("{name}.notices"),
                format!("usr/share/doc/{name}/NOTICES"),
            ),
            (
                format!("{name}.cdx.json"),
                format!("usr/share/doc/{name}/{name}.cdx.json"),
            ),
        ] {
            self.tree.write(&path, self.documents.get(&made)?, 0o644)?;
        }
        for document in [
            "README.md",
            "docs/OPERATIONS.md",
            "docs/THREAT-MODEL.md",
            "docs/KERNEL-POLICY.md",
        ] {
            let file = document.rsplit('/').next().unwrap_or(document);
            self.tree
                .copy(document, &format!("usr/share/doc/{name}/{file}"), 0o644)?;
        }
        let copyright = self.documents.copyright(self.tree.release, name)?;
        self.tree
            .write(&format!("usr/share/doc/{name}/copyright"), copyright, 0o644)?;
        self.changes()
    }

    fn changes(&self) -> Result<()> {
        let folder = format!("usr/share/doc/{}", self.name);
        if self.kind != Kind::Deb {
            return self
                .tree
                .copy("CHANGELOG.md", &format!("{folder}/CHANGELOG.md"), 0o644);
        }
        let changes = workspace::read("CHANGELOG.md")?;
        self.tree
            .packed(&format!("{folder}/changelog.gz"), changes.as_bytes())?;
        let changes =
            self.documents
                .packed_changelog(self.tree.release, self.name, &self.tree.root)?;
        self.tree
            .write(&format!("{folder}/changelog.Debian.gz"), changes, 0o644)?;
        self.tree.copy(
            &format!("packaging/deb/{}.lintian-overrides", self.name),
            &format!("usr/share/lintian/overrides/{}", self.name),
            0o644,
        )
    }
}

/// Copies a built program as it is shipped: without what only a debugger reads.
///
/// # Errors
/// When it was not built, or cannot be stripped.
pub(super) fn program(release: &Release, name: &str, to: &Path) -> Result<()> {
    let from = release.programs.join(name);
    let mut strip = release.tool("strip");
    child::run(
        strip
            .args(["--remove-section=.comment", "-o"])
            .arg(to)
            .arg(&from),
    )
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
