//! PURE: from all layers of a job, laid over each other, to the job: what is still open gets its default.

use super::layer::Layer;
use super::schedule;
use crate::config::problem::{At, KeyPath, Problem};
use crate::config::schema::JobFile;
use crate::model::constraints::Constraints;
use crate::model::ids::JobId;
use crate::model::job::{Job, OnRemove, Workload};

/// A job that a file declares.
#[derive(Debug, Clone, PartialEq)]
pub struct Declared {
    /// The job.
    pub job: Job,
    /// It is meant to run.
    pub enabled: bool,
}

/// Fills in the defaults. `None` without a workload, which [`workload_problems`] has told.
pub(super) fn finish(id: JobId, layer: Layer) -> Option<Declared> {
    let lifecycle = layer.lifecycle.unwrap_or_default();
    let workload = match layer.attach {
        Some(attach) => Workload::Attach(attach),
        None => Workload::Exec(layer.exec.finish()?),
    };
    let constraints = Constraints { strict: layer.strict.unwrap_or(false), ..layer.constraints };
    let job = Job {
        id,
        description: layer.description,
        profiles: layer.profiles,
        lifecycle,
        intent: layer.intent.unwrap_or_default(),
        sla_eligible: layer.sla_eligible.unwrap_or(false),
        tags: layer.tags,
        schedule: schedule::finish(layer.schedule.unwrap_or_default(), &constraints),
        active: None,
        constraints,
        restart: layer.restart.finish(lifecycle),
        stop: layer.stop.finish(&workload),
        timeouts: layer.timeouts,
        needs: layer.needs.unwrap_or_default(),
        workload,
    };
    Some(Declared { job, enabled: layer.enabled.unwrap_or(true) })
}

/// Tells of what makes it no job, and of what no job of its kind can have.
pub(super) fn workload_problems(file: &JobFile, merged: &Layer, problems: &mut Vec<Problem>) {
    let attach = file.attach.is_some();
    if attach && file.exec.is_some() {
        problems.push(
            Problem::error(
                "exec-and-attach",
                At::Key(KeyPath::of("attach")),
                "a job has either [exec] or [attach]",
            )
            .help("[exec] starts a workload, [attach] takes over one that runs: remove one of the two"),
        );
    } else if !attach && file.exec.is_none() {
        problems.push(
            Problem::error("no-workload", At::File, "the job has neither [exec] nor [attach]")
                .help("add [exec] with `command = [\"program\", \"argument\"]`"),
        );
    } else if !attach && merged.exec.command.is_none() && problems.is_empty() {
        problems.push(
            Problem::error("no-workload", At::Key(KeyPath::of("exec")), "[exec] has no `command`")
                .help("add `command = [\"program\", \"argument\"]`"),
        );
    }
    if file.instances.is_some() && merged.attach.as_ref().is_some_and(|attach| attach.all) {
        problems.push(
            Problem::error(
                "all-in-template",
                At::Value(KeyPath::of("attach.all")),
                "`all` makes a run <job>@<pid> of each process, and `instances` a job <job>@<entry> of each entry",
            )
            .help("remove one of the two: `all` finds every process that fits without them"),
        );
    }
    if attach && merged.stop.on_remove == Some(OnRemove::Stop) {
        let at = At::Value(KeyPath::of("stop.on_remove"));
        problems.push(
            Problem::error("stop-of-attached", at, "an attached workload is never ended, only let go")
                .help("remove `on_remove`, or write \"leave\""),
        );
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::config::resolve::testing::{EXEC, codes, one};
    use crate::model::constraints::CpuLimit;
    use crate::model::job::{Lifecycle, OnRemove, RestartPolicy};
    use crate::model::signal::Signal;

    #[test]
    fn defaults_are_those_of_the_reference() {
        let job = one(EXEC);
        assert_eq!(job.lifecycle, Lifecycle::Oneshot);
        assert_eq!(job.restart.policy, RestartPolicy::Never);
        assert_eq!((job.stop.signal, job.stop.timeout), (Signal::TERM, Duration::from_secs(10)));
        assert_eq!(job.stop.on_remove, OnRemove::Stop);
        let gst =
            |rest: &str| one(&format!("[exec]\ncommand = [\"/usr/bin/gst-launch-1.0\", \"-e\"]\n{rest}"));
        assert_eq!(gst("").stop.signal, Signal::INT, "the one that its -e answers to");
        assert_eq!(gst("[stop]\nsignal = \"TERM\"\n").stop.signal, Signal::TERM);
        let live = one(&format!("lifecycle = \"continuous\"\n{EXEC}"));
        assert_eq!(live.restart.policy, RestartPolicy::Always);
        let attached = one("[attach]\npid = 1234\n");
        assert_eq!(attached.stop.on_remove, OnRemove::Leave);
    }

    #[test]
    fn the_job_wins_over_its_profiles_and_the_right_one_over_the_left() {
        let job =
            one(&format!("profiles = [\"low-priority\", \"live-hls\"]\n{EXEC}[constraints]\nnice = 3\n"));
        assert_eq!((job.constraints.nice, job.constraints.cpu_weight), (Some(3), Some(200)));
        assert_eq!(job.constraints.oom_score_adj, Some(500));
        let quota = one(&format!("profiles = [\"nvenc-h264\"]\n{EXEC}[constraints]\ncpu_max = \"max\"\n"));
        assert_eq!(quota.constraints.cpu, Some(CpuLimit::Max { quota_us: None, period_us: 100_000 }));
    }

    #[test]
    fn what_is_no_job_is_refused() {
        assert_eq!(codes("[exec]\n"), ["no-workload"]);
        assert_eq!(codes(""), ["no-workload"]);
        assert_eq!(codes(&format!("{EXEC}[attach]\npid = 5\n")), ["exec-and-attach"]);
        assert_eq!(codes("[attach]\npid = 5\n[stop]\non_remove = \"stop\"\n"), ["stop-of-attached"]);
        assert_eq!(
            codes("instances = [\"a\"]\n[attach]\nmatch = { name = \"%i\" }\nall = true\n"),
            ["all-in-template"]
        );
    }
}
