//! Every command of the reference's document of examples, as it is written there. Only paths, process
//! numbers and media are others: what is encoded is generated, and short.
//!
//! What needs hardware or a program that a test machine does not have is run with a stand-in of the same
//! shape, which is said when it runs.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::ground::{Stranger, attributes};
use crate::harness::{
    Done, FFRTMP, Running, Site, all_here, assert_says, await_true, constraint, events, find_program, homes,
    is_root, limits_are_here, lives, read_json, skipped, stands_in,
};
use crate::rtmp::{MODULE, RtmpServer};
use crate::wait::await_within;

/// Makes a clip of a second, with sound.
fn clip(path: &Path, codecs: &[&str]) {
    let source = ["-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25:duration=1"];
    let sound = ["-f", "lavfi", "-i", "sine=duration=1"];
    let status = Command::new("ffmpeg")
        .args(["-nostdin", "-loglevel", "error"])
        .args([source.as_slice(), &sound, codecs].concat())
        .arg(path)
        .stdin(Stdio::null())
        .status();
    assert!(status.expect("ffmpeg runs").success(), "{}", path.display());
}

const MP4: [&str; 6] = ["-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac"];

/// The codecs in a file.
fn codecs(file: &Path) -> String {
    let show = ["-v", "error", "-show_entries", "stream=codec_name", "-of", "csv=p=0"];
    let output = Command::new("ffprobe").args(show).arg(file).output().expect("ffprobe runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).split_whitespace().collect::<Vec<_>>().join(",")
}

/// That what was asked for is in force, or that is said why it is not; and the one or the other to people.
fn assert_asked(done: &str, report: &Value, asked: &[(&str, &str)]) {
    let list = report["constraints"].as_array().expect("a list");
    assert_eq!(list.len(), asked.len(), "{report:#}");
    for (name, value) in asked {
        let status = constraint(report, name);
        assert_eq!(status["requested"], *value, "{status}");
        if status["applied"] != true {
            let reason = status["reason"].as_str().unwrap_or_else(|| panic!("no reason: {status}"));
            assert!(done.contains(&format!("[wrapper] WARNING: {reason}")), "{reason}: {done}");
        }
    }
}

/// That a run has succeeded, with the report that is kept of it.
fn succeeded(site: &Site, done: &Done, job: &str) -> Value {
    assert_eq!(done.code(), Some(0), "{done:?}");
    assert!(done.err.contains("Process exited: code=0, reason=success,"), "{}", done.err);
    let report = site.report(job).unwrap_or_else(|| panic!("no report of {job}"));
    assert_says(
        &report,
        &[
            ("state", json!("completed")),
            ("exit_code", json!(0)),
            ("exit_reason", json!("success")),
            ("platform_sla", json!(true)),
            ("platform_sla_reason", json!("success")),
        ],
    );
    report
}

/// Runs a command that succeeds, with what it asks for in force, or said why not. Gives its report.
fn ran(site: &Site, line: &str, job: &str, asked: &[(&str, &str)]) -> Value {
    let done = site.shell(line);
    let report = succeeded(site, &done, job);
    assert_asked(&done.err, &report, asked);
    report
}

/// `python`, where only `python3` is called so.
fn python(site: &Site) {
    let output = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output();
    let path = String::from_utf8(output.expect("python3 runs").stdout).expect("text");
    symlink(path.trim(), site.path("bin/python")).expect("made");
}

/// A place for an example, if the programs are here that it names.
fn site_with(test: &str, programs: &[&str]) -> Option<Site> {
    all_here(test, programs).then(Site::new)
}

/// The same for one whose limits have to be kept.
fn site_with_limits(test: &str, programs: &[&str]) -> Option<Site> {
    (all_here(test, programs) && limits_are_here(test)).then(Site::new)
}

/// The same for commands as another user: the program, and the places that it writes to, are for everybody.
fn site_for_nobody(test: &str) -> Option<Site> {
    if !is_root() {
        skipped(test, "it needs root, to be somebody without privileges, and to be root");
        return None;
    }
    let site = site_with(test, &["setpriv"])?;
    fs::copy(FFRTMP, site.path("bin/ffrtmp")).expect("copied");
    for folder in [&site.root, &site.work] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).expect("changed");
    }
    Some(site)
}

/// `sudo` for whoever is root already.
fn sudo(test: &str, site: &Site) {
    stands_in(test, "whoever tests is root already: a sudo that does nothing more");
    site.program("sudo", "#!/bin/sh\nexec \"$@\"\n");
}

/// A command of the document, with the folder of the test in the place of one that it names.
fn at(site: &Site, name: &str, line: &str) -> String {
    line.replace(name, &site.work.display().to_string())
}

/// In front of a command: somebody without privileges.
const AS_NOBODY: &str = "setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all";

