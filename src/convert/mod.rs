//! Job files, made from what workloads are run with elsewhere: a worker's job document, a systemd unit, a
//! program of supervisord's. Text in; text, and all that it could not take over, out.

mod command;
mod supervisord;
mod systemd;
mod toml;
mod worker;

pub use toml::Converted;
use toml::MARK;

/// What there is to convert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A worker's job document (JSON).
    Worker,
    /// A systemd service unit.
    Systemd,
    /// A supervisord configuration.
    Supervisord,
}

/// What a text is: by the name of its file, and by what it looks like.
#[must_use]
pub fn tell(file_name: Option<&str>, text: &str) -> Option<Kind> {
    let file_name = file_name.unwrap_or_default();
    let ends = |ending: &str| file_name.ends_with(ending);
    let section = |name: &str| text.lines().any(|line| line.trim_start().starts_with(name));
    if ends(".json") || text.trim_start().starts_with('{') {
        Some(Kind::Worker)
    } else if ends(".service") || section("[Service]") {
        Some(Kind::Systemd)
    } else if section("[program:") {
        Some(Kind::Supervisord)
    } else {
        None
    }
}

/// Converts a text. `file_name` is that of its file: a unit has its name from it. `program` says which one
/// of supervisord's programs is meant, where there are several.
///
/// # Errors
/// Why there is no job in it, a line each.
pub fn convert(
    kind: Kind,
    file_name: Option<&str>,
    program: Option<&str>,
    text: &str,
) -> Result<Converted, Vec<String>> {
    if program.is_some() && kind != Kind::Supervisord {
        return Err(vec!["a program is chosen from a supervisord file only".into()]);
    }
    if kind != Kind::Worker && text.contains(MARK) {
        return Err(vec!["there is a NUL character in it: this is no text".into()]);
    }
    let draft = match kind {
        Kind::Worker => worker::convert(text),
        Kind::Systemd => systemd::convert(file_name, text),
        Kind::Supervisord => supervisord::convert(program, text),
    };
    draft.and_then(toml::Draft::finish)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_text_is() {
        for (name, text, kind) in [
            (Some("job.json"), "", Some(Kind::Worker)),
            (None, " \n{\"job_id\": 1}", Some(Kind::Worker)),
            (Some("ffmpeg@.service"), "", Some(Kind::Systemd)),
            (None, "# /etc/x\n[Unit]\n[Service]\n", Some(Kind::Systemd)),
            (Some("x.conf"), "[supervisord]\n[program:x]\n", Some(Kind::Supervisord)),
            (Some("x.conf"), "[Unit]\n", None),
            (None, "", None),
        ] {
            assert_eq!(tell(name, text), kind, "{name:?} {text:?}");
        }
    }

    const SYSTEMD: &[&str] = &[
        "ExecStart",
        "Environment",
        "EnvironmentFile",
        "User",
        "UMask",
        "WorkingDirectory",
        "Restart",
        "RestartSec",
        "RestartMaxDelaySec",
        "StartLimitBurst",
        "StartLimitIntervalSec",
        "SuccessExitStatus",
        "KillSignal",
        "TimeoutStopSec",
        "RuntimeMaxSec",
        "Nice",
        "CPUQuota",
        "CPUQuotaPeriodSec",
        "CPUShares",
        "CPUWeight",
        "MemoryMax",
        "MemorySwapMax",
        "TasksMax",
        "IOWeight",
        "IOReadBandwidthMax",
        "CPUAffinity",
        "IOSchedulingClass",
        "IOSchedulingPriority",
        "LimitNOFILE",
        "LimitCPU",
        "LimitAS",
        "StandardOutput",
        "Description",
        "DefaultInstance",
        "Type",
        "After",
    ];
    const SUPERVISORD: &[&str] = &[
        "command",
        "environment",
        "directory",
        "user",
        "umask",
        "autostart",
        "autorestart",
        "exitcodes",
        "startsecs",
        "startretries",
        "stopsignal",
        "stopwaitsecs",
        "stdout_logfile",
        "numprocs",
        "numprocs_start",
        "priority",
    ];
    const VALUES: &[&str] = &[
        "",
        "0",
        "-1",
        "1",
        "99999999999999999999",
        "18446744073709551615",
        "9223372036854775807",
        "1e300",
        "NaN",
        "inf",
        "infinity",
        "1000000",
        "1.5",
        "0.0000001",
        "100%",
        "0%",
        "1e400%",
        "5us",
        "1y 2w",
        "10G:1M",
        ":",
        "16E",
        "no",
        "always",
        "on-failure",
        "x y",
        "\\",
        "\"",
        "'",
        "%",
        "%i%n%%%",
        "%(",
        "%(process_num)99d%(ENV_A)s",
        "A=%(ENV_B)s",
        "A=1,B='",
        "=",
        "$A ${A} ${ $$",
        "/dev/block/8:0 1",
        "/dev/sda",
        "realtime",
        "12",
        "\u{1}\u{2}",
        "ä…\u{202e}",
        "0777777",
        "1001",
        ";",
        "a ; b",
        "-@:+!/bin/x y",
        "~",
        "[",
        "]",
        "\\x41\\777\\q",
    ];

    proptest::proptest! {
        /// Whatever the text is, it is converted to a file without errors, or refused.
        #[test]
        fn no_text_breaks_it(text in ".*") {
            let texts = [
                text.clone(),
                format!("[Service]\nExecStart={text}"),
                format!("[program:x]\ncommand={text}\nenvironment={text}"),
            ];
            for text in texts {
                for kind in [Kind::Worker, Kind::Systemd, Kind::Supervisord] {
                    let _ = convert(kind, Some("a@b.service"), None, &text);
                }
            }
        }

        #[test]
        fn no_value_breaks_it(said in proptest::collection::vec((0usize..100, 0usize..100), 0..12)) {
            let lines = |keys: &[&str]| -> String {
                let line = |(key, value): &(usize, usize)| {
                    format!("{}={}\n", keys[key % keys.len()], VALUES[value % VALUES.len()])
                };
                said.iter().map(line).collect()
            };
            let unit = format!("[Service]\nExecStart=/bin/x\n{}", lines(SYSTEMD));
            let program = format!("[program:x]\ncommand=x\n{}", lines(SUPERVISORD));
            for (kind, text) in [(Kind::Systemd, unit), (Kind::Supervisord, program)] {
                if let Ok(converted) = convert(kind, Some("a@.service"), None, &text) {
                    proptest::prop_assert!(converted.toml.contains("command = "), "{text}");
                    proptest::prop_assert!(converted.notes.iter().all(|note| !note.contains('\n')));
                }
            }
        }
    }
}
