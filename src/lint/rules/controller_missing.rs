//! A limit the kernel has no controller for.

use crate::lint::host::Host;
use crate::lint::rule::{Context, Problem, rule, value};
use crate::model::constraints::ConstraintName;

rule! {
    "controller-missing" Warning "A cgroup controller is missing on this machine"
    because "\
Told with `--host` only. Limits on CPU, memory, disks and tasks are kept by controllers of the kernel \
(cgroups(7)). Where one is missing, not compiled in, switched off at boot, or not handed on to a \
container, the limits that need it are not in force; the report says so, and a `strict` job does not \
start."
    bad r#"
[exec]
command = ["/bin/sh", "/srv/x"]

[constraints]
tasks_max = 100
"#
    good r#"
[exec]
command = ["/bin/sh", "/srv/x"]

[constraints]
cpu_weight = 100
"#
    check Host(check)
}

fn check(context: &Context<'_>, host: &Host, problems: &mut Vec<Problem>) {
    use ConstraintName as N;
    let Some(controllers) = &host.controllers else { return };
    for (name, _) in context.job.constraints.requested() {
        let (controller, at) = match name {
            N::CpuQuota => ("cpu", "constraints.cpu_quota"),
            N::CpuMax => ("cpu", "constraints.cpu_max"),
            N::CpuWeight => ("cpu", "constraints.cpu_weight"),
            N::MemoryLimit => ("memory", "constraints.memory_limit"),
            N::MemoryHigh => ("memory", "constraints.memory_high"),
            N::MemorySwap => ("memory", "constraints.memory_swap"),
            N::IoWeight => ("io", "constraints.io_weight"),
            N::IoMax => ("io", "constraints.io_max"),
            N::TasksMax => ("pids", "constraints.tasks_max"),
            // Attributes of the processes themselves; `cpus` becomes one where there is no cpuset.
            N::Nice | N::OomScoreAdj | N::Cpus | N::IoClass | N::Rlimit(_) => continue,
        };
        if !controllers.contains(controller) {
            let message = format!("{name} needs the controller `{controller}`, which is missing here");
            let help = "`cat /sys/fs/cgroup/cgroup.controllers` lists those there are";
            problems.push(RULE.problem(value(at), message).help(help));
        }
    }
}