// Basic use.

#[test]
fn basic_metadata() {
    let Some(site) = site_with("basic_metadata", &["python3"]) else { return };
    python(&site);
    site.write("train_model.py", "import sys\nprint('epoch', len(sys.argv))\n");
    let done = site.shell(
        "ffrtmp run \\
  --job-id my-job-001 \\
  --intent production \\
  --sla-eligible \\
  -- python train_model.py",
    );
    let report = succeeded(&site, &done, "my-job-001");
    assert_says(&report, &[("intent", json!("production")), ("sla_eligible", json!(true))]);
    assert_says(&report, &[("command", json!(["python", "train_model.py"]))]);
    assert_eq!(done.out, "epoch 1\n");
    assert!(done.err.contains("[wrapper] Job: my-job-001, Intent: production, SLA: true\n"), "{}", done.err);
}

#[test]
fn basic_attach() {
    let site = Site::new();
    let mut stranger = Stranger::shell("echo ready; read x; exit 3");
    stranger.line();
    let line = format!("ffrtmp attach --pid {} --job-id my-job-002", stranger.pid());
    let running = site.start(&mut site.script(&line));
    running.workload();
    stranger.go_on();
    assert_eq!(running.wait().code(), Some(3));
    assert_says(&site.report("my-job-002").expect("a report"), &[("mode", json!("attach"))]);
}

// Encoding.

const EXAMPLE_1: &str = "ffrtmp run \\
  --job-id transcode-h264-001 \\
  --sla-eligible \\
  --intent production \\
  --cpu-quota 200 \\
  --memory-limit 4096 \\
  --nice -5 \\
  -- ffmpeg \\
    -hwaccel cuda \\
    -i STREAMS/input.mp4 \\
    -c:v h264_nvenc \\
    -preset fast \\
    -b:v 5000k \\
    -maxrate 6000k \\
    -bufsize 12000k \\
    -c:a aac \\
    -b:a 192k \\
    STREAMS/output.mp4";

#[test]
fn example_1_h264_with_nvenc() {
    let test = "example_1_h264_with_nvenc";
    let Some(site) = site_with(test, &["ffmpeg", "ffprobe"]) else { return };
    clip(&site.path("input.mp4"), &MP4);
    let line = at(&site, "STREAMS", EXAMPLE_1);
    let asked = [("cpu_quota", "200%"), ("memory_limit", "4GiB"), ("nice", "-5")];
    let mut done = site.shell(&line);
    if done.code() != Some(0) {
        // Without the hardware it fails: by itself, which is no fault of the platform.
        let report = site.report("transcode-h264-001").expect("a report");
        let failed = [
            ("state", json!("failed")),
            ("exit_code", json!(done.code())),
            ("exit_reason", json!("error")),
            ("platform_sla", json!(true)),
            ("platform_sla_reason", json!("workload_failed")),
        ];
        assert_says(&report, &failed);
        assert_asked(&done.err, &report, &asked);
        stands_in(
            test,
            "no NVENC here: the same with libx264, after the command as it is had failed honestly",
        );
        let line = line.replace("    -hwaccel cuda \\\n", "").replace("h264_nvenc", "libx264");
        let _ = fs::remove_file(site.path("output.mp4"));
        done = site.shell(&line);
    }
    let report = succeeded(&site, &done, "transcode-h264-001");
    assert_says(&report, &[("sla_eligible", json!(true)), ("intent", json!("production"))]);
    assert_asked(&done.err, &report, &asked);
    assert_eq!(codecs(&site.path("output.mp4")), "h264,aac");
}

#[test]
fn example_2_h265_on_the_cpu() {
    let Some(site) = site_with("example_2_h265_on_the_cpu", &["ffmpeg", "ffprobe"]) else { return };
    clip(&site.path("4k_input.mp4"), &MP4);
    let line = "ffrtmp run \\
  --job-id transcode-h265-002 \\
  --sla-eligible \\
  --cpu-quota 400 \\
  --memory-limit 8192 \\
  --io-weight 75 \\
  -- ffmpeg \\
    -i STREAMS/4k_input.mp4 \\
    -c:v libx265 \\
    -preset medium \\
    -crf 23 \\
    -c:a copy \\
    STREAMS/4k_output.mp4";
    ran(
        &site,
        &at(&site, "STREAMS", line),
        "transcode-h265-002",
        &[("cpu_quota", "400%"), ("memory_limit", "8GiB"), ("io_weight", "75%")],
    );
    assert_eq!(codecs(&site.path("4k_output.mp4")), "hevc,aac");
}

