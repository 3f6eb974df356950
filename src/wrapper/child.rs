//! A workload that is this process's child: set up, waited for, and what it leaves behind.

use std::io;
use std::time::{Duration, Instant};

use crate::abort::{self, Point};
use crate::linux::cgroup::{self, counters};
use crate::linux::priority::{self, Members};
use crate::linux::spawn::{self, Held, Stdio};
use crate::linux::{clock, process, rlimits, sys};
use crate::model::cgroup::Cgroup;
use crate::model::constraints::{ConstraintStatus, in_force, merge};
use crate::model::evidence::Counters;
use crate::model::exit::{Ended, LostCause, ObservedBy, Stage, StartError};
use crate::model::ids::RunId;
use crate::model::job::Exec;
use crate::model::process::{Pid, ProcessIdentity};
use crate::model::report::Usage;
use crate::model::rlimit;
use crate::model::signal::Signal;
use crate::model::time::Moment;
use crate::runs::durable::errno;
use crate::runs::record::{Exited, Spec, Started, VERSION};

/// How long the rest of a pipeline has to follow its end.
const A_MOMENT: Duration = Duration::from_millis(20);

/// So many left processes are named.
const MAX_NAMED: usize = 20;

/// Between two looks at processes that are in the job's cgroup, and nobody's children here.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Rounds of SIGKILL to what is left over, of a second each.
const KILL_ROUNDS: u32 = 5;

/// A workload that runs.
pub(super) struct Child {
    pub(super) main: ProcessIdentity,
    pub(super) cgroup: Option<Cgroup>,
    /// What the kernel had counted before it ran.
    baseline: Counters,
    /// Its limit on CPU time in seconds, if the job has one: the kernel raises it with each SIGXCPU.
    cpu_limit: Option<u64>,
}

/// A process that is set up, and waits for the word to execute the workload's program.
pub(super) struct Prepared {
    /// What becomes of it.
    pub(super) child: Child,
    started: Started,
    held: Held,
}

impl Prepared {
    /// What there is to record before the word, as of now: the set-up is not part of the run. Only what the
    /// caller does before it gives the word lies between this time and the first instruction.
    pub(super) fn about_to_begin(&mut self) -> &Started {
        self.started.at = clock::now();
        &self.started
    }

    /// What became of its constraints.
    pub(super) fn constraints(&self) -> &[ConstraintStatus] {
        &self.started.constraints
    }

    /// Gives the word, and tells when that was: at no instant before it did anything of the program run.
    pub(super) fn go(self) -> Result<(Child, Moment), StartError> {
        let began = clock::now();
        self.held.go().map(|()| (self.child, began))
    }
}

pub(super) fn failed(stage: Stage, what: &str, error: &io::Error) -> StartError {
    StartError { stage, errno: errno(error), detail: format!("{what}: {error}") }
}

