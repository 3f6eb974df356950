//! Limits of the process that is started (`[exec.rlimits]`): how the kernel numbers and names them, and what
//! is in force as read back.

use std::collections::BTreeMap;
use std::{fs, io};

use super::priority::Attempt;
use super::process::{is_gone, stat_of};
use crate::model::constraints::{Backend, ConstraintName, ConstraintStatus};
use crate::model::process::{Pid, ProcessIdentity};
use crate::model::rlimit::{Resource, Rlimit, Value};

/// The number of a resource (`RLIMIT_*`), and its name in `/proc/PID/limits`.
fn kernels(resource: Resource) -> (i32, &'static str) {
    // The type of these constants differs between C libraries.
    let (number, name) = match resource {
        Resource::As => (libc::RLIMIT_AS, "Max address space"),
        Resource::Core => (libc::RLIMIT_CORE, "Max core file size"),
        Resource::Cpu => (libc::RLIMIT_CPU, "Max cpu time"),
        Resource::Data => (libc::RLIMIT_DATA, "Max data size"),
        Resource::Fsize => (libc::RLIMIT_FSIZE, "Max file size"),
        Resource::Memlock => (libc::RLIMIT_MEMLOCK, "Max locked memory"),
        Resource::Msgqueue => (libc::RLIMIT_MSGQUEUE, "Max msgqueue size"),
        Resource::Nofile => (libc::RLIMIT_NOFILE, "Max open files"),
        Resource::Nproc => (libc::RLIMIT_NPROC, "Max processes"),
        Resource::Rtprio => (libc::RLIMIT_RTPRIO, "Max realtime priority"),
        Resource::Sigpending => (libc::RLIMIT_SIGPENDING, "Max pending signals"),
        Resource::Stack => (libc::RLIMIT_STACK, "Max stack size"),
    };
    (number as i32, name)
}

/// The kernel's `struct rlimit64`: soft and hard. All ones is unlimited.
pub(super) type Raw = [u64; 2];

/// A limit as prlimit(2) takes it: the number of the resource, and its values.
pub(super) fn raw(resource: Resource, limit: &Rlimit) -> (i32, Raw) {
    let value = |value: Value| value.unwrap_or(u64::MAX);
    (kernels(resource).0, [value(limit.soft), value(limit.hard)])
}

/// Reads back the limits of a process. One status for each that is asked for.
#[must_use]
pub fn read_back(
    process: &ProcessIdentity,
    wanted: &BTreeMap<Resource, Rlimit>,
    attempt: &Attempt,
) -> Vec<ConstraintStatus> {
    if wanted.is_empty() {
        return Vec::new();
    }
    // Not prlimit(2), which needs a privilege to look at a process of another user.
    let text = fs::read_to_string(format!("/proc/{}/limits", process.pid));
    let text = text.and_then(|text| Ok(stat_of(process)?.map(|_| text)));
    let status = |(&resource, limit): (&Resource, &Rlimit)| {
        let name = ConstraintName::Rlimit(resource);
        let refused = attempt.refused.iter().find(|(of, _)| *of == name).map(|(_, errno)| *errno);
        let actual = match &text {
            Ok(text) => Ok(text.as_deref().and_then(|text| find(text, kernels(resource).1))),
            Err(error) if is_gone(error) => Ok(None),
            Err(error) => Err(format!("/proc/{}/limits: {error}", process.pid)),
        };
        let reason = match &actual {
            Ok(Some(actual)) if actual == limit => None,
            Ok(Some(actual)) => Some(explain(resource, limit, actual, refused)),
            Ok(None) => Some("the process has ended".into()),
            Err(error) => Some(error.clone()),
        };
        ConstraintStatus {
            name,
            requested: limit.show(resource),
            applied: reason.is_none(),
            actual: actual.ok().flatten().map(|actual| actual.show(resource)),
            backend: Backend::Process,
            reason,
        }
    };
    wanted.iter().map(status).collect()
}

/// The soft limit on CPU time that a process has now, in seconds; `None` if there is none, or it is gone. A
/// process that has ended has it until it is reaped.
#[must_use]
pub fn cpu_time(process: Pid) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/limits")).ok()?;
    find(&text, kernels(Resource::Cpu).1)?.soft
}

/// The limit of this name in the text of `/proc/PID/limits`.
fn find(text: &str, name: &str) -> Option<Rlimit> {
    let value = |word: &str| match word {
        "unlimited" => Some(None),
        number => number.parse().ok().map(Some),
    };
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let mut words = line.split_ascii_whitespace();
    Some(Rlimit { soft: value(words.next()?)?, hard: value(words.next()?)? })
}

fn explain(resource: Resource, wanted: &Rlimit, actual: &Rlimit, refused: Option<i32>) -> String {
    let (wanted, actual) = (wanted.show(resource), actual.show(resource));
    match refused {
        Some(libc::EPERM) if resource == Resource::Nofile => format!(
            "Cannot raise {} to {wanted} (requires CAP_SYS_RESOURCE, and no more than fs.nr_open), using {actual}; \
             LimitNOFILE= of the supervisor's unit raises what it may give",
            resource.as_str()
        ),
        Some(libc::EPERM) => format!(
            "Cannot raise {} to {wanted} (requires CAP_SYS_RESOURCE), using {actual}; a higher limit of the \
             supervisor itself allows it too",
            resource.as_str()
        ),
        Some(errno) => {
            let error = io::Error::from_raw_os_error(errno);
            format!("Cannot set {} to {wanted}: {error}, using {actual}", resource.as_str())
        }
        None => format!("the process has {actual}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::process::current;

    #[test]
    fn every_limit_is_found_where_the_kernel_lists_it() {
        let me = current().expect("proc");
        let text = fs::read_to_string("/proc/self/limits").expect("proc");
        let wanted: BTreeMap<_, _> = Resource::ALL
            .into_iter()
            .map(|resource| (resource, find(&text, kernels(resource).1).expect("listed")))
            .collect();
        let (soft, hard) =
            nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).expect("ours");
        assert_eq!(wanted[&Resource::Nofile], Rlimit { soft: Some(soft), hard: Some(hard) });
        let statuses = read_back(&me, &wanted, &Attempt::default());
        assert_eq!(statuses.len(), Resource::ALL.len());
        assert!(
            statuses.iter().all(|status| status.applied && status.actual.as_ref() == Some(&status.requested))
        );

        let other = BTreeMap::from([(Resource::Nofile, Rlimit { soft: Some(soft), hard: Some(hard + 1) })]);
        let name = ConstraintName::Rlimit(Resource::Nofile);
        let attempt = Attempt { refused: vec![(name, libc::EPERM)], ..Attempt::default() };
        let [status] = &read_back(&me, &other, &attempt)[..] else { panic!("one") };
        let reason = status.reason.as_deref().unwrap_or_default();
        assert!(!status.applied && reason.starts_with("Cannot raise rlimits.nofile to "), "{status:?}");
        assert!(reason.contains("CAP_SYS_RESOURCE") && reason.contains("fs.nr_open"), "{reason}");
        let stranger = ProcessIdentity { start_time: me.start_time + 1, ..me };
        assert_eq!(
            read_back(&stranger, &other, &attempt)[0].reason.as_deref(),
            Some("the process has ended")
        );
    }
}