#[test]
fn example_3_rtmp_to_hls() {
    let test = "example_3_rtmp_to_hls";
    if !all_here(test, &["ffmpeg", "ffprobe", "nginx"]) {
        return;
    }
    if !Path::new(MODULE).exists() {
        return skipped(test, &format!("no {MODULE} here; scripts/setup test installs it"));
    }
    let site = Site::new();
    fs::create_dir(site.path("nginx")).expect("made");
    let server = RtmpServer::start(&site.path("nginx"));
    let publisher = server.publish(&["stream"]);
    let line = "ffrtmp run \\
  --job-id live-stream-hls-003 \\
  --sla-eligible \\
  --cpu-weight 200 \\
  --memory-limit 2048 \\
  -- ffmpeg \\
    -i rtmp://SERVER/stream \\
    -c:v copy \\
    -c:a copy \\
    -f hls \\
    -hls_time 2 \\
    -hls_list_size 10 \\
    -hls_flags delete_segments \\
    HLS/stream.m3u8";
    let line = line.replace("SERVER", &format!("127.0.0.1:{}/live", server.port));
    let line = at(&site, "HLS", &line);
    let running = site.start(&mut site.script(&line));
    let workload = running.workload();
    let playlist = || site.read("stream.m3u8");
    let segments = || playlist().lines().filter(|line| line.ends_with(".ts")).count();
    await_within(Duration::from_secs(120), "players find two segments", || (segments() >= 2).then_some(()));
    assert!(lives(&workload));
    let first = playlist().lines().find(|line| line.ends_with(".ts")).expect("a segment").to_owned();
    // Of a transport stream they are told for its program, too.
    assert!(codecs(&site.path(&first)).starts_with("h264,aac"));
    // The source ends, and with it the channel: its server waits for another publisher.
    drop((publisher, server));
    let done = running.wait();
    let report = succeeded(&site, &done, "live-stream-hls-003");
    assert_asked(&done.err, &report, &[("cpu_weight", "200"), ("memory_limit", "2GiB")]);
    assert!(report["duration_sec"].as_f64().is_some_and(|seconds| seconds > 2.0), "{report:#}");
}

#[test]
fn example_4_a_batch_at_low_priority() {
    let Some(site) = site_with("example_4_a_batch_at_low_priority", &["ffmpeg", "ffprobe"]) else { return };
    clip(&site.path("old_video.avi"), &["-c:v", "mpeg4", "-q:v", "5", "-c:a", "mp2"]);
    let line = "ffrtmp run \\
  --job-id batch-transcode-004 \\
  --intent test \\
  --cpu-weight 50 \\
  --nice 10 \\
  --memory-limit 1024 \\
  -- ffmpeg \\
    -i ARCHIVE/old_video.avi \\
    -c:v libx264 \\
    -preset slow \\
    -crf 22 \\
    ARCHIVE/new_video.mp4";
    let report = ran(
        &site,
        &at(&site, "ARCHIVE", line),
        "batch-transcode-004",
        &[("cpu_weight", "50"), ("memory_limit", "1GiB"), ("nice", "10")],
    );
    assert_says(&report, &[("intent", json!("test")), ("sla_eligible", json!(false))]);
    assert_eq!(constraint(&report, "nice")["actual"], "10");
    assert!(codecs(&site.path("new_video.mp4")).starts_with("h264,"));
}

// Attaching.

/// An encoder that runs until it is told `q`, under any name.
fn encoder(site: &Site, program: &str, output: &str) -> Stranger {
    let mut command = Command::new(program);
    let path = format!("{}:{}", site.path("bin").display(), std::env::var("PATH").unwrap_or_default());
    command.env("PATH", path).current_dir(&site.work);
    command.args(["-v", "error", "-progress", "pipe:1", "-re"]);
    command.args(["-f", "lavfi", "-i", "testsrc2=size=64x64:rate=5", "-c:v", "libx264", "-threads", "3"]);
    command.args(["-f", "flv", output]);
    let mut stranger = Stranger::spawn(&mut command);
    while stranger.line() != "progress=continue" {}
    stranger
}