/// Sets a workload up in its cgroup, and reads its constraints back. With `strict`, all of them have to be in
/// force.
pub(super) fn prepare(
    spec: &Spec,
    exec: &Exec,
    plan: spawn::Plan,
    stdio: Stdio<'_>,
    notes: Vec<String>,
) -> Result<Prepared, StartError> {
    let constraints = spec.job.in_force();
    let kept = in_force(&spec.limits);
    let held = spawn::start(plan, spec.cgroup.as_ref(), stdio)?;
    abort::at(Point::WorkloadForked);
    let proc_failed = |error: io::Error| failed(Stage::Record, "identifying the new process", &error);
    let main = process::identify(held.pid())
        .and_then(|found| found.ok_or_else(|| io::Error::other("it is gone already")))
        .map_err(proc_failed)?;
    let limits = match held.attempt().cgroup {
        None => spec.limits.clone(),
        Some(errno) => cgroup::outside(
            spec.limits.clone(),
            &format!("entering it failed: {}", io::Error::from_raw_os_error(errno)),
        ),
    };
    let attributes = priority::read_back(Members::Main(&main), constraints, held.attempt(), &kept);
    let mut statuses = merge(constraints, limits, attributes);
    statuses.extend(rlimits::read_back(&main, &exec.rlimits, held.attempt()));
    if constraints.strict
        && let Some(status) = statuses.iter().find(|status| !status.applied)
    {
        let reason = status.reason.as_deref().unwrap_or("it was not read back");
        let detail = format!("constraints.strict is set, and {} is not in force: {reason}", status.name);
        return Err(StartError { stage: Stage::Constraint, errno: None, detail });
    }
    // What is not in its cgroup is not counted there.
    let counted = spec.cgroup.as_ref().filter(|_| held.attempt().cgroup.is_none());
    let baseline = counters::read(counted);
    let started = Started {
        version: VERSION,
        run_id: spec.run_id.clone(),
        at: clock::now(),
        process: main.clone(),
        wrapper: process::current().map_err(proc_failed)?,
        constraints: statuses,
        notes,
        baseline: Some(baseline.clone()),
    };
    let cpu_limit = exec.rlimits.get(&rlimit::Resource::Cpu).and_then(|_| rlimits::cpu_time(main.pid));
    let child = Child { main, cgroup: spec.cgroup.clone(), baseline, cpu_limit };
    Ok(Prepared { child, started, held })
}

/// Moves this process to where wrappers live. After the start, which must not wait for it: the kernel
/// takes milliseconds. Where it fails, it stays in the supervisor's cgroup, and never is in the job's.
pub(super) fn leave_cgroup(cgroup: Option<&Cgroup>) {
    if let Some(Cgroup::V2 { wrappers, .. }) = cgroup {
        let _ = cgroup::files::write(wrappers, "cgroup.procs", "0");
    }
}

impl Child {
    /// The names of what the main process left behind. What only takes a moment to follow it, as the rest of a pipeline
    /// does, is not left behind.
    pub(super) fn left_behind(&self) -> Vec<String> {
        let cgroup = self.cgroup.as_ref();
        if all_gone(cgroup) || all_gone_within(A_MOMENT, cgroup) {
            return Vec::new();
        }
        let children = process::current().and_then(|wrapper| process::family(&wrapper)).unwrap_or_default();
        let listed = cgroup.map(cgroup::procs).and_then(Result::ok).unwrap_or_default();
        let others = listed.into_iter().filter(|pid| children.iter().all(|child| child.pid != *pid));
        let others: Vec<_> = others.filter_map(|pid| process::identify(pid).ok().flatten()).collect();
        children.iter().chain(&others).take(MAX_NAMED).filter_map(process::name).collect()
    }

    /// Waits until the main process ends. Orphans that come to us are reaped on the way.
    pub(super) fn wait(&self, run_id: &RunId) -> Exited {
        loop {
            if let Some(exited) = self.look(run_id, true) {
                return exited;
            }
        }
    }

    /// The end of the main process, if it has ended; with `block`, once it has. Orphans that come to us are
    /// reaped on the way.
    pub(super) fn look(&self, run_id: &RunId, block: bool) -> Option<Exited> {
        loop {
            let pid = match sys::peek_exit(block) {
                Ok(Some(pid)) => pid,
                Ok(None) if !block => return None,
                // No child is left, and the main one was never seen to end.
                Ok(None) | Err(_) => {
                    let lost = Ended::Lost(LostCause::WrapperLost);
                    return Some(Exited::unmeasured(run_id.clone(), clock::now(), lost));
                }
            };
            if pid != self.main.pid {
                // Gone already: somebody else's it is not, so it was reaped.
                let _ = sys::reap(pid);
                continue;
            }
            // Before it is reaped: then its counters are gone.
            let io = read_io(pid);
            let raised = self.cpu_limit.and_then(|before| rlimits::cpu_time(pid)?.checked_sub(before));
            let Ok(reaped) = sys::reap(pid) else { continue };
            abort::at(Point::WorkloadReaped);
            let at = clock::now();
            // A kill for memory was counted before the signal was sent.
            let (mut evidence, used) = counters::read(self.cgroup.as_ref()).since(&self.baseline);
            evidence.cpu_limit_signals = raised.unwrap_or(0);
            let usage = used.or(&Usage {
                cpu_sec: Some(reaped.cpu_sec),
                memory_peak_bytes: Some(reaped.memory_peak_bytes),
                io_read_bytes: io.0,
                io_write_bytes: io.1,
                ..Usage::default()
            });
            let exited = Exited::waited(run_id.clone(), at, reaped.status, ObservedBy::Parent);
            return Some(Exited { usage, evidence: Some(evidence), ..exited });
        }
    }

