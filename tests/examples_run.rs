//! The examples, run for real: files that people copy have to work, on real media, with the real
//! programs, under the real supervisor.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use rtmp::RtmpServer;

#[path = "shared/rtmp.rs"]
mod rtmp;

#[allow(dead_code, reason = "each suite uses its part of it")]
#[path = "shared/wait.rs"]
mod wait;

#[test]
fn the_linter_has_nothing_to_say_about_examples_and_profiles() {
    for (kind, path) in
        [("job", "examples/jobs.d"), ("profile", "profiles"), ("supervisor", "examples/supervisor.toml")]
    {
        let output = supervisor_command(&["validate", "--format", "github", "--kind", kind, path]);
        let text = text_of(&output);
        // Depends on the machine, which may have one core.
        let said = text.lines().filter(|line| line.starts_with("::") && !line.contains("quota-above-cores"));
        assert!(output.status.success() && said.count() == 0, "{path}:\n{text}");
    }
}

#[test]
fn the_examples_transcode_real_media() {
    if !all_there("the_examples_transcode_real_media", &["ffmpeg", "ffprobe", "gst-launch-1.0"], &[]) {
        return;
    }
    let stage = Stage::new();
    let media = stage.folder("media");
    let clip = [
        "-f",
        "lavfi",
        "-i",
        "testsrc2=size=320x240:rate=25:duration=2",
        "-f",
        "lavfi",
        "-i",
        "sine=duration=2",
    ];
    for (name, codecs) in [
        ("input.mp4", ["-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac"]),
        ("4k_input.mp4", ["-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac"]),
        ("old_video.avi", ["-c:v", "mpeg4", "-q:v", "5", "-c:a", "libmp3lame"]),
        ("podcast.wav", ["-vn", "-map", "1:a", "-c:a", "pcm_s16le", "-y"]),
    ] {
        ffmpeg(&[clip.as_slice(), codecs.as_slice(), &[&path_text(&media.join(name))]].concat());
    }
    let cases = [
        ("transcode-h264", "output-h264.mp4", "h264"),
        ("transcode-h265", "4k_output-h265.mp4", "hevc"),
        ("batch-low-priority", "new_video.mp4", "h264"),
        ("gstreamer-pipeline", "output-gst.mp4", "h264"),
        ("audio-only", "podcast.opus", "opus"),
    ];
    for (job, _, _) in cases {
        stage.declare(job, &example(job).replace("/srv/media", &path_text(&media)));
    }
    for (job, file, codec) in cases {
        let report = stage.await_report(job, 120, |report| report["ended_at"].is_string());
        assert_eq!(
            (&report["state"], &report["exit_code"], &report["exit_reason"], &report["platform_sla"]),
            (&"completed".into(), &0.into(), &"success".into(), &true.into()),
            "{job}: {report:#}"
        );
        let (found, seconds) = probe(&media.join(file));
        assert!(found.contains(codec) && (1.8..2.3).contains(&seconds), "{file}: {found}, {seconds} s");
    }
    let report = stage.report("batch-low-priority").expect("it ran");
    assert_eq!(report["intent"], "test");
    let nice = constraint(&report, "nice");
    assert_eq!((&nice["applied"], &nice["actual"]), (&true.into(), &"10".into()), "{report:#}");
    let memory = constraint(&report, "memory_limit");
    assert_eq!(memory["requested"], "1GiB");
    assert!(
        memory["applied"] == true || memory["reason"].is_string(),
        "not applied, and no reason: {memory}"
    );
}

#[test]
fn the_nvenc_example_encodes() {
    let test = "the_nvenc_example_encodes";
    if !all_there(test, &["ffmpeg", "ffprobe"], &[]) {
        return;
    }
    let stage = Stage::new();
    let (media, declared) = nvenc_example(&stage);
    // Asked of ffmpeg itself: a GPU can be there and have no encoder, as data-centre GPUs do.
    let source = ["-f", "lavfi", "-i", "testsrc2=size=320x240:duration=0.2"];
    let probe_run = ffmpeg_output(&[source.as_slice(), &["-c:v", "h264_nvenc", "-f", "null", "-"]].concat());
    if !probe_run.status.success() {
        let said = text_of(&probe_run);
        return skipped(test, &format!("no NVENC encoder here: {}", said.lines().next().unwrap_or("?")));
    }
    stage.declare("transcode-nvenc", &declared);
    let report = stage.await_report("transcode-nvenc", 60, |report| report["ended_at"].is_string());
    assert_eq!(report["state"], "completed", "{report:#}");
    assert!(probe(&media.join("output-nvenc.mp4")).0.contains("h264"));
}

