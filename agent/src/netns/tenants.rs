//! Whether a network namespace still has a process. Sockets of this agent keep a namespace, with all
//! its devices, for as long as they are open: one that nobody else lives in is given back.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::tasks::processes;

/// Looks in a row without a process after which a namespace counts as left: a service that is
/// started again needs a moment.
const MAX_MISSES: u8 = 2;

/// Tells one network namespace from another by the inode number of `/proc/<pid>/net/dev`: the kernel
/// makes that file anew for each (`proc_net_ns_init()`, `fs/proc/proc_net.c`), and unlike
/// `/proc/<pid>/ns/net` it takes no capability to look at it (`get_proc_task_net()`).
type Mark = u64;

/// Who lives in one network namespace.
#[derive(Debug)]
pub(crate) struct Tenants {
    /// Not known, not given back.
    mark: Option<Mark>,
    /// A process that was there.
    process: u32,
    misses: u8,
}

impl Tenants {
    /// For the network namespace of the calling thread.
    pub(crate) fn here() -> Self {
        let thread = format!("/proc/self/task/{}", nix::unistd::gettid());
        Self {
            mark: mark(Path::new(&thread)).ok().flatten(),
            process: 0,
            misses: 0,
        }
    }
}

/// Looks for processes, and remembers where.
#[derive(Debug)]
pub(crate) struct Census {
    proc: PathBuf,
}

impl Census {
    pub(crate) const fn new(proc: PathBuf) -> Self {
        Self { proc }
    }

    /// The keys of namespaces that nobody lives in any more.
    ///
    /// Where processes are hidden (`hidepid`) nobody can tell, and none is.
    pub(crate) fn left<'t>(
        &self,
        namespaces: impl Iterator<Item = (u16, &'t mut Tenants)>,
    ) -> Vec<u16> {
        let mut empty: Vec<(u16, &mut Tenants)> = namespaces
            .filter_map(|(key, tenants)| {
                let wanted = tenants.mark?;
                let at = self.proc.join(tenants.process.to_string());
                if matches!(mark(&at), Ok(Some(found)) if found == wanted) {
                    tenants.misses = 0;
                    return None;
                }
                Some((key, tenants))
            })
            .collect();
        if empty.is_empty() {
            return Vec::new();
        }
        let wanted: HashSet<Mark> = empty.iter().filter_map(|(_, one)| one.mark).collect();
        let Some(inhabited) = self.search(&wanted) else {
            return Vec::new();
        };
        empty.retain_mut(|(_, tenants)| {
            let found = inhabited
                .iter()
                .find(|(mark, _)| Some(*mark) == tenants.mark);
            match found {
                Some((_, process)) => (tenants.process, tenants.misses) = (*process, 0),
                None => tenants.misses += 1,
            }
            tenants.misses >= MAX_MISSES
        });
        empty.into_iter().map(|(key, _)| key).collect()
    }

    /// Which of these namespaces have a process, and one of each; `None` where some are hidden.
    fn search(&self, wanted: &HashSet<Mark>) -> Option<Vec<(Mark, u32)>> {
        let (mut found, mut missing) = (Vec::new(), wanted.clone());
        let numbers = processes(&self.proc);
        // The first process is always there, for whom it is not hidden from.
        if !numbers.contains(&1) {
            return None;
        }
        for number in numbers {
            match mark(&self.proc.join(number.to_string())) {
                Ok(Some(mark)) if missing.remove(&mark) => found.push((mark, number)),
                Ok(_) => {}
                Err(_) => return None,
            }
        }
        Some(found)
    }
}

/// The mark of a process's namespace, `None` when the process is gone.
fn mark(process: &Path) -> io::Result<Option<Mark>> {
    match fs::metadata(process.join("net/dev")) {
        Ok(metadata) => Ok(Some(metadata.ino())),
        // A zombie has no namespace any more.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::InvalidInput
            ) =>
        {
            Ok(None)
        }
        Err(error) if error.raw_os_error() == Some(nix::libc::ESRCH) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A `/proc` in which these processes share the files, and so the namespaces, of that number.
    fn host(processes: &[(u32, u32)]) -> tempfile::TempDir {
        let host = tempfile::tempdir().unwrap();
        for (process, namespace) in processes {
            enter(&host, *process, *namespace);
        }
        host
    }

    fn enter(host: &tempfile::TempDir, process: u32, namespace: u32) {
        let file = host.path().join(format!("namespace-{namespace}"));
        fs::write(&file, "").unwrap();
        let net = host.path().join(format!("{process}/net"));
        fs::create_dir_all(&net).unwrap();
        fs::hard_link(file, net.join("dev")).unwrap();
    }

    fn leave(host: &tempfile::TempDir, process: u32) {
        fs::remove_dir_all(host.path().join(process.to_string())).unwrap();
    }

    fn of(host: &tempfile::TempDir, process: u32) -> Tenants {
        Tenants {
            mark: mark(&host.path().join(process.to_string())).unwrap(),
            process: 0,
            misses: 0,
        }
    }

    fn left(host: &tempfile::TempDir, all: &mut [Tenants]) -> Vec<u16> {
        let census = Census::new(host.path().to_owned());
        census.left((0..).zip(all.iter_mut()))
    }

    #[test]
    fn a_namespace_is_left_when_its_last_process_is_gone_for_two_looks() {
        let host = host(&[(1, 1), (7, 2), (8, 2), (9, 3)]);
        let mut all = [of(&host, 7), of(&host, 9)];
        assert!(left(&host, &mut all).is_empty());
        leave(&host, 7);
        assert!(left(&host, &mut all).is_empty(), "8 is still there");
        leave(&host, 8);
        assert!(left(&host, &mut all).is_empty(), "it may come back");
        assert_eq!(left(&host, &mut all), [0]);
    }

    #[test]
    fn who_comes_back_in_time_keeps_its_namespace() {
        let host = host(&[(1, 1), (7, 2)]);
        let mut all = [of(&host, 7)];
        leave(&host, 7);
        assert!(left(&host, &mut all).is_empty());
        enter(&host, 70, 2);
        for _ in 0..3 {
            assert!(left(&host, &mut all).is_empty());
        }
    }

    #[test]
    fn a_number_that_another_process_got_is_not_the_process_that_was_there() {
        let host = host(&[(1, 1), (7, 2)]);
        let mut all = [of(&host, 7)];
        assert!(left(&host, &mut all).is_empty());
        leave(&host, 7);
        enter(&host, 7, 3);
        assert!(left(&host, &mut all).is_empty());
        assert_eq!(left(&host, &mut all), [0]);
    }

    #[test]
    fn nothing_is_left_while_processes_are_hidden() {
        let host = host(&[(7, 2)]);
        let mut all = [of(&host, 7)];
        leave(&host, 7);
        for _ in 0..4 {
            assert!(
                left(&host, &mut all).is_empty(),
                "the first is not to be seen"
            );
        }
        // A file where a directory should be: an error that says nothing of the process.
        enter(&host, 1, 1);
        let odd = host.path().join("8");
        fs::create_dir_all(&odd).unwrap();
        fs::write(odd.join("net"), "").unwrap();
        for _ in 0..4 {
            assert!(left(&host, &mut all).is_empty(), "one cannot be looked at");
        }
        leave(&host, 8);
        left(&host, &mut all);
        assert_eq!(left(&host, &mut all), [0]);
    }

    #[test]
    fn the_kernel_marks_the_namespace_of_this_thread_as_that_of_its_process() {
        let own = mark(Path::new("/proc/self")).unwrap();
        assert!(own.is_some() && Tenants::here().mark == own);
    }
}
