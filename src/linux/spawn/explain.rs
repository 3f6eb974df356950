//! Why a step of the child failed and what to do, in words.

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;

use super::line::Step;
use super::plan::{Plan, failed};
use crate::model::exit::{Stage, StartError};

/// In words, why a step failed and what to do.
pub(super) fn explain(plan: &Plan, step: Step, errno: i32) -> StartError {
    let cause = Errno::from_raw(errno).desc();
    let (stage, detail) = match step {
        Step::Session => (Stage::Session, format!("setsid: {cause}")),
        Step::Stdio => (Stage::Stdio, format!("standard input, output and error: {cause}")),
        Step::Groups | Step::Gid | Step::Uid => {
            let (uid, gid) = plan.credentials.as_ref().map_or((0, 0), |c| (c.uid, c.gid));
            let what = match step {
                Step::Groups => "supplementary groups",
                Step::Gid => "group",
                _ => "user",
            };
            let advice = match errno {
                libc::EPERM => "; only root can start a job as another user",
                libc::EAGAIN => "; the user has as many processes as its RLIMIT_NPROC allows",
                _ => "",
            };
            (
                Stage::Credentials,
                format!("cannot become user {uid}, group {gid} (setting the {what}): {cause}{advice}"),
            )
        }
        Step::NoNewPrivileges => (Stage::Credentials, format!("PR_SET_NO_NEW_PRIVS: {cause}")),
        Step::WorkingDir => {
            let advice = match errno {
                libc::ENOENT | libc::ENOTDIR => "create it or correct exec.working_dir",
                libc::EACCES => "let the job's user enter it (and every directory above it)",
                _ => "correct exec.working_dir",
            };
            let dir = plan.working_dir.to_string_lossy();
            (Stage::WorkingDir, format!("working directory {dir}: {cause}; {advice}"))
        }
        Step::Exec => (Stage::Exec, explain_exec(plan, errno, cause)),
    };
    failed(stage, Some(errno), detail)
}

fn explain_exec(plan: &Plan, errno: i32, cause: &str) -> String {
    let program = plan.argv.first().map_or("".into(), |program| program.to_string_lossy());
    let searched = !program.contains('/');
    // As the child saw it: a relative path starts at the working directory.
    let dir = Path::new(OsStr::from_bytes(plan.working_dir.as_bytes()));
    let exists = |path: &CString| dir.join(OsStr::from_bytes(path.as_bytes())).exists();
    match errno {
        libc::ENOENT if plan.candidates.iter().any(exists) => format!(
            "program {program:?} cannot be executed: its interpreter (the first line's #!, or the dynamic \
             loader) does not exist; install it or correct exec.command"
        ),
        libc::ENOENT | libc::ENOTDIR if searched => format!(
            "program {program:?} not found in PATH ({}); install it, give its full path in exec.command, or \
             set PATH in exec.env",
            plan.search_path
        ),
        libc::ENOENT | libc::ENOTDIR => {
            format!("program {program:?} does not exist; install it or correct exec.command")
        }
        libc::EACCES => format!(
            "program {program:?} is not executable for the job's user: {cause}; chmod +x it, or look at the \
             directories above it and at noexec mounts"
        ),
        libc::ENOEXEC => format!(
            "program {program:?} is of no format that the kernel executes; a script needs a first line like \
             #!/bin/sh, a binary has to be for this machine"
        ),
        libc::EAGAIN => format!(
            "program {program:?} cannot be executed: its user has as many processes as RLIMIT_NPROC allows; \
             raise exec.rlimits.nproc, which counts all that the user runs"
        ),
        libc::E2BIG => format!(
            "program {program:?}: arguments and environment are longer than the kernel allows; shorten \
             exec.command, exec.env or the env files"
        ),
        _ => format!("program {program:?} cannot be executed: {cause}"),
    }
}
