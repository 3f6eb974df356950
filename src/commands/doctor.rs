//! `ffrtmp-sup doctor`: what limits this host can keep, tried for real on a cgroup that is made for it
//! and removed, what the running supervisor chose, and how this disk has logs rotated.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use serde::Serialize;

use crate::config::paths::Layout;
use crate::linux::cgroup::leftovers::{self, Leftover};
use crate::linux::cgroup::mounts::Mounts;
use crate::linux::cgroup::{self, Before, Request};
use crate::linux::priority::{self, Members};
use crate::linux::process;
use crate::logs::rotate::{self, Means};
use crate::model::cgroup::{Choice, Controller};
use crate::model::constraints::{Backend, ConstraintStatus, Constraints, CpuLimit, IoClass, in_force, merge};
use crate::model::cpus::CpuSet;
use crate::model::units::ByteSize;
use crate::model::units::count;
use crate::supervisor::cgroups::{Chosen, live_instances, names};
use crate::supervisor::lock;

/// Directories of cgroups that are shown to people.
const MAX_SHOWN: usize = 10;

/// What was found.
#[derive(Debug, Serialize)]
struct Findings {
    /// `uname -r`.
    kernel: String,
    uid: u32,
    /// Whether systemd is the init of this host.
    systemd: bool,
    /// The supervisor that runs on these folders.
    supervisor: Option<Running>,
    /// Every mechanism, tried from where this command runs.
    tried: Vec<Tried>,
    /// What became of one constraint of each kind.
    constraints: Vec<ConstraintStatus>,
    /// How logs are rotated.
    logs: Logs,
    /// Empty cgroups of supervisors that are gone.
    leftovers: Vec<Leftover>,
    /// How many of them were removed; null if that was not asked for.
    removed: Option<usize>,
}

#[derive(Debug, Serialize)]
struct Logs {
    folder: PathBuf,
    /// Null: it could not be tried.
    rotation: Option<Means>,
    reason: Option<String>,
}

#[derive(Debug, Serialize)]
struct Running {
    pid: u32,
    cgroups: Option<Chosen>,
}

#[derive(Debug, Serialize)]
struct Tried {
    backend: Backend,
    /// What it offers; null if it is not there.
    controllers: Option<Vec<Controller>>,
    reason: Option<String>,
}

/// Prints what the host can do. `clean`: removes the empty cgroups of supervisors that are gone. True: each constraint can be put in force.
///
/// # Errors
/// Nothing can be printed, `/proc` cannot be read, or the mechanism that `choice` names is not there.
pub fn run(
    layout: &Layout,
    choice: Choice,
    json: bool,
    clean: bool,
    out: &mut dyn Write,
) -> anyhow::Result<bool> {
    let mut findings = look(layout, choice)?;
    if clean {
        findings.removed = Some(remove(&findings.leftovers));
    }
    if json {
        writeln!(out, "{}", serde_json::to_string_pretty(&findings)?)?;
    } else {
        print(&findings, out)?;
    }
    Ok(findings.constraints.iter().all(|status| status.applied))
}

fn look(layout: &Layout, choice: Choice) -> anyhow::Result<Findings> {
    // A name of its own: nothing of a supervisor that runs is touched.
    let instance = format!("ffrtmp-doctor-{}", std::process::id());
    let request = Request { choice, parent: None, instance: &instance };
    let survey = cgroup::open(&request).map_err(anyhow::Error::msg)?;
    let wanted = one_of_each();
    let limits = match survey.tree.create(&format!("_doctor-{}", std::process::id())) {
        Ok(cgroup) => {
            let limits = cgroup::apply(&cgroup, &wanted, Before::Fresh);
            cgroup::remove(&cgroup)?;
            limits
        }
        Err(why) => cgroup::not_in_force(&wanted, &why),
    };
    // On ourselves: we end here.
    let attributes = priority::apply(Members::Main(&process::current()?), &wanted, None, &in_force(&limits));
    let constraints = merge(&wanted, limits, attributes);
    let tried = survey.tried.iter().map(|tried| Tried {
        backend: tried.backend,
        controllers: tried.outcome.as_ref().ok().cloned(),
        reason: tried.outcome.as_ref().err().map(ToString::to_string),
    });
    Ok(Findings {
        kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().into(),
        uid: nix::unistd::geteuid().as_raw(),
        systemd: cgroup::systemd_booted(),
        supervisor: lock::holder(&layout.lock()).map(|pid| Running { pid, cgroups: Chosen::read(layout) }),
        tried: tried.collect(),
        constraints,
        logs: logs(layout.logs()),
        leftovers: leftovers()?,
        removed: None,
    })
}

fn leftovers() -> io::Result<Vec<Leftover>> {
    let below = leftovers::hierarchies(&Mounts::read()?);
    Ok(leftovers::find(&below, live_instances))
}

/// How many are gone now. One that is in use again, or another user's, stays.
fn remove(found: &[Leftover]) -> usize {
    let gone =
        |found: &Leftover| found.cgroups.saturating_sub(leftovers::remove(found).unwrap_or(found.cgroups));
    found.iter().map(gone).sum()
}