#[test]
fn example_5_obs_that_runs_already() {
    let test = "example_5_obs_that_runs_already";
    let Some(site) = site_with(test, &["ffmpeg"]) else { return };
    // A program with that name, with capture, encoder and output in threads of their own.
    stands_in(test, "no OBS Studio here: an encoder of that name, with as many threads");
    symlink(find_program("ffmpeg").expect("it is here"), site.path("bin/obs")).expect("made");
    let mut obs = encoder(&site, "obs", "live.flv");
    let number = obs.pid();
    assert_eq!(fs::read_to_string(format!("/proc/{number}/comm")).expect("proc"), "obs\n");
    let line = format!(
        "ffrtmp attach \\
  --pid {number} \\
  --job-id obs-stream-005 \\
  --sla-eligible \\
  --cpu-quota 300 \\
  --memory-limit 4096 \\
  --nice -10"
    );
    let wrapper = site.start(&mut site.script(&format!("exec {line}")));
    assert_eq!(wrapper.workload(), obs.process());
    let report = site.report("obs-stream-005").expect("a report");
    assert_says(&report, &[("mode", json!("attach")), ("pid", json!(number)), ("state", json!("running"))]);
    assert_asked(
        &wrapper.err(),
        &report,
        &[("cpu_quota", "300%"), ("memory_limit", "4GiB"), ("nice", "-10")],
    );
    if constraint(&report, "nice")["applied"] == true {
        assert!(attributes(number).iter().all(|(nice, _, _)| *nice == -10), "every thread");
    }
    // Whatever becomes of the wrapper, it is on air.
    wrapper.signal(libc::SIGKILL);
    drop(wrapper);
    for _ in 0..3 {
        while obs.line() != "progress=continue" {}
    }
    obs.say("q");
    assert_eq!(obs.reap().code(), Some(0));
    // The next one that ends says that nobody saw how it ended, and removes what is left.
    assert_eq!(site.run(&["true"]).code(), Some(0));
    assert_says(&site.report("obs-stream-005").expect("a report"), &[("exit_code", Value::Null)]);
}

#[test]
fn example_6_a_gstreamer_pipeline() {
    let Some(site) = site_with("example_6_a_gstreamer_pipeline", &["gst-launch-1.0", "pgrep"]) else {
        return;
    };
    let sink = site.path("video");
    let mut command = Command::new("gst-launch-1.0");
    command.args([
        "-q",
        "videotestsrc",
        "is-live=true",
        "!",
        "video/x-raw,width=64,height=64,framerate=5/1",
        "!",
    ]);
    command.args(["filesink", &format!("location={}", sink.display())]);
    let pipeline = Stranger::spawn(&mut command);
    let written = || fs::metadata(&sink).map_or(0, |meta| meta.len());
    await_true("it plays", || written() > 0);
    // There may be other pipelines on this machine, which are none of ours.
    let line = format!(
        "GSTREAMER_PID=$(pgrep -f \"gst-launch-1.0.*{}\")
ffrtmp attach \\
  --pid $GSTREAMER_PID \\
  --job-id gstreamer-006 \\
  --cpu-weight 150 \\
  --io-weight 80",
        sink.display()
    );
    let running = site.start(&mut site.script(&line));
    assert_eq!(running.workload(), pipeline.process());
    let report = site.report("gstreamer-006").expect("a report");
    assert_asked(&running.err(), &report, &[("cpu_weight", "150"), ("io_weight", "80%")]);
    let seen = written();
    await_true("it plays on", || written() > seen);
    pipeline.signal(libc::SIGINT);
    await_true("it ends", || !lives(&pipeline.process()));
    let report = site.await_end("gstreamer-006");
    assert!(report["exit_observed_by"].is_string(), "{report:#}");
    assert_eq!(running.wait().code(), report["exit_code"].as_i64().and_then(|code| code.try_into().ok()));
}

#[test]
fn example_7_an_ffmpeg_of_unknown_origin() {
    let Some(site) = site_with("example_7_an_ffmpeg_of_unknown_origin", &["ffmpeg"]) else { return };
    let mut stranger = encoder(&site, "ffmpeg", "legacy.flv");
    let line = format!(
        "ffrtmp attach \\
  --pid {} \\
  --job-id legacy-ffmpeg-007 \\
  --intent experiment \\
  --cpu-quota 100 \\
  --memory-limit 2048 \\
  --json > legacy-report.json",
        stranger.pid()
    );
    let running = site.start(&mut site.script(&line));
    running.workload();
    stranger.say("q");
    await_true("it ends", || !lives(&stranger.process()));
    let done = running.wait();
    let report = read_json(&site.path("legacy-report.json")).expect("one document");
    assert_says(
        &report,
        &[
            ("mode", json!("attach")),
            ("intent", json!("experiment")),
            ("exit_code", json!(0)),
            ("exit_observed_by", json!("zombie")),
        ],
    );
    assert_asked(&done.err, &report, &[("cpu_quota", "100%"), ("memory_limit", "2GiB")]);
    assert!(report["command"].as_array().is_some_and(|words| words.contains(&json!("legacy.flv"))));
    assert_eq!(done.code(), Some(0));
}

// Constraints.

