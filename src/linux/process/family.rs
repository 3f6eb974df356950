//! The processes of a run, found by who descends from whom, and killed.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;

use super::boot::boot_id;
use super::identity::current;
use super::pidfd::send;
use super::stat::{Stat, read_stat};
use crate::model::process::{Pid, ProcessIdentity};
use crate::model::signal::Signal;

/// Passes over `/proc` after which [`kill_family`] gives up on a family that grows faster than it dies.
const MAX_PASSES: usize = 64;

/// All live descendants of a process, itself excluded, parents before their children.
/// None if the process is gone.
///
/// # Errors
/// `/proc` cannot be read.
pub fn family(root: &ProcessIdentity) -> io::Result<Vec<ProcessIdentity>> {
    Table::read()?.descendants(root).into_iter().map(|stat| stat.identity()).collect()
}

/// Sends SIGKILL to every process of a run, and returns to how many: the main process, its
/// descendants, the descendants of the wrapper (to which orphans come: it is a subreaper), and
/// the members of the session that the main process leads. Never the wrapper. The main process may
/// be gone already. Returns once no more of them are found, without waiting for the last to be dead.
///
/// What moves to a session of its own *and* loses its parents while no wrapper lives is not found:
/// only a cgroup holds such a process.
///
/// # Errors
/// `/proc` cannot be read, or a process refuses to be signalled (`EPERM`); the others got theirs.
pub fn kill_family(wrapper: Option<&ProcessIdentity>, main: &ProcessIdentity) -> io::Result<usize> {
    if main.boot_id != boot_id()? {
        return Ok(0);
    }
    let ourselves = current()?.pid;
    let mut done: HashSet<(Pid, u64)> = HashSet::new();
    let mut killed = 0;
    let mut refused = None;
    for _ in 0..MAX_PASSES {
        let table = Table::read()?;
        let mut fresh = 0;
        for stat in table.run(wrapper, main) {
            let spared = stat.pid == ourselves || wrapper.is_some_and(|wrapper| stat.is(wrapper));
            if spared || stat.is_zombie() || !done.insert((stat.pid, stat.start_time)) {
                continue;
            }
            fresh += 1;
            // A process with SIGKILL pending makes no more children: each pass shrinks the rest.
            match send(&stat.identity()?, Signal::KILL) {
                Ok(true) => killed += 1,
                Ok(false) => {}
                Err(error) => refused = Some(error),
            }
        }
        if fresh == 0 {
            break;
        }
    }
    refused.map_or(Ok(killed), Err)
}

/// One pass over `/proc`.
struct Table(HashMap<Pid, Stat>);

impl Table {
    fn read() -> io::Result<Self> {
        let mut table = HashMap::new();
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.parse().ok()).and_then(Pid::new);
            // One that ends while we look is no longer of interest.
            if let Some(stat) = number.map_or(Ok(None), read_stat)? {
                table.insert(stat.pid, stat);
            }
        }
        Ok(Self(table))
    }

    /// The descendants of a process, parents first; none if it is gone.
    fn descendants(&self, root: &ProcessIdentity) -> Vec<&Stat> {
        if !self.0.get(&root.pid).is_some_and(|stat| stat.is(root)) {
            return Vec::new();
        }
        let mut children: HashMap<u32, Vec<&Stat>> = HashMap::new();
        for stat in self.0.values() {
            children.entry(stat.parent).or_default().push(stat);
        }
        let mut found: Vec<&Stat> = Vec::new();
        let mut next = Some(root.pid);
        let mut looked_at = 0;
        while let Some(parent) = next {
            // Removed, so that a table that changed while it was read cannot lead in a circle.
            found.extend(children.remove(&parent.as_raw().cast_unsigned()).unwrap_or_default());
            next = found.get(looked_at).map(|stat| stat.pid);
            looked_at += 1;
        }
        found
    }

    /// Every process of a run, see [`kill_family`].
    fn run(&self, wrapper: Option<&ProcessIdentity>, main: &ProcessIdentity) -> Vec<&Stat> {
        let holder = self.0.get(&main.pid);
        // The main process first: or it sees its children die and ends by itself, with a code of its own.
        let mut found = Vec::from_iter(holder.filter(|stat| stat.is(main)));
        found.extend(self.descendants(main));
        if let Some(wrapper) = wrapper {
            found.extend(self.descendants(wrapper));
        }
        // The kernel gives a number to nobody while a session has it. If somebody else has the number
        // now, then our session is over and the members of that name are strangers.
        if holder.is_none_or(|stat| stat.is(main)) {
            let session = main.pid.as_raw().cast_unsigned();
            let ours = |stat: &&Stat| stat.session == session && stat.start_time >= main.start_time;
            found.extend(self.0.values().filter(ours));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(pid: u32, parent: u32, session: u32, start_time: u64) -> Stat {
        let pid = Pid::new(pid).expect("a pid");
        let (name, state) = (Vec::new(), b'S');
        Stat { pid, name, state, parent, session, flags: 0, cpu_ticks: 0, nice: 0, start_time }
    }

    fn table(list: &[Stat]) -> Table {
        Table(list.iter().map(|stat| (stat.pid, stat.clone())).collect())
    }

    fn pids(list: &[&Stat]) -> Vec<i32> {
        let mut pids: Vec<i32> = list.iter().map(|stat| stat.pid.as_raw()).collect();
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    #[test]
    fn a_run_is_what_descends_from_wrapper_and_main_and_their_session() {
        let wrapper = stat(10, 1, 10, 100).identity().expect("proc");
        let main = stat(11, 10, 11, 101).identity().expect("proc");
        let all = [
            stat(1, 0, 1, 1),
            stat(10, 1, 10, 100),
            stat(11, 10, 11, 101),
            stat(12, 11, 12, 102), // a session of its own
            stat(13, 12, 12, 103),
            stat(14, 10, 11, 104), // an orphan that came to the wrapper
            stat(15, 1, 11, 105),  // an orphan that did not
            stat(20, 1, 20, 90),
        ];
        assert_eq!(pids(&table(&all).run(Some(&wrapper), &main)), [11, 12, 13, 14, 15]);
        assert_eq!(pids(&table(&all).run(None, &main)), [11, 12, 13, 14, 15]);
        // The main process is gone, and so is its wrapper: its session is what is left.
        let orphans = [stat(12, 1, 12, 102), stat(15, 1, 11, 105), stat(16, 1, 11, 99)];
        assert_eq!(pids(&table(&orphans).run(Some(&wrapper), &main)), [15]);
        // Its number went to a stranger who leads a session.
        let recycled = [stat(11, 1, 11, 500), stat(21, 11, 11, 501)];
        assert!(table(&recycled).run(Some(&wrapper), &main).is_empty());
    }
}
