//! PURE: `[exec.rlimits]`: limits on the workload's processes, getrlimit(2).

use std::collections::BTreeMap;

use super::reader::Reader;
use crate::config::problem::{At, KeyPath};
use crate::config::schema::{RlimitsTable, Scalar};
use crate::model::rlimit::{Resource, Rlimit, RlimitError};

/// Reads the table.
pub(super) fn read(read: &mut Reader, table: &RlimitsTable) -> BTreeMap<Resource, Rlimit> {
    let RlimitsTable {
        as_,
        core,
        cpu,
        data,
        fsize,
        memlock,
        msgqueue,
        nofile,
        nproc,
        rtprio,
        sigpending,
        stack,
    } = table;
    let given = [
        (Resource::As, as_),
        (Resource::Core, core),
        (Resource::Cpu, cpu),
        (Resource::Data, data),
        (Resource::Fsize, fsize),
        (Resource::Memlock, memlock),
        (Resource::Msgqueue, msgqueue),
        (Resource::Nofile, nofile),
        (Resource::Nproc, nproc),
        (Resource::Rtprio, rtprio),
        (Resource::Sigpending, sigpending),
        (Resource::Stack, stack),
    ];
    let given = given.into_iter().filter_map(|(resource, value)| Some((resource, value.as_ref()?)));
    given.filter_map(|(resource, value)| Some((resource, rlimit(read, resource, value)?))).collect()
}

fn rlimit(read: &mut Reader, resource: Resource, value: &Scalar) -> Option<Rlimit> {
    let text = match value {
        Scalar::Integer(number) => number.to_string(),
        Scalar::Text(text) => text.clone(),
    };
    let error = match Rlimit::parse(resource, &text) {
        Ok(limit) => return Some(limit),
        Err(error) => error,
    };
    let path = resource.path();
    let (unit, example) = match resource {
        Resource::Cpu => ("s", "90s or 10m"),
        _ => ("MiB", "512MiB or 4GiB"),
    };
    let at = At::Value(KeyPath::of(path));
    let message = format!("{path}: {error}");
    let help = match &error {
        RlimitError::Unit(error) => {
            let number = text.split(':').next().unwrap_or(&text);
            read.unit_error(path, error, number, unit, example);
            return None;
        }
        RlimitError::OutOfRange { least, most, .. } => {
            read.error("out-of-range", at, message, format!("use a value from {least} to {most}"));
            return None;
        }
        RlimitError::NoCount(_) => "write a whole number, or two as \"1024:4096\"".into(),
        RlimitError::NotSeconds(_) => "write whole seconds, as \"90s\"".into(),
        RlimitError::SoftAboveHard { soft, hard } => {
            format!("the soft limit comes first: \"{hard}:{soft}\"")
        }
        RlimitError::NoGrace => "write the soft limit alone: the hard one is 5 s above it then".into(),
    };
    read.error("bad-rlimit", at, message, help);
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse::parse;
    use crate::config::resolve::layer::{layer, overlay};
    use crate::config::resolve::testing::{EXEC, codes};
    use crate::config::schema::{FileKind, JobFile};

    #[test]
    fn limits_of_a_profile_and_of_the_job_are_merged_one_by_one() {
        let profile = parse::<JobFile>("[exec.rlimits]\nnofile = 100\ncore = 0\n").value;
        let own = parse::<JobFile>("[exec.rlimits]\nnofile = \"200:300\"\n").value;
        let (base, _) = layer(&profile, FileKind::Profile);
        let (over, _) = layer(&own, FileKind::Job);
        let limits = overlay(base, over).exec.rlimits;
        let both = |soft, hard| Rlimit { soft: Some(soft), hard: Some(hard) };
        assert_eq!(
            limits,
            BTreeMap::from([(Resource::Core, both(0, 0)), (Resource::Nofile, both(200, 300))])
        );
    }

    #[test]
    fn every_wrong_value_has_its_code() {
        let rlimit = |rest: &str| codes(&format!("{EXEC}rlimits = {{ {rest} }}\n"));
        assert_eq!(rlimit("nofile = 1024, core = 0, as = \"4GiB\", cpu = \"10m\""), [] as [&str; 0]);
        assert_eq!(rlimit("nofile = -1"), ["bad-rlimit"]);
        assert_eq!(rlimit("nofile = \"2048:1024\""), ["bad-rlimit"]);
        assert_eq!(rlimit("nofile = \"unlimited\""), ["out-of-range"]);
        assert_eq!(rlimit("rtprio = 100"), ["out-of-range"]);
        assert_eq!(rlimit("fsize = 1000"), ["missing-unit"]);
        assert_eq!(rlimit("cpu = 60"), ["missing-unit"]);
        assert_eq!(rlimit("cpu = \"1y\""), ["bad-unit"]);
        assert_eq!(rlimit("cpu = \"1m:1m\""), ["bad-rlimit"]);
    }
}
