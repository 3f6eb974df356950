//! A program that puts itself between us and the workload.

use crate::lint::rule::{Context, Problem, argument, rule};

rule! {
    "detaching-program" Warning "The command goes through a program that hides the workload"
    because "\
`sudo`, `su` and `runuser` stay in front of the workload and pass on only some signals; `nohup`, \
`setsid`, `screen`, `tmux`, `start-stop-daemon` and `systemd-run` start it somewhere else and end at \
once. What is supervised, limited and stopped is then the go-between. `docker run` is of the same kind: \
the workload is the daemon's child, outside of the job's limits.

The supervisor does what they are used for: `exec.user` changes the user, every job has a session of its \
own, and outlives the supervisor."
    bad r#"
[exec]
command = ["sudo", "-u", "encoder", "/usr/local/bin/encode"]
"#
    good r#"
[exec]
command = ["/usr/local/bin/encode"]
user = "encoder"
"#
    check Job(check)
}

fn check(context: &Context<'_>, problems: &mut Vec<Problem>) {
    let help = match context.program() {
        "sudo" | "su" | "runuser" | "doas" | "setpriv" | "gosu" => "set exec.user and exec.group instead",
        "nohup" | "setsid" | "screen" | "tmux" | "start-stop-daemon" | "daemonize" | "systemd-run" => {
            "remove it: every job has a session of its own and outlives the supervisor"
        }
        "docker" | "podman" => "run the program itself, or let the container's engine supervise it",
        _ => return,
    };
    let message = format!("`{}` stands between the supervisor and the workload", context.program());
    problems.push(RULE.problem(argument(0), message).help(help));
}
