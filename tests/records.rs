//! Records of version 1, as programs have written them: they load for ever, and mean what they meant. The
//! files of `tests/records/v1` are of real runs and never change; `oldest/` holds the fields alone that
//! every record of version 1 has. What a disk makes of a record is told for what it is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ffrtmp::model::cgroup::{Cgroup, Controller};
use ffrtmp::model::constraints::{Backend, Constraints, CpuLimit, IoClass};
use ffrtmp::model::cpus::CpuSet;
use ffrtmp::model::evidence::{Counters, Evidence, LimitAbove, MemoryEvents};
use ffrtmp::model::exit::{Ended, ExitReason, LostCause, Stage, StartError, State, StopReason};
use ffrtmp::model::history::StartHistory;
use ffrtmp::model::ids::{JobId, RunId};
use ffrtmp::model::job::{
    Intent, Lifecycle, OnRemove, Output, Restart, RestartPolicy, SendTo, StartLimit, Stop, Timeouts, Workload,
};
use ffrtmp::model::process::{BootId, Pid, ProcessIdentity};
use ffrtmp::model::report::{Mode, Report, SCHEMA, Usage};
use ffrtmp::model::rlimit::Resource;
use ffrtmp::model::signal::Signal;
use ffrtmp::model::time::{BootTime, Moment, WallTime};
use ffrtmp::model::units::ByteSize;
use ffrtmp::runs::dir::{EXITED, RecordCause, RecordError, RunDir, SPEC, STARTED, STOP, decode};
use ffrtmp::runs::record::{Exited, Spec, Started, Stopping};
use ffrtmp::supervisor::cgroups::Chosen;
use serde::Serialize;
use serde_json::Value;

const BOOT: &str = "7c1d3c9e-52b6-4d5e-9b0a-3f1f0c1e2d4a";

fn golden(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/records/v1").join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A run's directory with one record in it.
struct Folder {
    run: RunDir,
    _dir: tempfile::TempDir,
}

impl Folder {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        Self { run: RunDir::open(dir.path()), _dir: dir }
    }

    fn of(name: &str, bytes: &[u8]) -> Self {
        let folder = Self::new();
        fs::write(folder.path(name), bytes).expect("written");
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.run.path.join(name)
    }
}

fn spec(file: &str) -> Spec {
    Folder::of(SPEC, &golden(file)).run.spec().expect("it loads").expect("it is there")
}

fn started(file: &str) -> Started {
    Folder::of(STARTED, &golden(file)).run.started().expect("it loads").expect("it is there")
}

fn stopping(file: &str) -> Stopping {
    Folder::of(STOP, &golden(file)).run.stopping().expect("it loads").expect("it is there")
}

fn exited(file: &str) -> Exited {
    Folder::of(EXITED, &golden(file)).run.exited().expect("it loads").expect("it is there")
}

fn moment(wall: &str, boot: u64) -> Moment {
    Moment { wall: wall_time(wall), boot: BootTime(boot) }
}

fn wall_time(text: &str) -> WallTime {
    serde_json::from_value(text.into()).expect("a time")
}

fn run_id(text: &str) -> RunId {
    RunId::try_from(String::from(text)).expect("a name")
}

fn pid(number: u32) -> Pid {
    Pid::new(number).expect("a number")
}

fn signal(number: i32) -> Signal {
    Signal::from_number(number).expect("a signal")
}