#[test]
fn example_8_high_priority() {
    let site = Site::new();
    let app =
        site.program("critical_app", "#!/bin/sh\nnice; cat /proc/self/oom_score_adj /proc/self/cgroup\n");
    let line = "ffrtmp run \\
  --job-id critical-008 \\
  --sla-eligible \\
  --cpu-quota 0 \\
  --cpu-weight 500 \\
  --nice -10 \\
  --oom-score -500 \\
  -- APP";
    let done = site.shell(&line.replace("APP", &app.display().to_string()));
    let report = succeeded(&site, &done, "critical-008");
    let asked = [("cpu_quota", "0%"), ("cpu_weight", "500"), ("nice", "-10"), ("oom_score_adj", "-500")];
    let list = report["constraints"].as_array().expect("a list");
    // Without limit is what it is anyway.
    let asked: Vec<_> =
        asked.into_iter().filter(|(name, _)| list.iter().any(|status| status["name"] == *name)).collect();
    assert!(asked.len() >= 3, "{report:#}");
    for (name, _) in &asked {
        let status = constraint(&report, name);
        assert!(status["applied"] == true || done.err.contains("WARNING"), "{status}: {}", done.err);
    }
    // What the report says of the process is what the process has found.
    let mut lines = done.out.lines();
    for name in ["nice", "oom_score_adj"] {
        let (found, status) = (lines.next().expect("a line"), constraint(&report, name));
        assert_eq!(status["actual"], found, "{status}");
    }
}

#[test]
fn example_9_a_memory_limit_kills() {
    let Some(site) = site_with_limits("example_9_a_memory_limit_kills", &["python3"]) else { return };
    python(&site);
    // Twice what it may have, and then it would end well.
    let hog =
        "import sys\nprint('begun', flush=True)\nkept = [bytearray(b'x' * (1 << 20)) for _ in range(1024)]\n";
    site.write("data_processing.py", hog);
    let done = site.shell(
        "ffrtmp run \\
  --job-id memory-limited-009 \\
  --memory-limit 512 \\
  --oom-score 500 \\
  -- python data_processing.py",
    );
    assert_eq!(done.code(), Some(128 + libc::SIGKILL), "{done:?}");
    assert!(done.err.contains("Process exited: signal=SIGKILL, reason=oom,"), "{}", done.err);
    let report = site.report("memory-limited-009").expect("a report");
    assert_says(
        &report,
        &[
            ("state", json!("killed")),
            ("exit_reason", json!("oom")),
            ("signal", json!("SIGKILL")),
            ("platform_sla", json!(true)),
            ("platform_sla_reason", json!("workload_oom")),
        ],
    );
    assert_eq!(constraint(&report, "memory_limit")["actual"], (512 << 20).to_string());
    assert!(report["usage"]["oom_kills"].as_u64().is_some_and(|kills| kills > 0), "{report:#}");
    assert!(
        report["usage"]["memory_peak_bytes"].as_u64().is_some_and(|peak| peak <= 512 << 20),
        "{report:#}"
    );
}

/// The shares are 200, 100 and 50 of 350: 57, 29 and 14 percent.
#[test]
fn example_10_tenants_share_by_weight() {
    let Some(site) = site_with_limits("example_10_tenants_share_by_weight", &["taskset"]) else { return };
    let allowed = attributes(std::process::id()).first().expect("ourselves").1.clone();
    let cpu: String = allowed.chars().take_while(char::is_ascii_digit).collect();
    for app in ["tenant_a_app", "tenant_b_app", "tenant_c_app"] {
        let path =
            site.program(app, &format!("#!/bin/sh\nexec taskset -c {cpu} sh -c 'while :; do :; done'\n"));
        fs::rename(path, site.path(app)).expect("moved");
    }
    let done = site.shell(
        "ffrtmp run --job-id tenant-a-010 --cpu-weight 200 --memory-limit 4096 -- ./tenant_a_app &
ffrtmp run --job-id tenant-b-011 --cpu-weight 100 --memory-limit 2048 -- ./tenant_b_app &
ffrtmp run --job-id tenant-c-012 --cpu-weight 50 --memory-limit 1024 -- ./tenant_c_app &",
    );
    assert_eq!(done.code(), Some(0));
    let tenants: Vec<Tenant> = ["tenant-a-010", "tenant-b-011", "tenant-c-012"]
        .map(|job| {
            let report = site.await_report(job, "it runs", |report| report["state"] == "running");
            assert_eq!(constraint(&report, "cpu_weight")["applied"], true, "{report:#}");
            Tenant(report["pid"].as_u64().and_then(|pid| pid.try_into().ok()).expect("a pid"))
        })
        .into();
    let of: Vec<&Tenant> = tenants.iter().collect();
    // All of them at work, before anything is counted.
    of.iter().for_each(|tenant| crate::cpu::Counted::await_use(*tenant, Duration::from_millis(100)));
    crate::cpu::assert_ratio(&of, &[200.0, 100.0, 50.0], 0.2);
    site.sweep();
}

/// The main process of a tenant, which is all there is of it.
struct Tenant(u32);

impl crate::cpu::Counted for Tenant {
    fn used(&self) -> Duration {
        let process = crate::ground::identify(self.0);
        Duration::from_secs_f64(ffrtmp::linux::attach::cpu_sec(&process).expect("it lives"))
    }