/// Without a GPU it fails, and says so: the workload's failure, not the platform's, with another try ahead.
#[test]
fn the_nvenc_example_says_that_there_is_no_gpu() {
    if !all_there("the_nvenc_example_says_that_there_is_no_gpu", &["ffmpeg"], &[]) {
        return;
    }
    let stage = Stage::new();
    let (_, declared) = nvenc_example(&stage);
    // So that no machine has one (CUDA's own way of hiding them).
    let hidden = declared.replace("CUDA_VISIBLE_DEVICES = \"0\"", "CUDA_VISIBLE_DEVICES = \"-1\"");
    assert_ne!(hidden, declared);
    stage.declare("transcode-nvenc", &hidden);
    let report = stage.await_report("transcode-nvenc", 60, |report| report["ended_at"].is_string());
    let code = report["exit_code"].as_i64().expect("ffmpeg ends by itself");
    assert_ne!(code, 0);
    assert_eq!(
        (&report["state"], &report["exit_reason"], &report["platform_sla"], &report["platform_sla_reason"]),
        (&"failed".into(), &"error".into(), &true.into(), &"workload_failed".into()),
        "{report:#}"
    );
    stage.await_report("transcode-nvenc", 10, |report| report["next_start_at"].is_string());
}

/// The example on a clip of its own: where that lies, and the job file.
fn nvenc_example(stage: &Stage) -> (PathBuf, String) {
    let media = stage.folder("media");
    let input = path_text(&media.join("input.mp4"));
    ffmpeg(&["-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25:duration=2", "-c:v", "libx264", &input]);
    let declared = example("transcode-nvenc").replace("/srv/media", &path_text(&media));
    (media, declared)
}

/// A channel's day: on air; edited while on air; killed, and back by itself; its source gone, and back;
/// changed for good; taken off the air. Beside it, the template's channels, undisturbed.
#[test]
fn live_channels_stay_on_air() {
    if !all_there("live_channels_stay_on_air", &["ffmpeg", "nginx"], &[rtmp::MODULE]) {
        return;
    }
    let stage = Stage::new();
    let server = RtmpServer::start(&stage.folder("nginx"));
    let streams = ["stream", "news", "sport"];
    let publisher = server.publish(&streams);
    let hls = stage.folder("hls");
    for channel in ["news", "sport"] {
        fs::create_dir(hls.join(channel)).expect("folder");
    }
    let place = |text: &str| {
        text.replace("/var/www/hls", &path_text(&hls))
            .replace("127.0.0.1", &format!("127.0.0.1:{}", server.port))
    };
    let declared = place(&example("live-rtmp-hls"));
    stage.declare("live-rtmp-hls", &declared);
    stage.declare("channel", &place(&example("channel")));

    let playlists = [hls.join("stream.m3u8"), hls.join("news/index.m3u8"), hls.join("sport/index.m3u8")];
    for playlist in &playlists {
        let first = stage.poll(40, "the playlist appears", || newest(playlist));
        stage.poll(20, "the playlist advances", || newest(playlist).filter(|now| *now > first));
    }
    let running = stage.await_report("live-rtmp-hls", 5, |report| report["state"] == "running");
    let bystander = stage.report("channel@news").expect("it runs");
    assert_eq!(bystander["tags"]["channel"], "news");

    // Edited in place: same process, same run.
    stage.declare("live-rtmp-hls", &format!("{declared}\n[constraints]\nnice = 7\n"));
    let pid = pid_of(&running);
    stage.poll(10, "every thread has the new nice value", || {
        nice_of_threads(pid).iter().all(|n| *n == 7).then_some(())
    });
    let edited = stage.await_report("live-rtmp-hls", 5, |report| constraint(report, "nice")["actual"] == "7");
    assert_eq!((&edited["pid"], &edited["run_id"]), (&running["pid"], &running["run_id"]));

    // Killed: back by itself after the pause, and players see one continuous playlist.
    let before = newest(&playlists[0]).expect("on air");
    kill(pid, Signal::SIGKILL).expect("kill");
    let back = stage.await_report("live-rtmp-hls", 20, |report| {
        report["state"] == "running" && report["run_id"] != running["run_id"]
    });
    assert_eq!(back["restarts"], 1, "{back:#}");
    let ended = stage.history("live-rtmp-hls", &running);
    assert_eq!(
        (&ended["state"], &ended["signal"], &ended["exit_code"], &ended["platform_sla"]),
        (&"killed".into(), &"SIGKILL".into(), &Value::Null, &true.into()),
        "{ended:#}"
    );
    stage.poll(30, "the playlist goes on where it was", || newest(&playlists[0]).filter(|now| *now > before));

    // The source goes away: ffmpeg ends with exit code 0, which is no success for a channel.
    drop(publisher);
    let ended = stage.poll(30, "the exit is reported", || {
        Some(stage.history("live-rtmp-hls", &back)).filter(|report| report["ended_at"].is_string())
    });
    assert_eq!((&ended["state"], &ended["exit_reason"]), (&"failed".into(), &"error".into()), "{ended:#}");
    let before = newest(&playlists[0]).expect("the playlist stays");
    let _publisher = server.publish(&streams);
    stage.poll(60, "on air again", || newest(&playlists[0]).filter(|now| *now > before));

    // An edit of the command is a restart, at once and of this job only.
    let running = stage.await_report("live-rtmp-hls", 20, |report| report["state"] == "running");
    let bystander = stage.await_report("channel@news", 40, |report| report["state"] == "running");
    stage.declare(
        "live-rtmp-hls",
        &declared.replace("\"-hls_list_size\", \"10\"", "\"-hls_list_size\", \"6\""),
    );
    let changed = stage.await_report("live-rtmp-hls", 20, |report| {
        report["state"] == "running" && report["run_id"] != running["run_id"]
    });
    assert!(changed["command"].as_array().expect("list").contains(&"6".into()));
    let ended = stage.history("live-rtmp-hls", &running);
    assert_eq!(ended["platform_sla_reason"], "stopped_on_request", "{ended:#}");
    assert_eq!(stage.report("channel@news").expect("report")["run_id"], bystander["run_id"]);

    // Taken off the air.
    stage.remove("live-rtmp-hls");
    let pid = pid_of(&changed);
    stage.poll(20, "the process is gone", || (!alive(pid)).then_some(()));
    stage.await_report("live-rtmp-hls", 5, |report| report["platform_sla_reason"] == "stopped_on_request");
    let text = fs::read_to_string(&playlists[0]).expect("playlist");
    assert!(!text.contains("#EXT-X-ENDLIST"), "players would take the channel for over:\n{text}");
}

