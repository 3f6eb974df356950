//! The keeper of a run from the command line: the parent of its workload. It does what a detached wrapper does,
//! and writes the reports. Nobody waits for it: the one that was called may be gone.

use std::fs::File;
use std::io::{self, PipeWriter, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::child::{self, Child, failed};
use super::files;
use super::messages::Messages;
use super::request::{INSTANCE, JOB_VARIABLE, Request};
use super::signals::ignored;
use crate::linux::cgroup::{self, Before, Tree};
use crate::linux::process;
use crate::linux::spawn::{Manner, Plan, Stdio};
use crate::linux::{clock, sys};
use crate::model::cgroup::{Cgroup, Choice};
use crate::model::constraints::{ConstraintStatus, in_force};
use crate::model::exit::{Ended, Stage, StartError, State, StopReason, exit_status};
use crate::model::job::Exec;
use crate::model::report::Report;
use crate::model::time::Moment;
use crate::runs::dir::{LockFile, RunDir, new_run_id};
use crate::runs::record::{Exited, Spec, Started};

/// The variable that tells a workload of which run it is.
const RUN_VARIABLE: &str = "FFRTMP_RUN_ID";

/// Between two attempts to write the last report.
const PAUSE: Duration = Duration::from_secs(1);

/// What the keeper tells the one that was called, a line each.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Told {
    pub(super) report: Report,
    /// When the workload began, as far as is known.
    pub(super) began: Option<Moment>,
    /// What to exit with, once it has ended.
    pub(super) status: Option<u8>,
    /// The keeper stays, for what the main process has left behind.
    pub(super) stays: bool,
}

/// The life of the keeper.
pub(super) fn keep(request: &Request, mut told: PipeWriter, messages: Messages, at_terminal: bool) {
    let now = clock::now();
    let run_id = new_run_id(now, None);
    let mut report =
        Report::starting(&request.job, run_id.clone(), 0, now.wall, "started by ffrtmp run".into());
    let begun = begin(request, &mut report, now, messages, at_terminal, &mut told);
    let (mut keeper, exited) = match begun {
        Ok(mut keeper) => {
            let exited = keeper.wait(&mut report);
            drop_pid(request, &report);
            (Some(keeper), exited)
        }
        Err(error) => {
            drop_pid(request, &report);
            (report.pid, report.started_at) = (None, None);
            (None, Exited::unmeasured(run_id, clock::now(), Ended::NotStarted(error)))
        }
    };
    let stop = keeper.as_ref().and_then(|keeper| keeper.stop);
    let began = keeper.as_ref().map(|keeper| keeper.began);
    exited.conclude(&mut report, &request.job, stop, began);
    let mut written = request.files.ended(&report);
    let stays = written.is_err() || keeper.as_ref().is_some_and(|keeper| keeper.child.leaves_something());
    let status = Some(exit_status(&exited.ended, stop));
    let Some(keeper) = keeper.as_mut().filter(|_| stays) else {
        // Nothing is left to do once the caller is told.
        if let Some(keeper) = &mut keeper {
            keeper.close();
        }
        return tell(&mut told, &report, began, status, false);
    };
    tell(&mut told, &report, began, status, true);
    // The caller goes now, whatever is left to do.
    drop(told);
    // A full disk is waited out. Where the folder has gone, nobody waits for it.
    while written.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::NotFound) {
        std::thread::sleep(PAUSE);
        written = request.files.ended(&report);
    }
    keeper.close();
}

/// If nobody listens any more, the reports are on disk.
fn tell(told: &mut PipeWriter, report: &Report, began: Option<Moment>, status: Option<u8>, stays: bool) {
    let line = serde_json::to_vec(&Told { report: report.clone(), began, status, stays });
    let _ = line.map(|mut line| {
        line.push(b'\n');
        told.write_all(&line)
    });
}

/// A run that goes on, as its keeper has it.
struct Keeper<'a> {
    request: &'a Request,
    messages: Messages,
    child: Child,
    record: Option<(RunDir, LockFile)>,
    /// Its cgroups are removed with it, once they are empty.
    _tree: Option<Tree>,
    began: Moment,
    /// Why it was told to end.
    stop: Option<StopReason>,
    killed: bool,
}