    fn throttled(&self) -> u64 {
        0
    }
}

// Testing.

#[test]
fn example_11_a_quick_test() {
    let site = Site::new();
    let done = site.shell(
        "ffrtmp run \\
  --job-id test-001 \\
  --intent test \\
  -- /bin/sleep 5",
    );
    let report = succeeded(&site, &done, "test-001");
    assert_says(&report, &[("intent", json!("test")), ("sla_eligible", json!(false))]);
    assert!(report["duration_sec"].as_f64().is_some_and(|seconds| seconds >= 5.0), "{report:#}");
}

#[test]
fn example_12_a_benchmark_with_a_report() {
    let test = "example_12_a_benchmark_with_a_report";
    let site = Site::new();
    if find_program("sysbench").is_none() {
        stands_in(test, "no sysbench here: a program that prints and computes in four processes");
        let text = "#!/bin/sh\necho 'CPU speed:'\nfor n in 1 2 3 4; do\n  (i=0; while [ $i -lt 20000 ]; do \
                    i=$((i+1)); done; echo \"thread $n done\") &\ndone\nwait\n";
        site.program("sysbench", text);
    }
    let done = site.shell(
        "ffrtmp run \\
  --job-id benchmark-012 \\
  --intent experiment \\
  --json \\
  -- sysbench cpu --threads=4 run \\
  > benchmark-report.json",
    );
    let report = read_json(&site.path("benchmark-report.json")).expect("one document");
    assert_eq!(succeeded(&site, &done, "benchmark-012"), report);
    assert_says(&report, &[("intent", json!("experiment"))]);
    assert_eq!(report["command"], json!(["sysbench", "cpu", "--threads=4", "run"]));
    assert!(report["usage"]["cpu_sec"].as_f64().is_some_and(|seconds| seconds > 0.0), "{report:#}");
    // What it prints is not lost: it is where the messages are.
    assert!(done.err.contains("CPU speed:"), "{}", done.err);
}

#[test]
fn example_13_a_job_that_fails() {
    let Some(site) = site_with("example_13_a_job_that_fails", &["bash"]) else { return };
    site.write("failing_script.sh", "step=one\nls /nonexistent/input\nexit 3\n");
    let bash = find_program("bash").expect("it is here");
    let line = "ffrtmp run \\
  --job-id debug-013 \\
  --intent test \\
  -- /bin/bash -x failing_script.sh";
    let done = site.shell(&line.replace("/bin/bash", &bash.display().to_string()));
    assert_eq!(done.code(), Some(3));
    assert!(done.err.contains("+ step=one\n+ ls /nonexistent/input\n"), "{}", done.err);
    assert!(done.err.contains("Process exited: code=3, reason=error, duration="), "{}", done.err);
    let report = site.report("debug-013").expect("a report");
    assert_says(&report, &[("exit_code", json!(3)), ("exit_reason", json!("error"))]);
    let states: Vec<&Value> =
        report["events"].as_array().expect("events").iter().map(|e| &e["state"]).collect();
    assert_eq!(states, ["starting", "running", "failed"], "{:?}", events(&report));
    assert!(report["duration_sec"].is_f64());
}

/// What the example's worker executes.
#[test]
fn example_15_as_a_worker_runs_it() {
    let Some(site) = site_with("example_15_as_a_worker_runs_it", &["ffmpeg", "ffprobe"]) else { return };
    clip(&site.path("input.mp4"), &MP4);
    let done = site.shell(
        "ffrtmp run \\
  --job-id job-12345 \\
  --sla-eligible \\
  --cpu-quota 200 \\
  --memory-limit 4096 \\
  --nice -5 \\
  --json \\
  -- ffmpeg -i input.mp4 output.mp4",
    );
    let report = succeeded(&site, &done, "job-12345");
    assert_eq!(done.json(), report);
    for field in ["exit_code", "exit_reason", "duration_sec"] {
        assert!(!report[field].is_null(), "{field}: {report:#}");
    }
    assert_asked(&done.err, &report, &[("cpu_quota", "200%"), ("memory_limit", "4GiB"), ("nice", "-5")]);
    assert!(codecs(&site.path("output.mp4")).starts_with("h264,"));
}

// Troubleshooting.