// ---- what the tests stand on ----

/// A root of its own with a supervisor at work in it. Leaves nothing behind.
struct Stage {
    root: TempDir,
    supervisor: Child,
}

impl Stage {
    fn new() -> Self {
        let root = tempfile::tempdir().expect("tempdir");
        for folder in ["jobs.d", "profiles.d"] {
            fs::create_dir(root.path().join(folder)).expect("folder");
        }
        let log = File::create(root.path().join("supervisor.log")).expect("log");
        let supervisor = Command::new(env!("CARGO_BIN_EXE_ffrtmp-sup"))
            .arg("--root")
            .arg(root.path())
            .args(["supervise", "--wrapper", env!("CARGO_BIN_EXE_ffrtmp")])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("log"))
            .stderr(log)
            .spawn()
            .expect("ffrtmp-sup starts");
        Self { root, supervisor }
    }

    fn folder(&self, name: &str) -> PathBuf {
        let folder = self.root.path().join(name);
        fs::create_dir(&folder).expect("folder");
        folder
    }

    /// Puts a job file in force: written elsewhere, then renamed into place.
    fn declare(&self, job: &str, text: &str) {
        let draft = self.root.path().join("draft");
        fs::write(&draft, text).expect("write");
        fs::rename(draft, self.job_file(job)).expect("rename");
    }

    fn remove(&self, job: &str) {
        fs::remove_file(self.job_file(job)).expect("remove");
    }

    fn job_file(&self, job: &str) -> PathBuf {
        self.root.path().join(format!("jobs.d/{job}.toml"))
    }

    fn report(&self, job: &str) -> Option<Value> {
        read_json(&self.root.path().join(format!("state/reports/{job}.json")))
    }

    /// The report of one run, in the history if it is there, else null.
    fn history(&self, job: &str, run: &Value) -> Value {
        let run = run["run_id"].as_str().expect("a run");
        read_json(&self.root.path().join(format!("state/reports/history/{job}/{run}.json")))
            .unwrap_or_default()
    }

    fn await_report(&self, job: &str, seconds: u64, fits: impl Fn(&Value) -> bool) -> Value {
        self.poll(seconds, &format!("the report of {job}"), || self.report(job).filter(&fits))
    }

    /// Looks again and again until there is something, or tells all that is known.
    fn poll<T>(&self, seconds: u64, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(Instant::now() < deadline, "not within {seconds} s: {what}\n{}", self.all_there_is());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn all_there_is(&self) -> String {
        let mut text = String::new();
        for folder in ["", "state/reports", "state/logs"] {
            for path in files_of(&self.root.path().join(folder)) {
                let content = fs::read_to_string(&path).unwrap_or_default();
                let tail: Vec<&str> = content.lines().rev().take(60).collect();
                let tail: Vec<&str> = tail.into_iter().rev().collect();
                text += &format!("---- {}\n{}\n", path.display(), tail.join("\n"));
            }
        }
        text
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let root = self.root.path();
        for file in files_of(&root.join("jobs.d")) {
            let _ = fs::remove_file(file);
        }
        let reports =
            || files_of(&root.join("state/reports")).into_iter().filter_map(|path| read_json(&path));
        let deadline = Instant::now() + Duration::from_secs(20);
        let runs = |report: &Value| report["state"] == "running" || report["state"] == "starting";
        while reports().any(|report| runs(&report))
            && matches!(self.supervisor.try_wait(), Ok(None))
            && Instant::now() < deadline
        {
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = kill(Pid::from_raw(self.supervisor.id().cast_signed()), Signal::SIGTERM);
        let _ = self.supervisor.wait();
        // For a supervisor that failed: only processes that name our folder.
        for report in reports().filter(runs) {
            let pid = report["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).unwrap_or(0);
            let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            if pid > 1 && String::from_utf8_lossy(&command).contains(&path_text(root)) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }
}

fn supervisor_command(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ffrtmp-sup"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("ffrtmp-sup runs")
}

fn text_of(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn example(job: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("examples/jobs.d/{job}.toml"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn ffmpeg_output(arguments: &[&str]) -> Output {
    Command::new("ffmpeg")
        .args(["-nostdin", "-loglevel", "error"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("ffmpeg runs")
}

fn ffmpeg(arguments: &[&str]) {
    let output = ffmpeg_output(arguments);
    assert!(output.status.success(), "ffmpeg {arguments:?}\n{}", text_of(&output));
}

/// The codecs in a file and its length in seconds, as ffprobe reads them.
fn probe(file: &Path) -> (String, f64) {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-show_entries", "stream=codec_name:format=duration", "-of", "json"])
        .arg(file)
        .output()
        .expect("ffprobe runs");
    assert!(output.status.success(), "{}: {}", file.display(), text_of(&output));
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let seconds = found["format"]["duration"].as_str().and_then(|text| text.parse().ok()).unwrap_or(0.0);
    (found["streams"].to_string(), seconds)
}

/// The number of the playlist's newest segment since the channel began; `None` without a segment.
fn newest(playlist: &Path) -> Option<u64> {
    let text = fs::read_to_string(playlist).ok()?;
    let first: u64 =
        text.lines().find_map(|line| line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:"))?.parse().ok()?;
    let segments = text.lines().filter(|line| line.ends_with(".ts")).count() as u64;
    (segments > 0).then(|| first + segments)
}

fn constraint(report: &Value, name: &str) -> Value {
    let list = report["constraints"].as_array().cloned().unwrap_or_default();
    list.into_iter().find(|entry| entry["name"] == name).unwrap_or_default()
}

fn pid_of(report: &Value) -> Pid {
    let pid = report["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
    Pid::from_raw(pid.unwrap_or_else(|| panic!("no pid in {report:#}")))
}

fn alive(pid: Pid) -> bool {
    kill(pid, None).is_ok()
}

/// Field 19 of every thread's stat (proc_pid_stat(5)).
fn nice_of_threads(pid: Pid) -> Vec<i64> {
    fs::read_dir(format!("/proc/{pid}/task"))
        .expect("the process lives")
        .filter_map(|task| fs::read_to_string(task.ok()?.path().join("stat")).ok())
        .filter_map(|stat| stat.rsplit_once(')')?.1.split_whitespace().nth(16)?.parse().ok())
        .collect()
}

fn read_json(path: &Path) -> Option<Value> {
    serde_json::from_str(&fs::read_to_string(path).ok()?).ok()
}

fn files_of(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect()
}

fn path_text(path: &Path) -> String {
    path.to_str().expect("UTF-8").to_owned()
}

fn search_path() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}

/// Whether a test can run here; says so where it cannot.
fn all_there(test: &str, programs: &[&str], files: &[&str]) -> bool {
    let path = search_path();
    let missing = programs
        .iter()
        .filter(|program| !path.split(':').any(|folder| Path::new(folder).join(program).is_file()))
        .chain(files.iter().filter(|file| !Path::new(file).exists()))
        .next();
    if let Some(missing) = missing {
        skipped(test, &format!("no {missing} here; scripts/setup test installs it"));
    }
    missing.is_none()
}

/// Says so past the harness, which hides what a test prints, and on a line of its own.
fn skipped(test: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "\nSKIPPED {test}: {why}");
}