fn begin<'a>(
    request: &'a Request,
    report: &mut Report,
    now: Moment,
    messages: Messages,
    at_terminal: bool,
    told: &mut PipeWriter,
) -> Result<Keeper<'a>, StartError> {
    let Some(exec) = request.job.exec() else {
        let detail = "there is no command".into();
        return Err(StartError { stage: Stage::Exec, errno: None, detail });
    };
    let of_keeper = |error| failed(Stage::Wrapper, "the keeper's own set-up", &error);
    let stays_ignored = ignored();
    sys::ignore_group_signals().and_then(|()| sys::ignore_job_control()).map_err(of_keeper)?;
    nix::sys::prctl::set_child_subreaper(true).map_err(|errno| of_keeper(errno.into()))?;
    // Standard output is the report's, then.
    let standard = |number| sys::inherited(number).or_else(|_| null()).map_err(of_keeper);
    let (input, error) = (standard(0)?, standard(2)?);
    let output = if request.json { standard(2)? } else { standard(1)? };
    let tree = request.governed.then(|| open_tree(request.cgroup));
    let (cgroup, limits) = limit(tree.as_ref(), request, report);
    // Not with the environment, which is the caller's own: nothing of that is to be left on a disk.
    let boot_id = process::boot_id().map_err(of_keeper)?;
    let spec = Spec { cgroup, limits, ..Spec::new(request.job.clone(), report.run_id.clone(), boot_id, now) };
    let record = request.files.begin(&spec, messages);
    let prepared = plan(request, exec, &spec, at_terminal, stays_ignored).and_then(|plan| {
        let stdio = Stdio { input: input.as_fd(), output: output.as_fd(), error: error.as_fd() };
        child::prepare(&spec, exec, plan, stdio, Vec::new())
    });
    let begun = prepared.and_then(|mut prepared| {
        // The workload is where it belongs, and has not begun: from here on whoever kills the caller with its
        // group or its session leaves it a keeper.
        nix::unistd::setsid().map_err(|errno| of_keeper(errno.into()))?;
        messages.not_in_force(prepared.constraints());
        let started = prepared.about_to_begin();
        if let Some((run, _)) = &record {
            run.write_started(started).map_err(|e| failed(Stage::Record, "started.json", &e))?;
        }
        note_start(report, started);
        if let Some(file) = &request.pid_file {
            files::put_pid(file, started.process.pid)
                .map_err(|error| failed(Stage::Record, "--pid-file", &error))?;
        }
        request.files.changed(report, messages);
        tell(told, report, Some(started.at), None, false);
        // Before the workload says anything itself; but not of one that is not there.
        let line = format!("Started PID {}", started.process.pid);
        let early = is_there(request);
        if early {
            messages.say(&line);
        }
        let (child, began) = prepared.go()?;
        // Whoever reads messages slowly, and a slow disk, are not part of the run.
        report.started_at = Some(began.wall);
        if !early {
            messages.say(&line);
        }
        Ok((child, began))
    });
    let (child, began) = match begun {
        Ok(begun) => begun,
        Err(error) => {
            let _ = spec.cgroup.as_ref().map(cgroup::remove);
            let _ = record.map(|(run, _)| run.remove());
            return Err(error);
        }
    };
    drop((input, output, error));
    // All that the workload has from the caller is now its own. Should this fail, it is kept all the same.
    let _ = leave(told, record.as_ref().map(|(_, lock)| lock));
    child::leave_cgroup(child.cgroup.as_ref());
    sys::release_unused_stack();
    Ok(Keeper { request, messages, child, record, _tree: tree, began, stop: None, killed: false })
}

/// The end of the main process is that of the pid file.
fn drop_pid(request: &Request, report: &Report) {
    if let Some((file, pid)) = request.pid_file.as_ref().zip(report.pid) {
        files::drop_pid(file, pid);
    }
}

/// Whether there is a program of that name, as far as can be seen from here.
fn is_there(request: &Request) -> bool {
    request.program.contains('/') && Path::new(&request.program).exists()
}

fn null() -> io::Result<OwnedFd> {
    sys::inherited(File::options().read(true).write(true).open("/dev/null")?.as_raw_fd())
}

pub(super) fn open_tree(choice: Choice) -> Tree {
    let asked = cgroup::Request { choice, parent: None, instance: INSTANCE };
    cgroup::open(&asked).map_or_else(Tree::None, |survey| survey.tree)
}

/// The run's cgroup, with its limits in force.
fn limit(tree: Option<&Tree>, request: &Request, report: &Report) -> (Option<Cgroup>, Vec<ConstraintStatus>) {
    let wanted = request.job.in_force();
    let Some(tree) = tree else { return (None, Vec::new()) };
    match tree.create(&format!("{}.{}", report.job_id, report.run_id)) {
        Ok(cgroup) => {
            let limits = cgroup::apply(&cgroup, wanted, Before::Fresh);
            (Some(cgroup), limits)
        }
        Err(why) => (None, cgroup::not_in_force(wanted, &why)),
    }
}

