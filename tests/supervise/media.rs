//! Stops of real media: what ffmpeg was writing can be read afterwards, and one that is blocked goes.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Site, events};
use crate::wait::await_within;

/// Forty encoders begin at once, beside all other tests.
const PATIENCE: Duration = Duration::from_secs(120);

/// Whether the programs are here.
fn ffmpeg_is_here(test: &str) -> bool {
    let runs = |program: &str| {
        Command::new(program).arg("-version").stdout(Stdio::null()).status().is_ok_and(|s| s.success())
    };
    let here = runs("ffmpeg") && runs("ffprobe");
    if !here {
        println!("SKIPPED {test}: no ffmpeg and ffprobe here");
    }
    here
}

/// A job file of an ffmpeg command.
fn job(keys: &str, arguments: &str) -> String {
    let words = format!("ffmpeg -nostdin -v error -y {arguments}");
    let words: Vec<&str> = words.split_whitespace().collect();
    format!("{keys}\n[exec]\ncommand = {words:?}\n")
}

fn signals(report: &Value) -> usize {
    events(report).iter().filter(|text| text.contains("sent to pid")).count()
}

/// What ffprobe prints of a file, all packets of which it reads; nothing may be wrong with any.
fn probe(path: &Path) -> String {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-count_packets", "-of", "csv=p=0"])
        .args(["-show_entries", "stream=nb_read_packets:format=duration"])
        .arg(path)
        .stdin(Stdio::null())
        .output()
        .expect("ffprobe runs");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaints.is_empty(), "{}: {complaints}", path.display());
    String::from_utf8(output.stdout).expect("text")
}

/// Twenty encodes into files and twenty channels, stopped while they write: one signal each, and every
/// output is whole. Two signals to a healthy ffmpeg would leave hardly one.
#[test]
fn stopped_encodes_leave_readable_outputs() {
    const EACH: usize = 20;
    if !ffmpeg_is_here("stopped_encodes_leave_readable_outputs") {
        return;
    }
    let site = Site::started();
    let out = site.path("out");
    fs::create_dir(&out).expect("made");
    let out_text = out.to_str().expect("a path");
    let video = "-re -f lavfi -i testsrc=size=96x64:rate=10 -c:v libx264 -preset ultrafast -threads 1 -g 4";
    let patient = "[stop]\ntimeout = \"60s\"\n";
    let declare = |from: usize| {
        let instances: Vec<String> = (from..EACH).map(|n| n.to_string()).collect();
        let keys = format!("instances = {instances:?}");
        site.put("mp4", &(job(&keys, &format!("{video} {out_text}/%i.mp4")) + patient));
        let hls = format!("-f hls -hls_time 0.4 -hls_list_size 0 -hls_segment_filename {out_text}/%i-%d.ts");
        site.put("hls", &(job(&keys, &format!("{video} {hls} {out_text}/%i.m3u8")) + patient));
    };
    declare(0);
    let text = |n: usize, end: &str| fs::read_to_string(out.join(format!("{n}.{end}"))).unwrap_or_default();
    let mut runs = Vec::new();
    for n in 0..EACH {
        await_within(PATIENCE, "a channel has segments, and a file its beginning", || {
            let segments = text(n, "m3u8").matches("#EXTINF").count();
            (segments > 1 && out.join(format!("{n}.mp4")).exists()).then_some(())
        });
        for kind in ["mp4", "hls"] {
            let job = format!("{kind}@{n}");
            runs.push((site.running(&job), job));
        }
    }
    // In groups, so that they are stopped at several instants of what they do; the last entry cannot go.
    for from in [4, 8, 12, 16, EACH - 1] {
        declare(from);
        thread::sleep(Duration::from_millis(130));
    }
    site.put("mp4", &job("enabled = false", "-version"));
    site.put("hls", &job("enabled = false", "-version"));
    // A template that is none any more has lost its instances, which has to be sure first.
    for (live, job) in &runs {
        await_within(PATIENCE, "it has ended", || (!live.lives()).then_some(()));
        let report = site.await_history(job, &live.run);
        assert_eq!(
            (&report["exit_code"], &report["platform_sla_reason"], signals(&report)),
            (&255.into(), &"stopped_on_request".into(), 1),
            "{report:#}"
        );
    }
    let check = |n: usize| {
        let said = probe(&out.join(format!("{n}.mp4")));
        let duration: f64 = said.lines().last().and_then(|line| line.parse().ok()).unwrap_or_default();
        assert!(duration > 0.3, "{n}.mp4: {said}");
        let playlist = text(n, "m3u8");
        assert!(playlist.trim_end().ends_with("#EXT-X-ENDLIST"), "{n}.m3u8: {playlist}");
        let segments: Vec<&str> = playlist.lines().filter(|line| line.ends_with(".ts")).collect();
        let sizes = segments.iter().map(|name| fs::metadata(out.join(name)).expect("a listed segment").len());
        assert!(segments.len() > 1 && sizes.min() > Some(0), "{n}.m3u8: {playlist}");
        let said = probe(&out.join(format!("{n}.m3u8")));
        let packets: usize = said.lines().next().and_then(|line| line.parse().ok()).unwrap_or_default();
        // The last one may be short.
        assert!(packets > (segments.len() - 1) * 4, "{n}.m3u8: {packets} packets: {playlist}");
    };
    thread::scope(|scope| {
        // A check that fails fails the scope.
        for mut half in [0..EACH / 2, EACH / 2..EACH] {
            let check = &check;
            scope.spawn(move || half.by_ref().for_each(check));
        }
    });
}

