//! The agent's jail: a private mount namespace, a root directory of its own, and the least
//! capabilities and system calls.
//!
//! Two steps, because loading programs needs what the running agent must not have:
//! [`enter`] changes what is seen, [`Entered::confine`] what may be done. Both run while the process
//! has one thread: mount namespace and capabilities belong to threads, not to the process.
//! Everything mounted here lives in the private namespace and goes away with the process, however
//! it ends. What is mounted and kept is the plan's decision; this file only carries it out.

mod bounds;
mod companion;
mod privilege;
mod root;
mod seccomp;
mod state;

use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::config::Config;
use crate::fault;
use crate::paths::PROC_DIR;
use crate::plan::{JailMount, JailNeeds, Until};
use crate::sandbox::Capabilities;

pub use crate::plan::HelperNeeds;
pub use bounds::clean as clean_bounds;
pub use companion::confine as confine_companion;
pub use privilege::{close_inherited, see_cgroups_of};
pub use root::refresh_name_files;
pub use seccomp::install as install_seccomp;
pub use state::{Mount, SandboxState};

/// A thread that was just joined may still be seen for a moment.
const THREADS_GONE_MS: u64 = 2_000;

/// Inside the root directory, still with the capabilities that loading needs.
#[derive(Debug)]
pub struct Entered {
    how: root::How,
    left_out: Vec<String>,
    /// What is mounted, whatever is planned by now.
    mounted: Vec<JailMount>,
}

/// Proof that the process is confined: what needs confinement takes `&Jailed`.
#[derive(Debug)]
pub struct Jailed {
    capabilities: Capabilities,
    seen: SandboxState,
}

impl Jailed {
    /// What the process may still do, as read back from the kernel.
    #[must_use]
    pub const fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// Everything that confines the process, as read back from the kernel.
    #[must_use]
    pub const fn seen(&self) -> &SandboxState {
        &self.seen
    }
}

/// Enters the root directory; must run before any thread exists. `outside` is called with that
/// directory while the host's files are still in sight, within the bounds of the agent.
///
/// # Errors
/// Names the step that failed.
pub fn enter<T>(
    needs: &JailNeeds,
    config: &Config,
    outside: impl FnOnce(&Path) -> T,
) -> Result<(Entered, T)> {
    require_one_thread()?;
    let rootfs = root::check(&config.agent.rootfs, &needs.mounts, needs.user.value)
        .with_context(|| format!("root directory {}", config.agent.rootfs.display()))?;
    let mut left_out = Vec::new();
    // On a read-only file system they stay as they are.
    if let Err(error) = refresh_name_files(&rootfs) {
        left_out.push(format!("names of hosts: {error:#}"));
    }
    if let Err(error) = privilege::set_oom_score_adj(config.jail.oom_score_adj) {
        left_out.push(format!("oom_score_adj: {error:#}"));
    }
    left_out.extend(bounds::enter(&config.jail, &rootfs));
    let outside = outside(&rootfs);
    let (mounted, not_mounted) = root::mount_all(&rootfs, &needs.mounts)?;
    left_out.extend(not_mounted);
    fault::at("jail.mounted");
    let how = root::make_root(&rootfs)?;
    fault::at("jail.entered");
    let entered = Entered {
        how,
        left_out,
        mounted,
    };
    Ok((entered, outside))
}

impl Entered {
    /// How the root directory was entered, for the log.
    #[must_use]
    pub const fn how(&self) -> &'static str {
        self.how.name()
    }

    /// What is optional and could not be done, with its errors.
    #[must_use]
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// Takes away what was mounted for loading, and drops every capability and system call that the
    /// settled plan does not keep; nothing can be loaded afterwards.
    ///
    /// # Errors
    /// Names the step that failed.
    pub fn confine(self, needs: &JailNeeds) -> Result<Jailed> {
        require_one_thread()?;
        // By what was mounted: after a fall-back the plan may not know of it any more.
        for mount in &self.mounted {
            if mount.until == Until::Loaded {
                root::unmount(&Path::new("/").join(mount.target))?;
            }
        }
        root::forbid_links(Path::new(PROC_DIR))?;
        let uid = needs.user.value;
        root::give(&self.mounted, uid)?;
        privilege::limit_resources()?;
        let capabilities = privilege::drop_all_but(needs.capability_set(), uid)?;
        // Last, because it refuses what the steps above do.
        seccomp::install(&needs.seccomp)
            .and_then(|()| seccomp::read_back(&needs.seccomp))
            .context("filter system calls")?;
        let seen = SandboxState::own().context("read back what confines the agent")?;
        Ok(Jailed { capabilities, seen })
    }
}

/// Waits until the process has no thread but this one.
///
/// # Errors
/// It still has others after two seconds.
pub fn require_one_thread() -> Result<()> {
    let give_up = crate::clock::monotonic_ms() + THREADS_GONE_MS;
    loop {
        let threads = privilege::status_field("Threads")?;
        if threads == "1" {
            return Ok(());
        }
        if crate::clock::monotonic_ms() > give_up {
            bail!("the process has {threads} threads; it can only be confined while it has one");
        }
        std::thread::yield_now();
    }
}