fn plan(
    request: &Request,
    exec: &Exec,
    spec: &Spec,
    at_terminal: bool,
    ignored: Vec<i32>,
) -> Result<Plan, StartError> {
    let here = Exec { working_dir: Some(request.working_dir.clone().unwrap_or(".".into())), ..exec.clone() };
    let manner = Manner::Command { session: !at_terminal, ignored };
    let kept = in_force(&spec.limits);
    let mut environment = request.environment.clone();
    for (key, value) in [(JOB_VARIABLE, spec.job.id.as_str()), (RUN_VARIABLE, spec.run_id.as_str())] {
        if request.governed {
            environment.retain(|(known, _)| known != key);
            environment.push((key.into(), value.into()));
        }
    }
    Plan::new(&here, &request.argv, &environment, request.job.in_force(), &kept, manner)
}

fn note_start(report: &mut Report, started: &Started) {
    report.pid = Some(started.process.pid);
    report.started_at = Some(started.at.wall);
    report.constraints.clone_from(&started.constraints);
    report.event(started.at.wall, State::Running, format!("running, pid {}", started.process.pid));
}

/// Leaves what else there is of the caller's world: its folder, its descriptors.
fn leave(told: &PipeWriter, lock: Option<&LockFile>) -> io::Result<()> {
    let null = null()?;
    let mut keep = vec![told.as_raw_fd(), null.as_raw_fd()];
    keep.extend(lock.map(|lock| lock.as_fd().as_raw_fd()));
    sys::close_all_but(&mut keep, null.as_fd())?;
    nix::sys::prctl::set_name(c"ffrtmp")?;
    nix::unistd::chdir("/")?;
    Ok(())
}

impl Keeper<'_> {
    /// Waits until the main process has ended, and ends it where it takes longer than it may.
    fn wait(&mut self, report: &mut Report) -> Exited {
        loop {
            if let Some(exited) = self.child.look(&report.run_id, false) {
                self.note_leftovers(report);
                return exited;
            }
            let left = self.due().map_or(Duration::MAX, |due| due.saturating_sub(self.lasted()));
            if left.is_zero() {
                self.end(report);
            } else if sys::wait_for_signal(left) {
                report.let_go(clock::now().wall, "the wrapper has gone; the workload continues".into());
                self.request.files.changed(report, self.messages);
            }
        }
    }

    fn lasted(&self) -> Duration {
        clock::boot().since(self.began.boot)
    }

    /// How long after its begin the next step of its end is due, if one is.
    fn due(&self) -> Option<Duration> {
        let job = &self.request.job;
        match (job.timeouts.run?, self.stop) {
            (run, None) => Some(run),
            (run, Some(_)) => (!self.killed).then(|| run + job.stop.timeout),
        }
    }

    /// It has taken longer than it may: its signal, once, to the main process; then SIGKILL to all of it.
    fn end(&mut self, report: &mut Report) {
        let (pid, signal) = (self.child.main.pid, self.request.job.stop.signal);
        let text = if self.stop.is_none() {
            self.stop = Some(StopReason::Timeout);
            match process::send(&self.child.main, signal) {
                Ok(_) => format!("{signal} sent to pid {pid}: it ran longer than the time-out"),
                Err(error) => {
                    format!("it ran longer than the time-out, and {signal} cannot be sent: {error}")
                }
            }
        } else {
            self.killed = true;
            self.child.kill();
            "still there: SIGKILL to all its processes".into()
        };
        report.event(clock::now().wall, State::Running, text);
        self.request.files.changed(report, self.messages);
    }

    /// What the main process has left behind is not ours to end: it runs on, under the same limits.
    fn note_leftovers(&self, report: &mut Report) {
        if self.stop.is_some() || !self.child.leaves_something() {
            return;
        }
        let (left, place) = match &self.child.cgroup {
            Some(cgroup) => (cgroup::procs(cgroup).map(|left| left.len()), ", in its cgroup"),
            None => (process::current().and_then(|own| process::family(&own)).map(|left| left.len()), ""),
        };
        if let Ok(left @ 1..) = left {
            let text = format!("{left} processes that it left behind run on{place}");
            report.event(clock::now().wall, State::Running, text);
        }
    }

    /// Waits for what is left of the run, and removes what was made for it.
    fn close(&mut self) {
        if self.stop.is_some() {
            let stop = &self.request.job.stop;
            self.child.end_leftovers(|| (stop.signal, stop.timeout));
        }
        self.child.reap_all();
        // One that somebody has moved a process into stays.
        let _ = self.child.cgroup.as_ref().map(cgroup::remove);
        if let Some((run, _lock)) = self.record.take() {
            let _ = run.remove();
        }
        self.request.files.settle();
    }
}
