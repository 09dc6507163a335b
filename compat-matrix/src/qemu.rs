//! The emulator: which one, and how it is started for one guest.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::bundle::Bundle;
use crate::kernel::Store;
use crate::matrix::Emulator;

/// Before this version, emulated machines with more than one CPU corrupt their memory.
const SOUND: u32 = 10;

/// Name of the program.
const NAME: &str = "qemu-system-x86_64";

/// A QEMU that can be started.
#[derive(Clone, Debug)]
pub struct Qemu {
    program: PathBuf,
    /// What stands before the program's arguments: its own name, when a loader starts it.
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    /// First number of its version.
    pub major: u32,
    /// Its version, for the report.
    pub version: String,
}

/// How a guest's CPU is had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    /// Translation: works everywhere and is exact enough.
    Tcg,
    /// The host's own, where a trial showed that it boots kernels.
    Kvm,
}

/// One guest.
#[derive(Clone, Debug)]
pub struct Guest {
    /// The kernel.
    pub image: PathBuf,
    /// Its file system.
    pub initrd: PathBuf,
    /// The kernel's command line.
    pub command_line: String,
    /// Memory.
    pub memory_mib: u32,
    /// CPUs.
    pub cpus: u32,
    /// Where the kernel's log goes.
    pub console: PathBuf,
    /// How its CPU is had.
    pub accelerator: Accelerator,
}

impl Qemu {
    /// The given program; or this machine's, if it is sound; or one from packages; or, where
    /// these cannot be had, this machine's all the same.
    ///
    /// # Errors
    /// When there is none at all.
    pub fn find(given: Option<&Path>, store: &Store<'_>, wanted: &Emulator) -> Result<Self> {
        if let Some(program) = given {
            return Self::plain(program);
        }
        let own = Self::plain(Path::new(NAME)).ok();
        if let Some(own) = own.as_ref().filter(|own| own.major >= SOUND) {
            return Ok(own.clone());
        }
        match Bundle::get(store, &wanted.suite, &wanted.packages) {
            Ok(bundle) => Self::bundled(&bundle, &wanted.program),
            Err(error) => own.with_context(|| {
                format!("no {NAME} on this machine, and none from packages: {error:#}")
            }),
        }
    }

    /// Whether guests with so many CPUs are emulated as they must be.
    ///
    /// # Errors
    /// Why not.
    pub fn can_have(&self, cpus: u32) -> Result<()> {
        ensure!(
            cpus == 1 || (cpus > 1 && self.major >= SOUND),
            "QEMU {} corrupts guests with {cpus} CPUs; {SOUND} and newer do not",
            self.version
        );
        Ok(())
    }

    fn plain(program: &Path) -> Result<Self> {
        Self {
            program: program.to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
            major: 0,
            version: String::new(),
        }
        .asked()
    }

    /// Started through the loader of its own distribution, with its libraries.
    fn bundled(bundle: &Bundle, program: &str) -> Result<Self> {
        let file = bundle.file(program).context("no QEMU in its package")?;
        let loader = bundle
            .file("usr/lib64/ld-linux-x86-64.so.2")
            .or_else(|| bundle.file("lib64/ld-linux-x86-64.so.2"))
            .context("no loader in QEMU's packages")?;
        // Names what is missing now, and not when the first guest starts.
        bundle.libraries(std::slice::from_ref(&file))?;
        let root = &bundle.root;
        let data = |folder: &str| root.join(folder).display().to_string();
        Self {
            program: loader,
            arguments: vec![
                "--library-path".into(),
                bundle.library_path(),
                file.display().to_string(),
                "-L".into(),
                data("usr/share/qemu"),
                "-L".into(),
                data("usr/share/seabios"),
            ],
            environment: vec![(
                "QEMU_MODULE_DIR".into(),
                data("usr/lib/x86_64-linux-gnu/qemu"),
            )],
            major: 0,
            version: String::new(),
        }
        .asked()
    }

