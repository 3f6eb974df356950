//! Free space: what the state's file system keeps in reserve, and what jobs need before they start.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use super::faults::with_disk;
use super::harness::{Site, names, shell, sleeper};
use super::wait::await_true;

const MIB: usize = 1 << 20;

fn fill(path: &Path, mib: usize) {
    fs::write(path, vec![b'x'; mib * MIB]).expect("written");
}

/// An older piece of a log, as the supervisor makes them.
fn piece(path: &Path, age: Duration) {
    fs::write(path, vec![b'x'; MIB]).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("changed");
    let file = fs::File::options().write(true).open(path).expect("there");
    file.set_modified(SystemTime::now() - age).expect("set");
}

fn note(site: &Site, job: &str) -> String {
    site.status(job)["note"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn below_the_reserve_oneshots_wait_and_old_pieces_of_logs_go() {
    with_disk("below_the_reserve", "size=32m", |site, state| {
        site.replace(&site.path("supervisor.toml"), "[disk]\nreserve = \"16MiB\"\n");
        let (filler, logs) = (state.join("filler"), state.join("logs"));
        fs::create_dir(&logs).expect("made");
        fs::set_permissions(&logs, fs::Permissions::from_mode(0o700)).expect("changed");
        fs::write(logs.join("live.log"), "").expect("written");
        piece(&logs.join("live.log.1"), Duration::from_secs(60));
        piece(&logs.join("live.log.2"), Duration::from_secs(3600));
        fill(&filler, 22);
        site.start();
        site.put("live", &sleeper("lifecycle = \"continuous\""));
        site.put("once", &shell("", "exit 0"));
        site.running("live");
        site.await_log("less than [disk] reserve (16 MiB): oneshots wait");
        await_true("the pieces are gone", || names(&logs).iter().all(|name| !name.starts_with("live.log.")));
        await_true("status says for what it waits", || {
            note(site, "once").starts_with(&format!("waits for free space on {}: ", state.display()))
        });
        let plan = String::from_utf8(site.run(&["plan"]).stdout).expect("text");
        assert!(plan.contains("for free space on"), "{plan}");
        let table = String::from_utf8(site.run(&["status"]).stdout).expect("text");
        assert!(table.contains("less than [disk] reserve (16 MiB)"), "{table}");
        assert_eq!(site.runs("once"), 0);
        fs::remove_file(&filler).expect("removed");
        site.await_state("once", "completed");
        site.await_log("are free again, [disk] reserve (16 MiB) is kept");
        assert_eq!(site.said("job=once waits") + site.said("waits for free space"), 1, "{}", site.log());
        site.term();
    });
}

#[test]
fn a_job_waits_for_the_space_that_it_needs() {
    with_disk("waits_for_space", "size=32m", |site, state| {
        let filler = state.join("filler");
        fill(&filler, 24);
        site.start();
        let keys = |path: &Path| {
            let path = path.display();
            format!(
                "lifecycle = \"continuous\"\n[[needs]]\nfree = {{ path = \"{path}\", at_least = \"16MiB\" }}"
            )
        };
        let out = site.path("out");
        site.put("full", &sleeper(&keys(state)));
        site.put("missing", &sleeper(&keys(&out)));
        site.await_log("waits for 16 MiB of free space on");
        let words = note(site, "full");
        assert!(
            words.starts_with(&format!("waits for 16 MiB of free space on {} (", state.display())),
            "{words}"
        );
        assert_eq!(note(site, "missing"), format!("waits for {}: No such file or directory", out.display()));
        assert_eq!((site.runs("full"), site.runs("missing")), (0, 0));
        fs::create_dir(&out).expect("made");
        site.running("missing");
        fs::remove_file(&filler).expect("removed");
        let live = site.running("full");
        // An edit of it is in place: what runs has begun.
        site.put("full", &sleeper(&keys(state).replace("16MiB", "1TiB")));
        site.settle();
        site.assert_untouched("full", &live);
        site.term();
    });
}

/// A file system that does not answer: statvfs(3) of a path with "silent" in it returns once a file is there.
const SILENT: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <string.h>
#include <stdlib.h>
#include <unistd.h>
struct statvfs;
static int ask(const char *name, const char *path, struct statvfs *out) {
    int (*real)(const char *, struct statvfs *) = dlsym(RTLD_NEXT, name);
    if (strstr(path, "silent")) while (access(getenv("ANSWERS"), F_OK) != 0) usleep(20000);
    return real(path, out);
}
int statvfs(const char *path, struct statvfs *out) { return ask("statvfs", path, out); }
int statvfs64(const char *path, struct statvfs *out) { return ask("statvfs64", path, out); }
"#;

#[test]
fn a_file_system_that_does_not_answer_holds_up_its_job_alone() {
    let site = Site::new();
    let (source, library, answers) = (site.path("silent.c"), site.path("silent.so"), site.path("answers"));
    fs::write(&source, SILENT).expect("written");
    let arguments = ["-shared", "-fPIC", "-w", "-o"].map(Path::new);
    let made = Command::new("cc").args(arguments).args([&library, &source]).arg("-ldl").output();
    if !made.is_ok_and(|made| made.status.success()) {
        return println!("SKIPPED a_file_system_that_does_not_answer: no C compiler here");
    }
    let nas = site.path("silent-nas");
    fs::create_dir(&nas).expect("made");
    let [library, file] = [&library, &answers].map(|path| path.to_str().expect("UTF-8"));
    site.start_with_env(&[("LD_PRELOAD", library), ("ANSWERS", file)]);
    let need = format!("[[needs]]\nfree = {{ path = \"{}\", at_least = \"1MiB\" }}", nas.display());
    site.put("waits", &sleeper(&need));
    site.put("other", &sleeper(""));
    site.running("other");
    site.await_log(&format!("waits for {} (no answer for ", nas.display()));
    assert_eq!(site.runs("waits"), 0);
    site.put("another", &sleeper(""));
    site.running("another");
    fs::write(&answers, "").expect("written");
    site.running("waits");
    site.term();
}