#[test]
fn issue_1_no_permission_for_cgroups() {
    let Some(site) = site_for_nobody("issue_1_no_permission_for_cgroups") else { return };
    site.program("my_command", "#!/bin/sh\nid -u; nice\n");
    sudo("issue_1_no_permission_for_cgroups", &site);
    let base = site.shell("nice").out.trim().to_owned();
    let done = site.shell("sudo ffrtmp run -- my_command");
    assert_eq!((done.code(), done.out), (Some(0), format!("0\n{base}\n")));
    // What root has written there is nobody else's.
    for folder in crate::harness::folders_of(&site.root) {
        fs::remove_dir_all(folder).expect("removed");
    }

    // Nice is what is left, and it is in force.
    let done = site.shell(&format!("{AS_NOBODY} ffrtmp run --nice 19 -- my_command"));
    assert_eq!((done.code(), done.out.as_str()), (Some(0), "65534\n19\n"), "{done:?}");
    assert!(!done.err.contains("WARNING"), "{}", done.err);
    // A limit that cannot be kept is said to be none, and the work is done.
    let done = site.shell(&format!("{AS_NOBODY} ffrtmp run --memory-limit 512 --nice 19 -- my_command"));
    assert_eq!((done.code(), done.out.as_str()), (Some(0), "65534\n19\n"), "{done:?}");
    assert!(done.err.contains("[wrapper] WARNING: Cannot create cgroup (permission denied)"), "{}", done.err);
    assert!(done.err.contains("[not in force: memory_limit]"), "{}", done.err);
    // Unless that was asked for.
    let done = site.shell(&format!("{AS_NOBODY} ffrtmp run --strict --memory-limit 512 -- my_command"));
    assert_eq!((done.code(), done.out.as_str()), (Some(125), ""), "{done:?}");
}

#[test]
fn issue_2_negative_nice_needs_privilege() {
    let Some(site) = site_for_nobody("issue_2_negative_nice_needs_privilege") else { return };
    site.program("my_command", "#!/bin/sh\nnice\n");
    let base = site.shell("nice").out.trim().to_owned();
    let done = site.shell(&format!("{AS_NOBODY} ffrtmp run --nice -10 -- my_command"));
    assert_eq!((done.code(), done.out), (Some(0), format!("{base}\n")));
    let warning = format!("[wrapper] WARNING: Cannot set negative nice (requires root), using {base}");
    assert!(done.err.contains(&warning), "{}", done.err);
    sudo("issue_2_negative_nice_needs_privilege", &site);
    let done = site.shell("sudo ffrtmp run --nice -10 -- my_command");
    assert!(done.out == "-10\n" || done.err.contains(&warning), "{done:?}");
    let done = site.shell("ffrtmp run --nice 10 -- my_command");
    assert_eq!((done.code(), done.out.as_str()), (Some(0), "10\n"));
}

#[test]
fn issue_3_the_wrapper_ends_and_the_workload_continues() {
    let site = Site::new();
    // A person takes their time; a script has to wait until there is something to leave behind.
    let done = site.shell(
        "ffrtmp run -- sleep 1000 2>said &
WRAPPER_PID=$!
until grep -q 'Started PID' said; do sleep 0.05; done
kill $WRAPPER_PID
wait $WRAPPER_PID
echo the wrapper ended with $?
ps aux | grep sleep",
    );
    assert!(done.out.starts_with("the wrapper ended with 143\n"), "{done:?}");
    assert!(done.out.lines().any(|line| line.ends_with(" sleep 1000")), "{done:?}");
    let said = site.read("said");
    let pid = said.split_once("Started PID ").and_then(|(_, rest)| rest.lines().next()?.parse().ok());
    let workload = crate::ground::identify(pid.expect("a number"));
    assert!(lives(&workload), "{said}");
    assert!(said.contains(&format!("SIGTERM: detached; the workload, PID {}, continues", workload.pid)));
    crate::harness::send(&workload, crate::harness::signal(libc::SIGTERM));
}

#[test]
fn issue_4_the_process_has_exited() {
    let site = Site::new();
    let mut stranger = Stranger::new(&["true"]);
    let number = stranger.pid();
    stranger.reap();
    let line = format!("kill -0 {number} && echo \"Process alive\"\nffrtmp attach --pid {number}");
    let done = site.shell(&line);
    assert_eq!((done.code(), done.out.as_str()), (Some(1), ""), "{done:?}");
    assert!(done.err.ends_with(&format!("Error: process {number} does not exist\n")), "{}", done.err);
}

#[test]
fn issue_5_json_is_not_missing() {
    let site = Site::new();
    site.program("my_command", "#!/bin/sh\necho '{\"this\": \"is no report\"}'\n");
    // What did not work, and the way around it.
    let plain = site.shell("ffrtmp run --json -- my_command");
    assert_says(&plain.json(), &[("schema", json!("ffrtmp.report/1")), ("exit_code", json!(0))]);
    assert!(plain.err.contains("{\"this\": \"is no report\"}"), "{}", plain.err);
    let around = site.shell("ffrtmp run --json -- sh -c \"my_command > /dev/null\" > report.json");
    assert_eq!(around.code(), Some(0));
    assert_eq!(read_json(&site.path("report.json")).expect("one document")["exit_reason"], "success");
}

// Patterns.

