//! A shell's syntax where there is no shell.

use crate::lint::rule::{Context, Problem, argument, rule};

rule! {
    "shell-syntax" Warning "An argument is meant for a shell"
    because "\
No shell reads the command, so `|`, `>`, `&&`, `$NAME` and `~` have no meaning: the program gets them as \
they are, and takes `>` for the name of a file. Where a shell is needed, name it: `[\"/bin/sh\", \"-c\", \
\"exec a | b\"]`. Output goes to the file of `exec.output` by itself."
    bad r#"
[exec]
command = ["/usr/bin/ffprobe", "/srv/in.mp4", ">", "/tmp/log"]
"#
    bad r#"
[exec]
command = ["/usr/bin/ffprobe", "$HOME/in.mp4"]
"#
    good r#"
[exec]
command = ["/usr/bin/ffprobe", "/srv/in.mp4"]
output = "file"
"#
    good r#"
[exec]
command = ["/usr/bin/ffprobe", "/home/alice/in.mp4"]
"#
    check Job(check)
}

const WORDS: &[&str] = &["|", "||", "&", "&&", ";", ">", ">>", "<", "2>", "2>&1", "&>"];

fn check(context: &Context<'_>, problems: &mut Vec<Problem>) {
    if super::shell_without_exec::is_shell(context.program()) {
        return;
    }
    for (n, text) in context.argv().iter().enumerate().skip(1) {
        let what = if WORDS.contains(&text.as_str()) {
            "a piece of a shell's language"
        } else if is_variable(text) {
            "a shell's variable"
        } else if text.starts_with("~/") {
            "a shell's short form for a home folder"
        } else {
            continue;
        };
        let message = format!("{text:?} is {what}, and no shell reads this command");
        let help = "write out what is meant, or run a shell: [\"/bin/sh\", \"-c\", \"exec ...\"]";
        problems.push(RULE.problem(argument(n), message).help(help));
    }
}

fn is_variable(text: &str) -> bool {
    text.contains("${")
        || text.contains("$(")
        || text
            .strip_prefix('$')
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_'))
}
