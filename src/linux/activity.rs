//! What the processes of a run have done so far ([`Activity`]), read from `/proc`.

use std::fs;
use std::io;

use super::clock;
use super::process::{self, is_gone, read_thread_state, stat_of};
use crate::model::activity::Activity;
use crate::model::process::{Pid, ProcessIdentity};

/// What a run's main process and `others` have done; others that are gone have done nothing.
///
/// # Errors
/// `/proc` cannot be read; `EACCES`: what a process writes is for its user to see, and for
/// `CAP_SYS_PTRACE`.
pub fn read(main: &ProcessIdentity, others: &[Pid]) -> io::Result<Activity> {
    let mut all = Activity::default();
    add(main, &mut all)?;
    for &pid in others.iter().filter(|&&pid| pid != main.pid) {
        if let Some(process) = process::identify(pid)? {
            add(&process, &mut all)?;
        }
    }
    Ok(all)
}

fn add(process: &ProcessIdentity, all: &mut Activity) -> io::Result<()> {
    let Some(stat) = stat_of(process)?.filter(|stat| !stat.is_zombie()) else { return Ok(()) };
    let Some(written) = written(process.pid)? else { return Ok(()) };
    all.processes += 1;
    all.newest = all.newest.max(stat.start_time);
    all.cpu += clock::ticks(stat.cpu_ticks);
    all.written += written;
    all.waits_for_disk |= waits_for_disk(process.pid)?;
    Ok(())
}

/// `None`: it is gone.
fn written(pid: Pid) -> io::Result<Option<u64>> {
    let text = match fs::read_to_string(format!("/proc/{pid}/io")) {
        Err(error) if is_gone(&error) => return Ok(None),
        text => text?,
    };
    let field = text.lines().find_map(|line| line.strip_prefix("wchar:")?.trim().parse().ok());
    let missing = || io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/io has no wchar"));
    field.map(Some).ok_or_else(missing)
}

fn waits_for_disk(pid: Pid) -> io::Result<bool> {
    let tasks = match fs::read_dir(format!("/proc/{pid}/task")) {
        Err(error) if is_gone(&error) => return Ok(false),
        tasks => tasks?,
    };
    for task in tasks.flatten() {
        let thread = task.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::new);
        if let Some(thread) = thread
            && read_thread_state(pid, thread)? == Some(b'D')
        {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::Duration;

    use super::*;

    #[test]
    fn work_is_seen_and_waiting_is_none() {
        let me = process::current().expect("proc");
        let before = read(&me, &[me.pid]).expect("proc");
        assert_eq!(before.processes, 1, "nobody is counted twice");
        let file = tempfile::tempfile().expect("a file");
        (&file).write_all(b"12345").expect("written");
        let begin = std::time::Instant::now();
        while begin.elapsed() < Duration::from_millis(60) {}
        let after = read(&me, &[]).expect("proc");
        assert!(after.written >= before.written + 5 && after.cpu > before.cpu, "{before:?} {after:?}");
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("it starts");
        let pid = Pid::new(child.id()).expect("a pid");
        let sleeper = process::identify(pid).expect("proc").expect("it lives");
        // Until it sleeps: it is still being loaded.
        let sleeping = || matches!(stat_of(&sleeper), Ok(Some(stat)) if stat.state == b'S');
        while !sleeping() || read(&sleeper, &[]).expect("proc") != read(&sleeper, &[]).expect("proc") {}
        let before = read(&sleeper, &[]).expect("proc");
        std::thread::sleep(Duration::from_millis(50));
        let after = read(&sleeper, &[]).expect("proc");
        let seen = after.goes_on_since(&before, Duration::from_millis(50));
        child.kill().and_then(|()| child.wait()).expect("ours");
        assert!(!seen, "{before:?} {after:?}");
        assert_eq!(read(&sleeper, &[]).expect("proc"), Activity::default(), "it is gone");
    }
}