/// A source that accepts, sends this much, and then neither sends nor closes until the sender is dropped.
fn stalling_source(bytes: Vec<u8>) -> (u16, mpsc::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = listener.local_addr().expect("bound").port();
    let (end, ended) = mpsc::channel();
    thread::spawn(move || {
        if let Ok((mut stream, _)) = listener.accept() {
            let _ = stream.write_all(&bytes);
            let _ = ended.recv();
        }
    });
    (port, end)
}

#[test]
fn ffmpeg_that_is_blocked_in_a_network_read_is_ended_by_its_second_signal() {
    if !ffmpeg_is_here("ffmpeg_that_is_blocked_in_a_network_read_is_ended_by_its_second_signal") {
        return;
    }
    let clip = "-nostdin -v error -f lavfi -i testsrc=size=128x96:rate=25:duration=4 -c:v libx264 \
                -preset ultrafast -g 10 -f mpegts -";
    let clip = Command::new("ffmpeg").args(clip.split_whitespace()).output().expect("ffmpeg runs").stdout;
    assert!(clip.len() > 10_000);
    let site = Site::started();
    let output = site.path("out.ts");
    // One has begun to read; the other never gets that far, and gives up at its first signal.
    let (stalled, _source) = stalling_source(clip);
    let (silent, _another) = stalling_source(Vec::new());
    let text = |port: u16, keys: &str| {
        let input = format!("-probesize 32768 -analyzeduration 500000 -i tcp://127.0.0.1:{port}");
        let output = output.display();
        job(
            keys,
            &format!("{input} -c:v libx264 -preset ultrafast -tune zerolatency -flush_packets 1 {output}"),
        ) + "[stop]\ntimeout = \"24s\"\n"
    };
    site.put("stalled", &text(stalled, ""));
    site.put("silent", &text(silent, ""));
    let live = site.running("stalled");
    let waiting = site.running("silent");
    let size = || fs::metadata(&output).map_or(0, |meta| meta.len());
    await_within(PATIENCE, "it has read all there is", || {
        let before = size();
        thread::sleep(Duration::from_secs(2));
        (before > 0 && before == size()).then_some(())
    });
    site.put("stalled", &text(stalled, "enabled = false"));
    site.put("silent", &text(silent, "enabled = false"));
    live.await_end();
    let report = site.await_history("stalled", &live.run);
    assert_eq!((&report["exit_code"], signals(&report)), (&255.into(), 2), "{report:#}");
    assert_eq!((&report["state"], &report["exit_reason"]), (&"completed".into(), &"success".into()));
    let said = events(&report).join("\n");
    assert!(said.contains("a second time: no CPU time used and nothing written for"), "{said}");
    assert!(!said.contains("SIGKILL"), "{said}");
    waiting.await_end();
    assert_eq!(signals(&site.await_history("silent", &waiting.run)), 1);
}
