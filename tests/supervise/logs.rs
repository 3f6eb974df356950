//! Logs of jobs: their bounds, which are edited while they are written, their older pieces, and where runs begin.

use std::fs;
use std::path::{Path, PathBuf};

use ffrtmp::logs::pieces::{packed, plain};
use ffrtmp::model::signal::Signal;

use crate::harness::{Site, await_true, is_mark, names, shell};

/// A script with keys of `[exec]`.
fn script(exec: &str, script: &str) -> String {
    shell("", script) + exec + "\n"
}

/// Prints so many lines, and lives on.
fn prints(lines: usize, exec: &str) -> String {
    script(exec, &format!("seq -f \"line %07.0f\" 1 {lines}; echo all; sleep 1000"))
}

fn log_of(site: &Site, job: &str) -> PathBuf {
    site.path("state/logs").join(format!("{job}.log"))
}

/// A piece in whichever form it is.
fn piece(log: &Path, n: usize) -> Option<Vec<u8>> {
    let packed = fs::read(packed(log, n)).ok().map(|bytes| zstd::decode_all(&bytes[..]).expect("whole"));
    packed.or_else(|| fs::read(plain(log, n)).ok())
}

/// Everything that is kept, from the oldest piece to the log itself, without marks.
fn all(log: &Path) -> String {
    let pieces = (1..20).rev().filter_map(|n| piece(log, n));
    let bytes = pieces.chain([fs::read(log).expect("a log")]).flatten();
    // Where the head's blocks were given back, there is a hole.
    let text = String::from_utf8(bytes.filter(|byte| *byte != 0).collect()).expect("text");
    text.split_inclusive('\n').filter(|line| !is_mark(line)).collect()
}

fn lines(lines: usize) -> String {
    (1..=lines).map(|n| format!("line {n:07}\n")).collect::<String>() + "all\n"
}

#[test]
fn the_bounds_of_a_log_are_edited_in_place_and_hold_at_once() {
    let site = Site::started();
    site.put_profile("small", "");
    let with = |keys: &str| "profiles = [\"small\"]\n".to_owned() + &prints(20_000, keys);
    site.put("job", &with(""));
    let live = site.running("job");
    let log = log_of(&site, "job");
    await_true("it has printed all", || all(&log).ends_with("all\n"));
    assert!(all(&log) == lines(20_000) && piece(&log, 1).is_none(), "less than 64MiB");

    site.put_profile("small", "[exec.log]\nmax_size = \"64KiB\"\nkeep = 9\n");
    await_true("a bound that is lower now", || site.said("job.log: rotated") > 0 && piece(&log, 3).is_some());
    assert!(all(&log) == lines(20_000), "every line is there once");
    let event = "changed in place: exec.log unset -> max_size=64KiB keep=9";
    site.await_event("job", event);

    let before = [1, 2].map(|n| piece(&log, n).expect("a piece"));
    let others = ["job.log.20260101", "job.log.x"].map(|name| log.with_file_name(name));
    others.iter().for_each(|path| fs::write(path, "of somebody else").expect("written"));
    site.put("job", &with("log.keep = 2"));
    await_true("older pieces go", || piece(&log, 3).is_none() && piece(&log, 4).is_none());
    assert!([1, 2].map(|n| piece(&log, n).expect("a piece")) == before, "those that are kept stay");

    site.put("job", &with("log = { keep = 2, compress = true }"));
    await_true("they are compressed", || {
        [1, 2].iter().all(|n| packed(&log, *n).exists() && !plain(&log, *n).exists())
    });
    assert!([1, 2].map(|n| piece(&log, n).expect("a piece")) == before, "no byte is lost");
    let small = fs::metadata(packed(&log, 1)).expect("there").len();
    assert!(small < 65_536 / 2, "{small}");
    let left = ["job.log", "job.log.1.zst", "job.log.2.zst", "job.log.20260101", "job.log.x"];
    assert_eq!(names(&site.path("state/logs")), left);
    site.assert_untouched("job", &live);
    assert_eq!(site.runs("job"), 1);
}

