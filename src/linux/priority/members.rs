//! Whose attributes are meant: the processes of a workload, and their threads.

use std::collections::HashSet;
use std::fs;
use std::io;

use crate::linux::process::{family, identify, is_gone, stat_of};
use crate::model::process::{Pid, ProcessIdentity};

/// Whose attributes are meant. The main process always comes first; if it is gone, there is nobody.
#[derive(Clone, Copy)]
pub enum Members<'a> {
    /// The main thread of the process: all there is before it runs its program, and a cheap look later.
    Main(&'a ProcessIdentity),
    /// The process and its descendants. Finding them takes a look at every process of the machine.
    Family(&'a ProcessIdentity),
    /// The process, and what this lists: the processes of its cgroup (`cgroup.procs`) when it is asked.
    Listed(&'a ProcessIdentity, &'a dyn Fn() -> io::Result<Vec<Pid>>),
}

impl<'a> Members<'a> {
    fn main(self) -> &'a ProcessIdentity {
        match self {
            Self::Main(main) | Self::Family(main) | Self::Listed(main, _) => main,
        }
    }

    /// All that live now; none if the main process is gone.
    pub(super) fn find(self) -> io::Result<Vec<ProcessIdentity>> {
        let main = self.main();
        if stat_of(main)?.is_none_or(|stat| stat.is_zombie()) {
            return Ok(Vec::new());
        }
        let mut members = vec![main.clone()];
        match self {
            Self::Main(_) => {}
            Self::Family(main) => members.extend(family(main)?),
            Self::Listed(main, list) => {
                let mut found = Vec::new();
                for pid in list()?.into_iter().filter(|&pid| pid != main.pid) {
                    found.extend(identify(pid)?);
                }
                // A number that is still in the list was not given to a stranger before it was looked up.
                let still: HashSet<Pid> = list()?.into_iter().collect();
                members.extend(found.into_iter().filter(|process| still.contains(&process.pid)));
            }
        }
        Ok(members)
    }
}

/// The numbers of a process's threads (`/proc/PID/task`), the main one first; none if it is gone.
pub(in crate::linux) fn threads_of(process: &ProcessIdentity) -> io::Result<Vec<Pid>> {
    let entries = match fs::read_dir(format!("/proc/{}/task", process.pid)) {
        Err(error) if is_gone(&error) => return Ok(Vec::new()),
        other => other?,
    };
    let mut threads: Vec<Pid> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok().and_then(Pid::new))
        .collect();
    threads.sort_by_key(|&thread| (thread != process.pid, thread));
    // If the process is still the one we mean, then the list was its own.
    Ok(if stat_of(process)?.is_some() { threads } else { Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::process::current;

    /// A list that changes while it is read, as `cgroup.procs` does.
    #[test]
    fn who_left_the_list_while_it_was_looked_up_is_no_member() {
        let me = current().expect("proc");
        let init = Pid::new(1).expect("a pid");
        let calls = std::cell::Cell::new(0);
        let list = || {
            calls.set(calls.get() + 1);
            Ok(if calls.get() == 1 { vec![me.pid, init] } else { vec![me.pid] })
        };
        assert_eq!(Members::Listed(&me, &list).find().expect("proc"), std::slice::from_ref(&me));
        let both = || Ok(vec![me.pid, init]);
        assert_eq!(Members::Listed(&me, &both).find().expect("proc").len(), 2);
    }
}