/// Tried on a file of its own.
fn logs(folder: PathBuf) -> Logs {
    match rotate::try_out(&folder) {
        Ok(means) => Logs { folder, rotation: Some(means), reason: None },
        Err(error) => Logs { folder, rotation: None, reason: Some(error.to_string()) },
    }
}

/// One value of each constraint, none of them a default.
fn one_of_each() -> Constraints {
    let cpus = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let cpus = cpus.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let first = cpus.and_then(|list| list.trim().split([',', '-']).next()).unwrap_or("0");
    let device = fs::read_dir("/sys/block").into_iter().flatten().flatten().find_map(|entry| {
        let name = entry.file_name();
        let made_up = ["loop", "ram", "zram"].iter().any(|kind| name.to_string_lossy().starts_with(kind));
        let device = fs::read_to_string(entry.path().join("dev")).ok()?;
        (!made_up).then(|| format!("{} wbps=1073741824", device.trim()))
    });
    Constraints {
        cpu: Some(CpuLimit::Quota(50)),
        cpu_weight: Some(200),
        memory_limit: Some(ByteSize(1 << 30)),
        memory_high: Some(ByteSize(1 << 29)),
        memory_swap: Some(ByteSize(0)),
        io_weight: Some(50),
        io_max: device.map(|line| vec![line]),
        nice: Some(-5),
        oom_score_adj: Some(-500),
        tasks_max: Some(512),
        cpus: CpuSet::parse(first).ok(),
        io_class: Some(IoClass::Idle),
        strict: false,
    }
}

fn print(findings: &Findings, out: &mut dyn Write) -> io::Result<()> {
    let init = if findings.systemd { "systemd is the init here" } else { "systemd does not run here" };
    writeln!(out, "Linux {}, uid {}; {init}", findings.kernel, findings.uid)?;
    match &findings.supervisor {
        None => writeln!(out, "No supervisor runs on these folders.")?,
        Some(Running { pid, cgroups }) => {
            write!(out, "The supervisor, pid {pid}, ")?;
            match cgroups {
                None => writeln!(out, "did not record what keeps its limits.")?,
                Some(Chosen { reason: Some(why), .. }) => writeln!(out, "has no cgroups: {why}")?,
                Some(chosen) => {
                    let dirs: Vec<_> = chosen.dirs.iter().map(|dir| dir.display().to_string()).collect();
                    let names = names(&chosen.controllers);
                    writeln!(
                        out,
                        "has its limits kept by {}: {names}\n  {}",
                        chosen.backend,
                        dirs.join("\n  ")
                    )?;
                }
            }
        }
    }
    writeln!(out, "\nTried from here:")?;
    for Tried { backend, controllers, reason } in &findings.tried {
        let text = controllers.as_deref().map(names).or_else(|| reason.clone()).unwrap_or_default();
        let sign = if controllers.is_some() { "yes" } else { "no" };
        writeln!(out, "  {:<10} {sign:<4} {text}", backend.as_str())?;
    }
    writeln!(out, "\nA job that is started from here has:")?;
    for status in &findings.constraints {
        let sign = if status.applied { "yes" } else { "no" };
        let told = match status.backend {
            Backend::None => "there is no cgroup: see above",
            _ => status.reason.as_deref().or(status.actual.as_deref()).unwrap_or_default(),
        };
        writeln!(out, "  {:<14} {sign:<4} {:<10} {told}", status.name, status.backend.as_str())?;
    }
    let Logs { folder, rotation, reason } = &findings.logs;
    let told = match rotation {
        Some(Means::Collapse) => "the head is cut out, no line is lost (collapse)",
        Some(Means::PunchHole) => {
            "the blocks of the head are given back, no line is lost, `ls -l` shows more than there is (punch-hole)"
        }
        Some(Means::Truncate) => "copied, then truncated, lines of that moment are lost (truncate)",
        None => reason.as_deref().unwrap_or_default(),
    };
    writeln!(out, "\nLogs in {} are rotated so:\n  {told}", folder.display())?;
    print_leftovers(findings, out)
}

fn print_leftovers(findings: &Findings, out: &mut dyn Write) -> io::Result<()> {
    if findings.leftovers.is_empty() {
        return Ok(());
    }
    let cgroups = findings.leftovers.iter().map(|found| found.cgroups).sum();
    let gone = count(findings.leftovers.len(), "supervisor");
    write!(out, "\n{} of {gone} that live no more, all empty: ", count(cgroups, "cgroup"))?;
    match findings.removed {
        None => writeln!(out, "`ffrtmp-sup doctor --clean` removes them")?,
        Some(removed) if removed == cgroups => writeln!(out, "removed")?,
        Some(removed) => writeln!(out, "{removed} removed, the others are in use again or another user's")?,
    }
    for dir in findings.leftovers.iter().flat_map(|found| &found.dirs).take(MAX_SHOWN) {
        writeln!(out, "  {}", dir.display())?;
    }
    match findings.leftovers.iter().map(|found| found.dirs.len()).sum::<usize>().saturating_sub(MAX_SHOWN) {
        0 => Ok(()),
        more => writeln!(out, "  and {more} more"),
    }
}
