//! A user or group this machine does not have.

use crate::lint::host::Host;
use crate::lint::rule::{Context, Problem, rule, value};
use crate::linux::user::credentials;

rule! {
    "account-not-found" Error "The user or group does not exist"
    because "\
Told with `--host` only. The account is looked up as at the start of the job, by name or by number, in \
the databases of the system (nsswitch.conf). A number without an entry works, but only together with \
`group`."
    bad r#"
[exec]
command = ["/bin/sh", "/srv/x"]
user = "no-such-user-x"
"#
    good r#"
[exec]
command = ["/bin/sh", "/srv/x"]
user = "root"
"#
    check Host(check)
}

fn check(context: &Context<'_>, _: &Host, problems: &mut Vec<Problem>) {
    let Some(exec) = context.job.exec() else { return };
    if let Err(error) = credentials(exec.user.as_deref(), exec.group.as_deref()) {
        let at = if exec.user.is_some() { "exec.user" } else { "exec.group" };
        problems.push(RULE.problem(value(at), error.detail).help("create it, or correct the name"));
    }
}