    /// Asks it for its version.
    fn asked(mut self) -> Result<Self> {
        let output = self
            .command()
            .arg("--version")
            .output()
            .with_context(|| format!("start {}", self.program.display()))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(
            output.status.success(),
            "QEMU does not start: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        self.version = version(&text).context("QEMU does not say its version")?;
        self.major = self.version.split('.').next().unwrap_or("0").parse()?;
        Ok(self)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        command.envs(self.environment.iter().cloned());
        command
    }

    /// The command that runs a guest to its end; results are on its standard output.
    ///
    /// One CPU unless more are asked for: exact on every QEMU, and as many guests run at a time as
    /// there are cores. The host's randomness is the guest's, which has no other source and would
    /// wait for it for half a minute (before 4.19).
    #[must_use]
    pub fn guest(&self, guest: &Guest) -> Command {
        let mut command = dying_with_us(self.command());
        let (accelerator, cpu) = match guest.accelerator {
            Accelerator::Tcg => ("tcg", "max"),
            Accelerator::Kvm => ("kvm", "host"),
        };
        let memory = guest.memory_mib.to_string();
        command.args(["-M", "q35", "-accel", accelerator, "-cpu", cpu]);
        command.args(["-smp", &guest.cpus.to_string(), "-m", &memory]);
        command.args(["-object", "rng-random,id=host,filename=/dev/urandom"]);
        command.args(["-device", "virtio-rng-pci,rng=host"]);
        command.arg("-kernel").arg(&guest.image);
        command.arg("-initrd").arg(&guest.initrd);
        command.args(["-append", &guest.command_line]);
        command.args(["-nodefaults", "-no-user-config", "-display", "none"]);
        command.args(["-no-reboot", "-nic", "none", "-serial"]);
        command.arg(format!("file:{}", guest.console.display()));
        command.args(["-serial", "stdio"]);
        command
    }
}

/// A guest must not outlive whoever waits for it, even when that is killed.
fn dying_with_us(command: Command) -> Command {
    let setpriv = ["/usr/bin/setpriv", "/bin/setpriv"]
        .into_iter()
        .find(|path| Path::new(path).exists());
    let Some(setpriv) = setpriv else {
        return command;
    };
    let mut wrapped = Command::new(setpriv);
    wrapped.args(["--pdeathsig", "KILL"]);
    wrapped.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            wrapped.env(name, value);
        }
    }
    wrapped
}

/// `10.0.13` in "QEMU emulator version 10.0.13 (Debian ...)".
fn version(text: &str) -> Option<String> {
    let rest = text.split("version ").nth(1)?;
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.');
    let version = &rest[..end.unwrap_or(rest.len())];
    version
        .starts_with(|c: char| c.is_ascii_digit())
        .then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Accelerator, Guest, Qemu, version};

    fn qemu(major: u32) -> Qemu {
        Qemu {
            program: "qemu".into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            major,
            version: format!("{major}.0"),
        }
    }

    #[test]
    fn a_guest_has_the_cpus_it_asks_for_and_a_source_of_randomness() {
        let guest = Guest {
            image: "bzImage".into(),
            initrd: "initrd".into(),
            command_line: String::new(),
            memory_mib: 640,
            cpus: 2,
            console: "console".into(),
            accelerator: Accelerator::Tcg,
        };
        let command = qemu(10).guest(&guest);
        let words: Vec<_> = command
            .get_args()
            .map(|word| word.to_string_lossy())
            .collect();
        let follows = |name: &str| {
            let at = words.iter().position(|word| word == name).unwrap();
            words[at + 1].clone()
        };
        assert_eq!(follows("-smp"), "2");
        assert!(follows("-device").starts_with("virtio-rng"));
    }

    #[test]
    fn two_cpus_are_for_emulators_that_do_not_corrupt_memory() {
        assert!(qemu(7).can_have(1).is_ok() && qemu(10).can_have(2).is_ok());
        assert!(
            qemu(7)
                .can_have(2)
                .unwrap_err()
                .to_string()
                .contains("corrupts")
        );
        assert!(qemu(10).can_have(0).is_err());
    }

    #[test]
    fn the_version_is_read_from_what_distributions_make_of_it() {
        let debian = "QEMU emulator version 10.0.13 (Debian 1:10.0.13+ds-0+deb13u1)\nCopyright";
        assert_eq!(version(debian).as_deref(), Some("10.0.13"));
        assert_eq!(
            version("QEMU emulator version 7.2.22").as_deref(),
            Some("7.2.22")
        );
        assert_eq!(version("something else"), None);
    }
}
