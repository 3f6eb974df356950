//! A shell that stands between us and the workload.

use crate::lint::rule::{Context, Problem, argument, rule};

rule! {
    "shell-without-exec" Warning "A shell runs the workload without `exec`"
    because "\
The stop signal is sent once, to the main process. With `[\"/bin/sh\", \"-c\", \"ffmpeg ...\"]` that may \
be the shell, which dies and leaves ffmpeg running until SIGKILL ends it, its file unfinished. The exit \
code and the memory in the report are the shell's as well.

Best is no shell at all: list the arguments. Where it is needed for what comes before, let its last \
command be `exec program ...`, which takes the shell's place."
    bad r#"
[exec]
command = ["/bin/sh", "-c", "cd /srv && ffprobe in.mp4"]
"#
    good r#"
[exec]
command = ["/bin/sh", "-c", "cd /srv && exec ffprobe in.mp4"]
"#
    good r#"
[exec]
command = ["/usr/bin/ffprobe", "in.mp4"]
working_dir = "/srv"
"#
    check Job(check)
}

/// Whether a program is a shell.
pub fn is_shell(program: &str) -> bool {
    matches!(program, "sh" | "bash" | "dash" | "ash" | "zsh" | "ksh" | "mksh" | "busybox")
}

fn check(context: &Context<'_>, problems: &mut Vec<Problem>) {
    if !is_shell(context.program()) {
        return;
    }
    let argv = context.argv();
    let flag =
        argv.iter().position(|text| text.starts_with('-') && !text.starts_with("--") && text.ends_with('c'));
    let Some((n, script)) = flag.and_then(|n| Some((n + 1, argv.get(n + 1)?))) else { return };
    let words =
        |text: &str| text.split(|c: char| c.is_whitespace() || ";&|(){}".contains(c)).any(|w| w == "exec");
    if !words(script) {
        let message = "the stop signal reaches this shell, not what it runs";
        let help = "let its last command be `exec program ...`, or list the arguments without a shell";
        problems.push(RULE.problem(argument(n), message).help(help));
    }
}
