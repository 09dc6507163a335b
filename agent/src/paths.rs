//! Where things are inside the jail.

/// Where the spool and the host id live.
pub const STATE_DIR: &str = "/var/lib/waybill";
/// Lock, status and other things of this run.
pub const RUN_DIR: &str = "/run";
/// The root of the cgroup2 tree, whatever the host's own layout is.
pub const CGROUP_DIR: &str = "/sys/fs/cgroup";
/// The host's processes.
pub const PROC_DIR: &str = "/proc";
/// The spool's database.
pub const SPOOL_FILE: &str = "/var/lib/waybill/spool.db";
/// The certificate that the collector signed, and its key.
pub const ENROLLED_FILE: &str = "/var/lib/waybill/enrolled.json";
/// The log, where the configuration asks for a file.
pub const LOG_FILE: &str = "/var/lib/waybill/agent.log";
/// Held by the one agent that runs here.
pub const LOCK_FILE: &str = "/run/waybill-agent.lock";