#[test]
fn pattern_1_a_wrapper_in_a_wrapper() {
    let site = Site::new();
    site.program("my_command", "#!/bin/sh\ncat /proc/self/cgroup; exit 6\n");
    let done = site.shell("ffrtmp run -- ffrtmp run -- my_command");
    assert_eq!(done.code(), Some(6), "{done:?}");
    let warnings = done.err.matches("[wrapper] WARNING: this wrapper runs in another one").count();
    assert_eq!(warnings, 1, "{}", done.err);
    assert_eq!(done.err.matches("Process exited: code=6, reason=error").count(), 2, "{}", done.err);
}

#[test]
fn pattern_2_by_day_and_by_cron() {
    let site = Site::new();
    site.program("night_batch.sh", "#!/bin/sh\nnice\n");
    let done = site.shell("ffrtmp run --cpu-weight 50 --nice 10 -- night_batch.sh");
    assert_eq!((done.code(), done.out.as_str()), (Some(0), "10\n"), "{done:?}");
    // As cron has it: next to no environment, no terminal, standard output in a pipe.
    let folders =
        format!("{}:{}", site.path("bin").display(), Path::new(FFRTMP).parent().expect("it").display());
    let mut cron = site.command("env");
    cron.args(["-i", "HOME=/nonexistent", "LOGNAME=nobody", "SHELL=/bin/sh"]);
    cron.arg(format!("PATH={folders}:/usr/bin:/bin"));
    cron.args([
        "sh",
        "-c",
        "ffrtmp run --cpu-weight 200 --nice -5 -- night_batch.sh 2>said | cat; cat said >&2",
    ]);
    let done = site.start(&mut cron).wait();
    let worked = done.out == "-5\n" || done.err.contains("Cannot set negative nice");
    assert!(worked && done.err.contains("Process exited: code=0"), "{done:?}");
}

#[test]
fn pattern_3_profiles() {
    let Some(site) = site_with("pattern_3_profiles", &["python3", "bash"]) else { return };
    python(&site);
    site.write("batch_job.py", "import os, sys\nprint(os.nice(0), sys.argv[1:])\n");
    let done = site.shell(
        "cat > run_low_priority.sh << 'EOF'
#!/bin/bash
exec ffrtmp run \\
  --cpu-weight 50 \\
  --nice 10 \\
  --memory-limit 1024 \\
  --oom-score 500 \\
  -- \"$@\"
EOF
chmod +x run_low_priority.sh
./run_low_priority.sh python batch_job.py 'two words'",
    );
    assert_eq!((done.code(), done.out.as_str()), (Some(0), "10 ['two words']\n"), "{done:?}");
    // The same without a script.
    let done = site.shell("ffrtmp run --profile low-priority --json -- true");
    assert_asked(
        &done.err,
        &done.json(),
        &[("cpu_weight", "50"), ("memory_limit", "1GiB"), ("nice", "10"), ("oom_score_adj", "500")],
    );
}

// The checklist before production.

#[test]
fn checklist_the_cgroup_shows_the_job() {
    let Some(site) = site_with_limits("checklist_the_cgroup_shows_the_job", &[]) else { return };
    let job = crate::harness::unique("checked");
    let running: Running = site.start_run(&["--job-id", &job, "--memory-limit", "64", "sleep", "1000"]);
    let workload = running.workload();
    let done = site.shell(&format!("cat /proc/{}/cgroup", workload.pid));
    assert!(done.out.contains(&format!("/{job}.")), "{}", done.out);
    // The wrapper is not in there: what it uses is not charged to the job.
    let keeper = running.keeper();
    assert!(homes(keeper.pid).iter().all(|cgroup| !site.cgroups(&job).contains(cgroup)));
    assert!(!homes(workload.pid).is_empty());
    crate::harness::send(&workload, crate::harness::signal(libc::SIGKILL));
    assert_eq!(running.wait().code(), Some(128 + libc::SIGKILL));
}

#[test]
fn checklist_without_cgroups_it_works_all_the_same() {
    let site = Site::new();
    let limits = ["--cpu-quota", "50", "--memory-limit", "64", "--nice", "10"];
    let done = site.run(&[["--cgroup", "none", "--json"].as_slice(), &limits, &["nice"]].concat());
    assert_eq!(done.code(), Some(0));
    let report = done.json();
    for (name, applied) in [("cpu_quota", false), ("memory_limit", false), ("nice", true)] {
        assert_eq!(constraint(&report, name)["applied"], applied, "{report:#}");
    }
    assert_says(&report, &[("exit_reason", json!("success")), ("platform_sla", json!(true))]);
    assert!(done.err.contains("[not in force: cpu_quota, memory_limit]"), "{}", done.err);
    assert!(report["usage"]["cpu_sec"].is_f64(), "usage is known without cgroups, too: {report:#}");
}
