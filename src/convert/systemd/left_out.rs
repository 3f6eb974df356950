//! What a job file has nothing like, and what to do instead.

use super::conversion::Conversion;
use super::unit::Directive;

/// Notes all directives that no step has taken over.
pub(super) fn note(work: &mut Conversion) {
    for Directive { section, key, values } in std::mem::take(&mut work.unit.directives) {
        if values.is_empty() || section.starts_with("X-") || key.starts_with("X-") {
            continue;
        }
        if let Some(why) = not_taken(&section, &key) {
            let value: String = values.join(" ").chars().take(60).collect();
            work.draft.note(format!("{key}={value}"), why);
        }
    }
}

/// Why a directive has no place in a job file, and what to do. `None` where nothing is lost without it.
fn not_taken(section: &str, key: &str) -> Option<&'static str> {
    const SANDBOX: &[&str] = &[
        "Protect",
        "Private",
        "Restrict",
        "SystemCall",
        "ReadOnly",
        "ReadWrite",
        "Inaccessible",
        "Exec",
        "NoExec",
        "Bind",
        "Capability",
        "Ambient",
        "LockPersonality",
        "MemoryDeny",
        "Root",
        "Temporary",
        "Mount",
        "DynamicUser",
        "Device",
        "IPAddress",
        "Socket",
        "Keyring",
        "AppArmor",
        "SELinux",
        "RemoveIPC",
        "Secure",
        "ProcSubset",
        "Personality",
        "Smack",
    ];
    let begins = |list: &[&str]| list.iter().any(|start| key.starts_with(start));
    let why = match (section, key) {
        (
            _,
            "CPUAccounting" | "MemoryAccounting" | "IOAccounting" | "TasksAccounting" | "BlockIOAccounting",
        ) => {
            return None;
        }
        ("Install", _) => "a job is enabled by its file being in jobs.d",
        (
            _,
            "After"
            | "Before"
            | "Wants"
            | "Requires"
            | "Requisite"
            | "BindsTo"
            | "PartOf"
            | "Upholds"
            | "Conflicts"
            | "RequiresMountsFor"
            | "WantsMountsFor"
            | "PropagatesReloadTo"
            | "JoinsNamespaceOf"
            | "DefaultDependencies",
        ) => {
            "jobs have no order, among each other or against units: one that lacks something starts again as \
             [restart] says; what all jobs need goes into the unit of ffrtmp-sup"
        }
        (_, "OnFailure" | "OnSuccess" | "FailureAction" | "SuccessAction" | "StartLimitAction") => {
            "nothing is started when a job ends; watch its report, reports/<job>.json"
        }
        ("Unit", "Documentation") => "write it as a comment",
        ("Unit", key) if key.starts_with("Condition") || key.starts_with("Assert") => {
            "a job has no conditions; `enabled = false` keeps it from starting"
        }
        (_, "ExecStartPre" | "ExecStartPost" | "ExecStopPost" | "ExecCondition") => {
            "a job is one command: let a script do this, and `exec` the program as its last step"
        }
        (_, "ExecStop") => "a job is stopped by stop.signal, and killed after stop.timeout",
        (_, "ExecReload" | "ReloadSignal") => {
            "nothing is reloaded: an edit of constraints holds at once, one of [exec] starts the job again"
        }
        (
            _,
            "RuntimeDirectory"
            | "StateDirectory"
            | "CacheDirectory"
            | "LogsDirectory"
            | "ConfigurationDirectory",
        ) => "no folders are made for a job: make it once, with tmpfiles.d(5) or `install -d -o USER`",
        (_, "WatchdogSec" | "NotifyAccess" | "FileDescriptorStoreMax") => {
            "a job has no watchdog and no notification socket"
        }
        (_, "TimeoutStartSec" | "TimeoutAbortSec") => "a job runs from its first instruction on",
        (_, "Slice" | "Delegate") => "a job lives in a cgroup of its own, below that of ffrtmp-sup",
        (_, "PIDFile") => "a job is the process that is started; a pid file is for [attach]",
        (_, "RemainAfterExit") => "a job that exited has ended",
        (_, "RestartPreventExitStatus" | "RestartForceExitStatus") => {
            "which exits are failures is said by restart.success_exit_codes"
        }
        (_, "SyslogIdentifier") => "lines in the journal bear the name of the job",
        (_, "NoNewPrivileges") => "set for every job that has a user of its own",
        (_, "OOMPolicy") => "a kill for memory is told, and restart.policy decides",
        ("Service", _) if begins(SANDBOX) => {
            "jobs have no sandbox of their own: in the unit of ffrtmp-sup it holds for all jobs; bwrap(1) in \
             front of the command makes one for this job"
        }
        _ => "there is nothing like it in a job file",
    };
    Some(why)
}
