//! A change of user that needs root.

use crate::lint::host::Host;
use crate::lint::rule::{Context, Problem, rule, value};
use crate::linux::user::credentials;

rule! {
    "cannot-switch-user" Error "Only root can run a job as another user"
    because "\
Told with `--host` only. A supervisor that runs as an ordinary user can start workloads only as that \
user. Leave `user` and `group` out, or run the supervisor as root. The check assumes that the supervisor \
runs as whoever runs `validate`."
    bad Words "user = \"www-data\" in a job of a supervisor that is not root"
    good r#"
[exec]
command = ["/bin/sh", "/srv/x"]
"#
    check Host(check)
}

fn check(context: &Context<'_>, host: &Host, problems: &mut Vec<Problem>) {
    let Some(exec) = context.job.exec() else { return };
    let other = credentials(exec.user.as_deref(), exec.group.as_deref()).is_ok_and(|other| other.is_some());
    if host.uid != 0 && other {
        let at = if exec.user.is_some() { "exec.user" } else { "exec.group" };
        let message = format!("uid {} cannot run a job as somebody else", host.uid);
        let help = "leave it out, or run the supervisor as root";
        problems.push(RULE.problem(value(at), message).help(help));
    }
}