#[test]
fn the_next_supervisor_knows_the_bounds_of_what_runs_and_goes_on_with_its_pieces() {
    let site = Site::new();
    let settings = |keep: u32| format!("[logs]\nmax_size = \"64KiB\"\nkeep = {keep}\n");
    fs::write(site.path("supervisor.toml"), settings(1)).expect("written");
    site.start();
    site.put("own", &prints(20_000, "log.keep = 9"));
    site.put("other", &prints(20_000, ""));
    let (own, other) = (site.running("own"), site.running("other"));
    let [log, plainer] = ["own", "other"].map(|job| log_of(&site, job));
    await_true("its pieces are there", || piece(&log, 3).is_some() && piece(&plainer, 1).is_some());
    await_true("all is printed", || [&log, &plainer].iter().all(|log| all(log).ends_with("all\n")));
    site.term();
    // Of a job that no file declares nothing older goes.
    let gone = log_of(&site, "gone");
    fs::copy(plain(&plainer, 1), plain(&gone, 1)).expect("copied");
    fs::write(&gone, "").expect("written");
    // It was killed while it worked.
    fs::write(packed(&log, 0), "half").expect("written");
    fs::write(site.path("supervisor.toml"), settings(0)).expect("written");
    site.start();
    await_true("what is not kept any more goes", || piece(&plainer, 1).is_none());
    await_true("drafts go", || !packed(&log, 0).exists());
    assert!(piece(&log, 3).is_some() && all(&log) == lines(20_000), "its own bound holds");
    assert!(piece(&gone, 1).is_some());
    site.assert_untouched("own", &own);
    site.assert_untouched("other", &other);
}

#[test]
fn pieces_of_a_flood_are_compressed_while_it_goes_on() {
    let site = Site::started();
    let line = "Non-monotonic DTS; this line comes again and again";
    let keys = "log = { max_size = \"256KiB\", keep = 2, compress = true }";
    site.put("flood", &script(keys, &format!("while :; do echo \"{line}\"; done")));
    let live = site.running("flood");
    let log = log_of(&site, "flood");
    await_true("it is rotated again and again", || site.said("flood.log: rotated") > 5);
    live.signal(Signal::KILL);
    live.await_end();
    let packed_all = || (1..=2).all(|n| packed(&log, n).exists() && !plain(&log, n).exists());
    await_true("all are compressed", || {
        packed_all() && !packed(&log, 0).exists() && !plain(&log, 3).exists()
    });
    for n in 1..=2 {
        let text = String::from_utf8(piece(&log, n).expect("a piece")).expect("text");
        let whole: Vec<&str> = text.lines().filter(|line| !line.starts_with("-- run ")).skip(1).collect();
        let (_, whole) = whole.split_last().expect("lines");
        assert!(whole.iter().all(|found| *found == line), "whole lines, but for the first and the last");
    }
    assert_eq!(site.said("panicked"), 0);
}

#[test]
fn each_run_is_marked_where_it_begins() {
    let site = Site::started();
    site.put("job", &shell("[restart]\npolicy = \"always\"\ndelay = \"10ms\"", "echo hello; sleep 1000"));
    let first = site.running("job");
    site.await_output("job", "hello");
    first.signal(Signal::KILL);
    let second = site.running_anew("job", &first);
    await_true("it has printed", || site.output("job").matches("hello").count() == 2);
    let log = fs::read_to_string(log_of(&site, "job")).expect("a log");
    let found: Vec<&str> = log.split_inclusive('\n').collect();
    assert!(is_mark(found[0]) && found[0].contains(&first.run), "{log}");
    assert!(is_mark(found[2]) && found[2].contains(&second.run), "{log}");
    assert_eq!((found[1], found[3], found.len()), ("hello\n", "hello\n", 4));
}
