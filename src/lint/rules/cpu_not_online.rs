//! CPUs this machine does not have.

use super::{Check, Context, Example, Rule, value};
use crate::config::problem::{Level, Problem};
use crate::lint::host::Host;
use crate::model::cpus::CpuSet;

pub static RULE: Rule = Rule {
    code: "cpu-not-online",
    level: Level::Warning,
    summary: "`cpus` names CPUs that are not online",
    explain: "\
Told with `--host` only. CPUs are counted from 0: a machine with 4 has 0 to 3. The kernel refuses a set \
in which no CPU is online, and passes over the others.",
    bad: &[Example::Job(
        r#"
[exec]
command = ["/bin/sh", "/srv/x"]

[constraints]
cpus = "0-63" # on a machine with 2
"#,
    )],
    good: &[Example::Job(
        r#"
[exec]
command = ["/bin/sh", "/srv/x"]

[constraints]
cpu_weight = 100
"#,
    )],
    check: Check::Host(check),
};

fn check(context: &Context<'_>, host: &Host, problems: &mut Vec<Problem>) {
    let Some(cpus) = &context.job.constraints.cpus else { return };
    let Ok(online) = CpuSet::parse(&host.online) else { return };
    if let Some(cpu) = cpus.without(&online).iter().next() {
        let message = format!("there is no CPU {cpu} here: {} are online", host.online);
        problems.push(RULE.problem(value("constraints.cpus"), message).help("CPUs are counted from 0"));
    }
}
