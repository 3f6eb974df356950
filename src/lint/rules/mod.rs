//! The rules: one file for each code, with its reason, examples that a test runs, and its check. A new one is a
//! file and a line below.

use std::fmt::Write as _;

use super::rule::{Example, Rule};
use crate::config::problem::Level;
use crate::config::suggest::nearest;

/// Names each rule's file once.
macro_rules! rules {
    ($($file:ident)*) => {
        $(pub(super) mod $file;)*
        /// All rules, sorted by code.
        pub static RULES: &[&Rule] = &[$(&$file::RULE),*];
    };
}

rules! {
    abrupt_stop_signal
    account_not_found
    all_in_template
    all_without_match
    args_alone
    attach_by_pid
    attach_one_of
    bad_cpu_max
    bad_cpus
    bad_env_name
    bad_io_class
    bad_io_max
    bad_name
    bad_pattern
    bad_rlimit
    bad_time
    bad_umask
    bad_unit
    broken_profile
    cannot_switch_user
    continuous_file_job
    controller_missing
    cpu_not_online
    cpu_quota_and_max
    delay_above_max
    detaching_program
    device_missing
    duplicate_instance
    duplicate_job
    empty_command
    encoder_missing
    env_file_unreadable
    exec_and_attach
    exposed_secret
    ffmpeg_input_timeout
    ffmpeg_no_input
    ffmpeg_overwrite
    ffmpeg_stdin
    filter_with_copy
    fragile_mp4
    gst_no_eos
    gst_stop_signal
    incomplete_limit
    incomplete_need
    input_from_stdin
    instance_outside_template
    limit_never_reached
    live_hls_restart
    match_all
    match_nothing
    media_into_log
    memory_high_above_limit
    missing_unit
    missing_working_dir
    never_oom_killed
    no_effect_on_attached
    no_instances
    no_workload
    not_a_file
    not_a_systemd_unit
    not_in_profile
    not_utf8
    nul_character
    oneshot_live_input
    out_of_range
    output_is_input
    profile_cycle
    profile_encoder_unused
    program_not_found
    progress_into_log
    progress_pipe_closed
    push_without_re
    quota_above_cores
    redundant_wrapper
    relative_path
    repeated_profile
    restart_against_lifecycle
    schedule_never
    schedule_no_effect
    schedule_overlap
    shell_string
    shell_syntax
    shell_without_exec
    short_stop_timeout
    sla_of_test
    stats_in_log
    stop_of_attached
    success_code_255
    syntax
    systemd_key
    timeout_of_continuous
    too_large
    too_many_instances
    too_many_needs
    too_many_problems
    too_many_windows
    unknown_key
    unknown_profile
    unknown_timezone
    unknown_value
    unlikely_memory
    unreadable
    untrusted
    verbose_log
    working_dir_missing
    wrong_type
    zero_not_success
}

/// The rule with this code.
#[must_use]
pub fn find(code: &str) -> Option<&'static Rule> {
    RULES.binary_search_by(|rule| rule.code.cmp(code)).ok().map(|n| RULES[n])
}

/// The code nearest to a mistyped one.
#[must_use]
pub fn suggest(code: &str) -> Option<&'static str> {
    nearest(code, RULES.iter().map(|rule| rule.code))
}

/// The long text of a code, for `ffrtmp-sup explain`.
#[must_use]
pub fn explain(code: &str) -> Option<String> {
    let rule = find(code)?;
    let level = match rule.level {
        Level::Error => "error: the file is not put in force",
        Level::Warning => "warning: the file is in force",
    };
    let mut text = format!("# {}\n\n{}\n({level})\n\n", rule.code, rule.summary);
    rule.explain.trim().lines().for_each(|line| wrap(line, &mut text));
    for (title, examples) in [("Wrong", rule.bad), ("Right", rule.good)] {
        for example in examples {
            let (what, example) = match example {
                Example::Job(text) => ("", text),
                Example::Profile(text) => (" (a profile)", text),
                Example::Supervisor(text) => (" (supervisor.toml)", text),
                Example::Words(text) => ("", text),
            };
            let _ = write!(text, "\n{title}{what}:\n\n");
            for line in example.trim().lines() {
                let _ = writeln!(text, "{}", format!("    {line}").trim_end());
            }
        }
    }
    Some(text)
}