    /// Sends SIGKILL to all there is of it.
    pub(super) fn kill(&self) {
        // What refuses is not ours (it changed its user): the others get theirs.
        let _ = self.cgroup.as_ref().map(cgroup::kill);
        let _ = process::current().and_then(|wrapper| process::kill_family(Some(&wrapper), &self.main));
    }

    /// Whether a descendant is left, born or adopted. Those that have ended are reaped.
    pub(super) fn leaves_something(&self) -> bool {
        !no_child_is_left()
    }

    /// Waits until no descendant is left, born or adopted.
    pub(super) fn reap_all(&self) {
        while let Ok(Some(pid)) = sys::peek_exit(true) {
            let _ = sys::reap(pid);
        }
    }

    /// Ends what the main process left behind: its signal once, the time the job gives, then SIGKILL.
    /// `stop` says how, and is asked only where there is something.
    pub(super) fn end_leftovers(&self, stop: impl FnOnce() -> (Signal, Duration)) {
        let cgroup = self.cgroup.as_ref();
        if all_gone(cgroup) {
            return;
        }
        let (signal, timeout) = stop();
        let Ok(wrapper) = process::current() else { return };
        let leftovers = process::family(&wrapper).unwrap_or_default();
        for leftover in &leftovers {
            // Gone or not ours to signal: SIGKILL is tried later all the same.
            let _ = process::send(leftover, signal);
        }
        // What is nobody's child here any more is in the cgroup all the same.
        let _ = cgroup.map(|cgroup| cgroup::signal(cgroup, signal, &leftovers));
        if all_gone_within(timeout, cgroup) {
            return;
        }
        for _ in 0..KILL_ROUNDS {
            self.kill();
            if all_gone_within(Duration::from_secs(1), cgroup) {
                return;
            }
        }
    }
}

/// Whether everything that the main process left has ended within this time; reaps what are children.
fn all_gone_within(timeout: Duration, cgroup: Option<&Cgroup>) -> bool {
    let begin = Instant::now();
    loop {
        if all_gone(cgroup) {
            return true;
        }
        let left = timeout.saturating_sub(begin.elapsed());
        if left.is_zero() {
            return false;
        }
        // Of what is no child there is no signal.
        sys::wait_for_signal(if no_child_is_left() { left.min(LOOK_AGAIN) } else { left });
    }
}

/// Whether no child is left, born or adopted, and nothing in the cgroup.
fn all_gone(cgroup: Option<&Cgroup>) -> bool {
    no_child_is_left() && cgroup.map(cgroup::procs).and_then(Result::ok).is_none_or(|procs| procs.is_empty())
}

/// Reaps the children that have ended; true if none is left.
fn no_child_is_left() -> bool {
    loop {
        match sys::peek_exit(false) {
            Ok(Some(pid)) => drop(sys::reap(pid)),
            Ok(None) => return false,
            Err(_) => return true,
        }
    }
}

/// Bytes read from and written to storage (`/proc/PID/io`), with those of the children it waited for.
/// Nothing where we may not see them.
fn read_io(pid: Pid) -> (Option<u64>, Option<u64>) {
    let text = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    (field("read_bytes:"), field("write_bytes:"))
}
