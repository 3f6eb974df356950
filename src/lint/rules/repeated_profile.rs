//! A profile that is applied twice.

use crate::lint::rule::{At, Context, KeyPath, Problem, rule};

rule! {
    "repeated-profile" Warning "A profile is named twice"
    because "\
Profiles are applied from left to right, so the second time undoes what the ones between have changed. \
That is hardly ever meant."
    bad r#"
profiles = ["live-hls", "low-priority", "live-hls"]
[exec]
command = ["/usr/bin/true"]
"#
    good r#"
profiles = ["low-priority", "live-hls"]
[exec]
command = ["/usr/bin/true"]
"#
    check Job(check)
}

fn check(context: &Context<'_>, problems: &mut Vec<Problem>) {
    let names = context.file.profiles.as_deref().unwrap_or_default();
    for (n, name) in names.iter().enumerate() {
        if names[..n].contains(name) {
            let at = At::Value(KeyPath::of("profiles").index(n));
            let message = format!("`{name}` is applied twice, and wins over those in between");
            problems.push(RULE.problem(at, message).help("remove one of the two"));
        }
    }
}