/// Writes a paragraph in lines that fit a terminal.
fn wrap(paragraph: &str, text: &mut String) {
    const WIDTH: usize = 88;
    let indent = if paragraph.starts_with("- ") { "  " } else { "" };
    let mut column = 0;
    for word in paragraph.split_whitespace() {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > WIDTH {
            text.push('\n');
            text.push_str(indent);
            column = indent.len();
        } else if column > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += length;
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::config::schema::FileKind;
    use crate::lint::check::{check_job, check_profiles, check_supervisor};
    use crate::lint::host::Host;
    use crate::lint::rule::{Check, Context, Facts};
    use crate::model::zones::Zones;

    const FACTS: Facts = Facts { cores: 4, mode: Some(0o644), zones: Zones::BUILT_IN };

    /// The codes that an example breaks, as `validate` would tell them.
    fn codes(example: &Example, with_host: bool) -> BTreeSet<&'static str> {
        let Some((kind, text)) = example.file() else { return BTreeSet::new() };
        let mut texts =
            BTreeMap::from([("broken".to_owned(), Some("[constraints]\nnice = 99\n".to_owned()))]);
        let mut problems = Vec::new();
        match kind {
            FileKind::Job => {
                let checked = check_job("example", text, &check_profiles(&texts).0, &FACTS);
                for declared in checked.declared.iter().filter(|_| with_host) {
                    let context = Context::new(&checked.file, declared, &FACTS);
                    let host = Host::for_tests();
                    for rule in RULES {
                        if let Check::Host(check) = rule.check {
                            check(&context, &host, &mut problems);
                        }
                    }
                }
                problems.extend(checked.problems);
            }
            FileKind::Profile => {
                texts.insert("example".into(), Some(text.into()));
                problems.extend(check_profiles(&texts).1.remove("example").unwrap_or_default());
            }
            FileKind::Supervisor => problems.extend(check_supervisor(text).1),
        }
        problems.iter().map(|problem| problem.code).collect()
    }

    #[test]
    fn each_bad_example_breaks_its_rule_and_no_other_and_each_good_one_none() {
        let mut wrong = Vec::new();
        for rule in RULES {
            let with_host = matches!(rule.check, Check::Host(_));
            let bad = rule.bad.iter().filter(|example| example.file().is_some());
            let bad = bad.map(|example| (example, BTreeSet::from([rule.code])));
            for (example, wanted) in bad.chain(rule.good.iter().map(|example| (example, BTreeSet::new()))) {
                let codes = codes(example, with_host);
                if codes != wanted {
                    wrong.push(format!("{}: {example:?} breaks {codes:?}, not {wanted:?}", rule.code));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn each_rule_is_explained_and_shown() {
        for rule in RULES {
            assert!(rule.explain.len() > 60 && !rule.summary.ends_with('.'), "{}", rule.code);
            assert!(!rule.bad.is_empty() && !rule.good.is_empty(), "{}", rule.code);
            let text = explain(rule.code).expect("registered");
            assert!(text.contains("\nWrong") && text.contains("\nRight"), "{text}");
        }
        assert_eq!(explain("no-such-code"), None);
        assert_eq!(suggest("unknwon-key"), Some("unknown-key"));
    }

    #[test]
    fn each_file_is_registered_in_order_under_its_name() {
        let codes: Vec<&str> = RULES.iter().map(|rule| rule.code).collect();
        assert!(codes.is_sorted_by(|a, b| a < b), "{codes:?}");
        assert!(codes.len() >= 30);
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lint/rules");
        for file in fs::read_dir(folder).expect("rules").flatten() {
            let name = file.file_name().into_string().expect("name");
            let code = name.trim_end_matches(".rs").replace('_', "-");
            assert!(code == "mod" || codes.contains(&code.as_str()), "{name} is not registered");
        }
    }

    #[test]
    fn each_code_that_is_emitted_has_a_rule() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut found = 0;
        let mut seen = BTreeSet::new();
        for folder in ["config", "config/resolve", "lint"] {
            for file in fs::read_dir(root.join(folder)).expect("sources").flatten() {
                let Ok(text) = fs::read_to_string(file.path()) else { continue };
                let text = text.split("#[cfg(test)]").next().unwrap_or("");
                for (at, _) in text
                    .match_indices("error(")
                    .chain(text.match_indices("warning("))
                    .chain(text.match_indices("code: "))
                {
                    let rest = text[at..].trim_start_matches(|c| c != '(' && c != ':');
                    let rest = rest[1..].trim_start();
                    let Some(code) = rest.strip_prefix('"').and_then(|rest| rest.split('"').next()) else {
                        continue;
                    };
                    assert!(find(code).is_some(), "{}: no rule for {code:?}", file.path().display());
                    seen.insert(code.to_owned());
                    found += 1;
                }
            }
        }
        // The search itself works.
        assert!(found > 40, "{found}");
        for rule in RULES.iter().filter(|rule| matches!(rule.check, Check::Loader)) {
            let by_variable = ["bad-unit", "missing-unit"].contains(&rule.code);
            assert!(by_variable || seen.contains(rule.code), "{} is emitted nowhere", rule.code);
        }
    }
}
