//! CPUs this machine does not have.

use crate::lint::host::Host;
use crate::lint::rule::{Context, Problem, rule, value};
use crate::model::cpus::CpuSet;

rule! {
    "cpu-not-online" Warning "`cpus` names CPUs that are not online"
    because "\
Told with `--host` only. CPUs are counted from 0: a machine with 4 has 0 to 3. The kernel refuses a set \
in which no CPU is online, and passes over the others."
    bad r#"
[exec]
command = ["/bin/sh", "/srv/x"]

[constraints]
cpus = "0-63" # on a machine with 2
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
    let Some(cpus) = &context.job.constraints.cpus else { return };
    let Ok(online) = CpuSet::parse(&host.online) else { return };
    if let Some(cpu) = cpus.without(&online).iter().next() {
        let message = format!("there is no CPU {cpu} here: {} are online", host.online);
        problems.push(RULE.problem(value("constraints.cpus"), message).help("CPUs are counted from 0"));
    }
}
