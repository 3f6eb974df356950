//! A job that refuses to start for lack of what this version cannot do.

use super::{Check, Context, Example, Rule, value};
use crate::config::problem::{Level, Problem};
use crate::model::constraints::ConstraintName;

pub static RULE: Rule = Rule {
    code: "strict-not-supported",
    level: Level::Warning,
    summary: "A strict job asks for constraints this version does not put in force",
    explain: "\
With `strict = true` a job does not start unless every constraint it asks for was put in force. This \
version puts `nice` and `oom_score_adj` in force; a strict job that asks for others would never start.

Without `strict` the job starts, and its report says for each constraint whether it is in force and why \
not.",
    bad: &[Example::Job(
        r#"
[exec]
command = ["/usr/bin/true"]

[constraints]
memory_limit = "1GiB"
strict = true
"#,
    )],
    good: &[
        Example::Job(
            r#"
[exec]
command = ["/usr/bin/true"]

[constraints]
memory_limit = "1GiB"
"#,
        ),
        Example::Job(
            r#"
[exec]
command = ["/usr/bin/true"]

[constraints]
nice = 5
strict = true
"#,
        ),
    ],
    check: Check::Job(check),
};

fn check(context: &Context<'_>, problems: &mut Vec<Problem>) {
    let constraints = &context.job.constraints;
    if !constraints.strict {
        return;
    }
    let missing: Vec<&str> = constraints
        .requested()
        .into_iter()
        .filter(|(name, _)| !matches!(name, ConstraintName::Nice | ConstraintName::OomScoreAdj))
        .map(|(name, _)| name.as_str())
        .collect();
    if !missing.is_empty() {
        let message =
            format!("this version cannot put in force: {}; the job would not start", missing.join(", "));
        let help = "remove `strict`: the report then says which constraints are not in force";
        problems.push(RULE.problem(value("constraints.strict"), message).help(help));
    }
}