/// That all of a file's content is there again when what was loaded is written: what it says in a field
/// that is not known any more is lost.
fn assert_kept(file: &str, loaded: &impl Serialize) {
    fn missing(old: &Value, new: &Value, at: &str, found: &mut Vec<String>) {
        match (old, new) {
            (Value::Object(old), Value::Object(new)) => {
                for (key, value) in old {
                    let null = Value::Null;
                    missing(value, new.get(key).unwrap_or(&null), &format!("{at}.{key}"), found);
                }
            }
            (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
                for (n, (old, new)) in old.iter().zip(new).enumerate() {
                    missing(old, new, &format!("{at}[{n}]"), found);
                }
            }
            _ if old == new => {}
            _ => found.push(format!("{at}: {old} has become {new}")),
        }
    }
    let old: Value = serde_json::from_slice(&golden(file)).expect("JSON");
    let new = serde_json::to_value(loaded).expect("JSON");
    let mut found = Vec::new();
    missing(&old, &new, file, &mut found);
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn a_spec_of_version_1_says_what_it_said() {
    let spec = spec("spec.json");
    assert_kept("spec.json", &spec);
    assert_eq!(spec.run_id, run_id("1a202f213dc-2b1cf82d"));
    assert_eq!(spec.boot_id, BootId(BOOT.into()));
    assert_eq!(spec.created, moment("2026-11-22T11:09:08.956Z", 23_306_675));
    assert_eq!(spec.log, Path::new("/srv/ffrtmp/state/logs/channel@a.log"));
    assert_eq!(spec.history, StartHistory { restarts: 0, backoff: 0, recent: vec![BootTime(23_306_675)] });
    assert_eq!((spec.open_files, spec.released), (Some(20_000), false));
    assert_eq!(spec.attached, None);
    assert!(spec.environment.contains(&("TOKEN".into(), "secret".into())), "{:?}", spec.environment);
    let dir =
        |hierarchy: &str| PathBuf::from(format!("/sys/fs/cgroup/{hierarchy}/ffrtmp-da8b50ae/channel@a"));
    let dirs = BTreeMap::from([
        (Controller::Cpu, dir("cpu")),
        (Controller::Memory, dir("memory/machine/guest")),
        (Controller::Io, dir("blkio")),
        (Controller::Pids, dir("pids")),
        (Controller::Cpuset, dir("cpuset")),
        (Controller::Cpuacct, dir("cpuacct")),
    ]);
    assert_eq!(spec.cgroup, Some(Cgroup::V1 { dirs }));
    let limits: Vec<(&str, bool, Backend)> = spec
        .limits
        .iter()
        .map(|status| (status.requested.as_str(), status.applied, status.backend))
        .collect();
    let kept = |requested| (requested, true, Backend::CgroupV1);
    assert_eq!(limits, [kept("200%"), kept("200"), kept("64MiB"), kept("64"), kept("0")]);

    let job = &spec.job;
    assert_eq!(job.id, JobId::instance("channel", "a").expect("a name"));
    assert_eq!(job.description.as_deref(), Some("Channel 7, RTMP to HLS"));
    assert_eq!(job.profiles, ["base"]);
    assert_eq!((job.lifecycle, job.intent, job.sla_eligible), (Lifecycle::Continuous, Intent::Test, false));
    assert_eq!(job.tags, BTreeMap::from([("customer".into(), "acme".into())]));
    let Workload::Exec(exec) = &job.workload else { panic!("{:?}", job.workload) };
    assert_eq!(exec.command, ["/bin/sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.05; done"]);
    assert_eq!(exec.working_dir.as_deref(), Some(Path::new("/tmp")));
    assert_eq!(exec.env, BTreeMap::from([("KEY".into(), "value".into())]));
    assert_eq!(exec.env_files, [Path::new("/srv/ffrtmp/secrets.env")]);
    assert_eq!((exec.user.as_deref(), exec.group.as_deref()), (Some("root"), Some("root")));
    assert_eq!((exec.umask, exec.output), (Some(0o027), Output::File));
    let rlimits: Vec<(Resource, String)> =
        exec.rlimits.iter().map(|(resource, limit)| (*resource, format!("{limit:?}"))).collect();
    assert_eq!(rlimits.len(), 2, "{rlimits:?}");
    assert!(exec.rlimits.contains_key(&Resource::Core) && exec.rlimits.contains_key(&Resource::Nofile));
    let constraints = Constraints {
        cpu: Some(CpuLimit::Quota(200)),
        cpu_weight: Some(200),
        memory_limit: Some(ByteSize(64 << 20)),
        nice: Some(5),
        oom_score_adj: Some(300),
        tasks_max: Some(64),
        cpus: CpuSet::parse("0").ok(),
        io_class: Some(IoClass::BestEffort(6)),
        ..Constraints::default()
    };
    assert_eq!(job.constraints, constraints);
    let [window] = &job.schedule[..] else { panic!("{:?}", job.schedule) };
    assert_eq!(window.constraints, Constraints { cpu: Some(CpuLimit::Quota(50)), ..constraints });
    assert_eq!(window.timezone.as_deref(), Some("Europe/Vienna"));
    let shown = serde_json::to_value((window.days, window.from, window.to)).expect("JSON");
    assert_eq!(shown, serde_json::json!(["sat-sun", "22:00", "06:00"]));
    assert_eq!(job.active, None);
    assert_eq!(
        job.restart,
        Restart {
            policy: RestartPolicy::OnFailure,
            delay: Duration::from_secs(1),
            max_delay: Duration::from_secs(60),
            reset_after: Duration::from_secs(300),
            limit: Some(StartLimit { starts: 10, within: Duration::from_secs(600) }),
            success_exit_codes: BTreeSet::from([0, 4]),
        }
    );
    assert_eq!(
        job.stop,
        Stop {
            signal: Signal::TERM,
            send: SendTo::Main,
            timeout: Duration::from_secs(3),
            on_remove: OnRemove::Stop
        }
    );
    assert_eq!(job.timeouts, Timeouts { run: Some(Duration::from_secs(7200)) });
}

#[test]
fn a_start_and_a_stop_of_version_1_say_what_they_said() {
    let started = started("started.json");
    assert_kept("started.json", &started);
    let process =
        |number, start_time| ProcessIdentity { pid: pid(number), start_time, boot_id: BootId(BOOT.into()) };
    assert_eq!(started.run_id, run_id("1a202f213dc-2b1cf82d"));
    assert_eq!(started.at, moment("2026-11-22T11:09:08.967Z", 23_306_686));
    assert_eq!((started.process, started.wrapper), (process(344, 2_330_668), process(341, 2_330_667)));
    assert!(started.constraints.iter().all(|status| status.applied) && started.constraints.len() == 10);
    assert_eq!(started.notes, [] as [&str; 0]);
    let above = |below: &str| LimitAbove {
        file: format!("/sys/fs/cgroup/memory/{below}memory.limit_in_bytes").into(),
        reached: 0,
    };
    let baseline = Counters {
        memory: Some(MemoryEvents { limit_reached: 0, kills: 0 }),
        above: vec![above("machine/guest/ffrtmp-da8b50ae/"), above("machine/guest/"), above("machine/")],
        up_to_the_host: true,
        host_kills: Some(72),
        tasks_refused: Some(0),
        usage: Usage {
            cpu_sec: Some(0.000_145),
            cpu_throttled_sec: Some(0.0),
            cpu_throttled_periods: Some(0),
            memory_peak_bytes: Some(262_144),
            oom_kills: Some(0),
            io_read_bytes: Some(0),
            io_write_bytes: Some(0),
            // What was not counted then is not 0.
            ..Usage::default()
        },
    };
    assert_eq!(started.baseline, Some(baseline));

    let stopping = stopping("stop.json");
    assert_kept("stop.json", &stopping);
    assert_eq!(stopping.at, moment("2026-11-22T11:09:17.548Z", 23_315_266));
    assert_eq!((stopping.reason, stopping.signal), (StopReason::Removed, Signal::TERM));
}

#[test]
fn every_kind_of_end_of_version_1_says_what_it_said() {
    let not_started = Ended::NotStarted(StartError {
        stage: Stage::Exec,
        errno: Some(libc::ENOENT),
        detail: "program \"/nonexistent/program\" does not exist; install it or correct exec.command".into(),
    });
    for (name, run, at, ended) in [
        ("waited", "1a202f213dc-2b1cf82d", ("17.565", 23_315_284), Ended::Waited { status: 3 << 8 }),
        ("signaled", "1a202f213f1-f749dd76", ("11.566", 23_309_284), Ended::Waited { status: libc::SIGKILL }),
        ("not-started", "1a202f213e9-590496bb", ("08.991", 23_306_710), not_started),
        ("wrapper-lost", "1a202f213e5-384491b9", ("14.044", 23_311_763), Ended::Lost(LostCause::WrapperLost)),
        (
            "host-rebooted",
            "1a202f213ef-091dd08b",
            ("14.054", 23_311_773),
            Ended::Lost(LostCause::HostRebooted),
        ),
        (
            "record-damaged",
            "1a202f213e2-c54260d9",
            ("14.042", 23_311_760),
            Ended::Lost(LostCause::RecordDamaged),
        ),
    ] {
        let file = format!("exited-{name}.json");
        let exited = exited(&file);
        assert_kept(&file, &exited);
        assert_eq!(exited.run_id, run_id(run), "{name}");
        assert_eq!(exited.at, moment(&format!("2026-11-22T11:09:{}Z", at.0), at.1), "{name}");
        assert_eq!(exited.ended, ended, "{name}");
    }
    let waited = exited("exited-waited.json");
    let (memory_peak_bytes, zero) = (Some(692_224), Some(0));
    let evidence = Evidence {
        memory: Some(MemoryEvents { limit_reached: 0, kills: 0 }),
        above: Vec::new(),
        up_to_the_host: true,
        host_kills: zero,
        tasks_refused: zero,
        memory_peak_bytes,
        cpu_limit_signals: 0,
    };
    assert_eq!(waited.evidence, Some(evidence));
    assert_eq!((waited.usage.cpu_sec, waited.usage.memory_peak_bytes), (Some(0.232_941), memory_peak_bytes));
    let unmeasured = exited("exited-not-started.json");
    assert_eq!((unmeasured.evidence, unmeasured.usage), (None, Usage::default()));
}

#[test]
fn reports_and_the_choice_of_cgroups_say_what_they_said() {
    let load = |file| serde_json::from_slice::<Report>(&golden(file)).expect("it loads");
    let (running, ended) = (load("report-running.json"), load("report.json"));
    assert_kept("report-running.json", &running);
    assert_kept("report.json", &ended);
    for report in [&running, &ended] {
        assert_eq!((report.schema.as_str(), report.mode), (SCHEMA, Mode::Run));
        assert_eq!(report.run_id, run_id("1a202f213dc-2b1cf82d"));
        assert_eq!(report.started_at, Some(wall_time("2026-11-22T11:09:08.967Z")));
        assert_eq!((report.pid, report.constraints.len()), (Some(pid(344)), 10));
    }
    assert_eq!((running.state, running.exit_reason, running.ended_at), (State::Running, None, None));
    assert_eq!(running.usage, Usage::default());
    assert_eq!((ended.state, ended.exit_reason), (State::Failed, Some(ExitReason::Error)));
    assert_eq!((ended.exit_code, ended.signal, ended.duration_sec), (Some(3), None, Some(8.598)));
    assert_eq!(ended.platform_sla, Some(true));
    assert_eq!(ended.platform_sla_reason.as_deref(), Some("stopped_on_request"));
    let said: Vec<&str> = ended.events.iter().map(|event| event.message.as_str()).collect();
    assert_eq!(said[..2], ["starting", "running, pid 344"]);

    let chosen: Chosen = serde_json::from_slice(&golden("cgroups.json")).expect("it loads");
    assert_kept("cgroups.json", &chosen);
    assert_eq!((chosen.backend, chosen.reason), (Backend::CgroupV1, None));
    assert_eq!((chosen.controllers.len(), chosen.dirs.len()), (6, 6));
}

#[test]
fn what_came_later_has_its_default_where_a_record_lacks_it() {
    let spec = spec("oldest/spec.json");
    assert_kept("oldest/spec.json", &spec);
    assert_eq!((spec.open_files, spec.cgroup, spec.released), (None, None, false));
    assert_eq!((spec.limits, spec.history, spec.attached), (Vec::new(), StartHistory::default(), None));
    assert_eq!((&spec.job.constraints, &spec.job.schedule), (&Constraints::default(), &Vec::new()));
    assert_eq!((&spec.job.timeouts, spec.job.active), (&Timeouts::default(), None));
    let started = started("oldest/started.json");
    assert_kept("oldest/started.json", &started);
    assert_eq!((started.process.pid, started.baseline), (pid(344), None));
    let stopping = stopping("oldest/stop.json");
    assert_kept("oldest/stop.json", &stopping);
    assert_eq!((stopping.reason, stopping.signal), (StopReason::Timeout, signal(libc::SIGINT)));
    let exited = exited("oldest/exited.json");
    assert_kept("oldest/exited.json", &exited);
    assert_eq!((exited.ended, exited.evidence), (Ended::Waited { status: 256 }, None));
}

/// Loads the record of a directory that has this name.
fn load(run: &RunDir, name: &str) -> Result<Option<Value>, RecordError> {
    fn json<T: Serialize>(record: Option<T>) -> Option<Value> {
        record.map(|record| serde_json::to_value(record).expect("JSON"))
    }
    match name {
        SPEC => run.spec().map(json),
        STARTED => run.started().map(json),
        STOP => run.stopping().map(json),
        _ => run.exited().map(json),
    }
}

#[test]
fn a_newer_version_is_refused_in_words_and_a_newer_field_is_not() {
    for name in [SPEC, STARTED, STOP, EXITED] {
        let file = if name == EXITED { "exited-waited.json" } else { name };
        let mut record: Value = serde_json::from_slice(&golden(file)).expect("JSON");
        let known = load(&Folder::of(name, &golden(file)).run, name).expect("it loads");
        record["from_the_future"] = serde_json::json!({"a": [1, 2, 3]});
        let folder = Folder::of(name, record.to_string().as_bytes());
        assert_eq!(load(&folder.run, name).expect("it loads"), known, "{name}");

        record["version"] = 2.into();
        fs::write(folder.path(name), record.to_string()).expect("written");
        let error = load(&folder.run, name).expect_err("nobody knows what it means");
        assert!(matches!(error.cause, RecordCause::Version(2)), "{error}");
        let told = format!(
            "{}: has version 2, known is 1; it was written by a newer ffrtmp",
            folder.path(name).display()
        );
        assert_eq!(error.to_string(), told);
        // Nobody sets it aside: the program that wrote it may come back.
        assert!(!error.is_damage());
    }
}

/// As this program writes them: from what the golden ones say.
fn written_today() -> Folder {
    let folder = Folder::new();
    folder.run.write_spec(&spec("spec.json")).expect("written");
    folder.run.write_started(&started("started.json")).expect("written");
    folder.run.write_stopping(&stopping("stop.json")).expect("written");
    folder.run.write_exited(&exited("exited-waited.json")).expect("written");
    folder
}

/// What bytes say under this name.
fn decoded(name: &str, bytes: &[u8]) -> Result<Value, RecordCause> {
    fn json<T: Serialize>(record: T) -> Value {
        serde_json::to_value(record).expect("JSON")
    }
    match name {
        SPEC => decode(bytes).map(json::<Spec>),
        STARTED => decode(bytes).map(json::<Started>),
        STOP => decode(bytes).map(json::<Stopping>),
        _ => decode(bytes).map(json::<Exited>),
    }
}

#[test]
fn a_record_that_was_cut_off_never_loads() {
    let today = written_today();
    for file in ["report.json", "report-running.json"] {
        let whole = golden(file);
        for length in 0..whole.len() - 1 {
            assert!(serde_json::from_slice::<Report>(&whole[..length]).is_err(), "{file}, {length} bytes");
        }
    }
    for name in [SPEC, STARTED, STOP, EXITED] {
        let old = golden(if name == EXITED { "exited-waited.json" } else { name });
        for whole in [old, fs::read(today.path(name)).expect("read")] {
            // The line's end says nothing.
            for length in 0..whole.trim_ascii_end().len() {
                let cause = decoded(name, &whole[..length]).expect_err("a part of it");
                assert!(matches!(cause, RecordCause::Json(_)), "{name}, {length} bytes: {cause}");
            }
        }
    }
}

#[test]
fn a_byte_that_changed_on_the_disk_never_becomes_another_meaning() {
    let today = written_today();
    for name in [SPEC, STARTED, STOP, EXITED] {
        let whole = fs::read(today.path(name)).expect("read");
        let known = decoded(name, &whole).expect("it loads");
        let mut damaged = 0;
        for place in 0..whole.len() {
            // A digit into another, a letter's case, a byte that is no text.
            for flip in [0x01, 0x20, 0x80] {
                let mut bytes = whole.clone();
                bytes[place] ^= flip;
                match decoded(name, &bytes) {
                    Ok(record) => assert_eq!(record, known, "{name}: byte {place} ^ {flip:#x}"),
                    Err(cause) => {
                        assert!(matches!(cause, RecordCause::Json(_) | RecordCause::Changed), "{cause}");
                        damaged += 1;
                    }
                }
            }
        }
        // But for the name of the sum, each is seen.
        assert!(damaged > whole.len() * 3 - 24, "{name}: {damaged} of {}", whole.len() * 3);
        // Older ones have no sum: what they say may change, but nothing panics.
        let old = golden(if name == EXITED { "exited-waited.json" } else { name });
        for place in 0..old.len() {
            let mut bytes = old.clone();
            bytes[place] ^= 0x01;
            let _ = decoded(name, &bytes);
        }
    }
}
