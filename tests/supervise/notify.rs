//! What a service manager hears of the supervisor: ready, alive, reloading, leaving, on its socket.

use std::fs::{self, File};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use ffrtmp::model::signal::Signal;

use crate::harness::{DEADLINE, Site, sleeper};

/// The service manager's end.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn of(site: &Site) -> Self {
        let path = site.path("notify");
        Self { socket: UnixDatagram::bind(&path).expect("bound"), path }
    }

    fn path(&self) -> &str {
        self.path.to_str().expect("UTF-8")
    }

    /// The assignments of the next message, if one comes in time.
    fn message_within(&self, limit: Duration) -> Option<Vec<String>> {
        self.socket.set_read_timeout(Some(limit)).expect("set");
        let mut bytes = [0; 4096];
        let length = self.socket.recv(&mut bytes).ok()?;
        let text = std::str::from_utf8(&bytes[..length]).expect("UTF-8");
        Some(text.lines().map(str::to_owned).collect())
    }

    fn message(&self) -> Vec<String> {
        self.message_within(DEADLINE).expect("a message in time")
    }

    /// The next message that holds this assignment.
    fn message_with(&self, assignment: &str) -> Vec<String> {
        let begin = Instant::now();
        loop {
            let message = self.message();
            if message.iter().any(|line| line == assignment) {
                return message;
            }
            assert!(begin.elapsed() < DEADLINE, "waited in vain for {assignment}");
        }
    }
}

#[test]
fn ready_is_said_once_what_is_declared_was_started() {
    let site = Site::new();
    let manager = Manager::of(&site);
    for job in ["one", "two"] {
        site.put(job, &sleeper(""));
        // A file that may still be being written is not obeyed at the first look.
        let file = File::options().append(true).open(site.job_file(job)).expect("opened");
        file.set_modified(SystemTime::now() - Duration::from_secs(60)).expect("set");
    }
    site.start_with_env(&[("NOTIFY_SOCKET", manager.path())]);
    assert_eq!(manager.message(), ["READY=1", "STATUS=2 jobs running"], "the first word");
    // What is left to wait for is only what the wrappers do.
    assert_eq!((site.runs("one"), site.runs("two")), (1, 1));
    let two = site.running("two");
    site.remove("two");
    assert_eq!(manager.message(), ["STATUS=1 job running"]);
    two.await_end();

    // The same, where the job is not started but found.
    let one = site.running("one");
    site.kill();
    site.start_with_env(&[("NOTIFY_SOCKET", manager.path())]);
    assert_eq!(manager.message(), ["READY=1", "STATUS=1 job running"]);
    site.assert_untouched("one", &one);
}

#[test]
fn a_reload_is_over_when_its_plan_was_executed() {
    let site = Site::new();
    let manager = Manager::of(&site);
    site.put("job", &sleeper("description = \"%n\""));
    site.start_with_env(&[("NOTIFY_SOCKET", manager.path())]);
    manager.message_with("READY=1");
    site.signal_supervisor(Signal::from_number(libc::SIGHUP).expect("a signal"));
    let reloading = manager.message_with("RELOADING=1");
    let since = reloading.iter().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
    let since: u128 = since.expect("Type=notify-reload needs it").parse().expect("a number");
    let uptime = fs::read_to_string("/proc/uptime").expect("proc");
    let uptime: f64 = uptime.split(' ').next().expect("seconds").parse().expect("a number");
    assert!(since.abs_diff((uptime * 1e6) as u128) < DEADLINE.as_micros(), "{since} is not now");
    assert!(!reloading.contains(&"READY=1".to_owned()));
    assert_eq!(manager.message_with("READY=1"), ["READY=1"]);
}

#[test]
fn leaving_is_said() {
    let site = Site::new();
    let manager = Manager::of(&site);
    site.put("job", &sleeper(""));
    site.start_with_env(&[("NOTIFY_SOCKET", manager.path())]);
    manager.message_with("READY=1");
    site.running("job");
    site.term();
    assert_eq!(manager.message_with("STOPPING=1"), ["STOPPING=1", "STATUS=leaving, 1 job left running"]);
    assert_eq!(manager.message_within(Duration::from_millis(1)), None, "nothing after that");
}

#[test]
fn the_loop_feeds_the_watchdog_and_nothing_else_does() {
    let site = Site::new();
    let manager = Manager::of(&site);
    let limit = Duration::from_millis(400);
    let begin = Instant::now();
    site.start_with_env(&[("NOTIFY_SOCKET", manager.path()), ("WATCHDOG_USEC", "400000")]);
    manager.message_with("WATCHDOG=1");
    for _ in 0..4 {
        assert_eq!(manager.message(), ["WATCHDOG=1"]);
    }
    // No sooner than at half of the limit, from its beginning on.
    assert!(begin.elapsed() >= limit / 2 * 4, "fed too often: 5 times in {:?}", begin.elapsed());
    site.signal_supervisor(Signal::from_number(libc::SIGSTOP).expect("a signal"));
    while manager.message_within(limit).is_some() {}
    site.signal_supervisor(Signal::from_number(libc::SIGCONT).expect("a signal"));
    manager.message_with("WATCHDOG=1");
}

#[test]
fn a_watchdog_of_somebody_else_is_not_fed() {
    let site = Site::new();
    let manager = Manager::of(&site);
    site.start_with_env(&[
        ("NOTIFY_SOCKET", manager.path()),
        ("WATCHDOG_USEC", "20000"),
        ("WATCHDOG_PID", "1"),
    ]);
    assert_eq!(manager.message(), ["READY=1", "STATUS=0 jobs running"]);
    assert_eq!(manager.message_within(Duration::from_millis(200)), None);
}

#[test]
fn a_manager_that_does_not_listen_stops_nothing() {
    let site = Site::new();
    site.put("job", &sleeper(""));
    let nowhere = site.path("nowhere");
    let path = nowhere.to_str().expect("UTF-8");
    site.start_with_env(&[("NOTIFY_SOCKET", path), ("WATCHDOG_USEC", "20000")]);
    site.running("job");
    site.settle();
    assert_eq!(site.said("cannot tell the service manager"), 1, "{}", site.log());
}

#[test]
fn neither_workload_nor_wrapper_can_speak_for_the_supervisor() {
    let site = Site::new();
    let manager = Manager::of(&site);
    site.put("job", &sleeper(""));
    site.start_with_env(&[("NOTIFY_SOCKET", manager.path()), ("WATCHDOG_USEC", "60000000")]);
    let live = site.running("job");
    for pid in [live.pid(), site.wrapper("job", &live).pid.as_raw().unsigned_abs()] {
        let environment = fs::read(format!("/proc/{pid}/environ")).expect("proc");
        let environment = String::from_utf8_lossy(&environment);
        assert!(!environment.contains("NOTIFY_SOCKET") && !environment.contains("WATCHDOG"), "{environment}");
    }
}

#[test]
fn an_upgrade_is_a_reload_of_the_same_main_process() {
    let site = Site::new();
    let manager = Manager::of(&site);
    site.put("job", &sleeper(""));
    let env = [("NOTIFY_SOCKET", manager.path()), ("WATCHDOG_USEC", "400000")];
    let pid = site.start_with_env(&env);
    manager.message_with("READY=1");
    let live = site.running("job");
    site.signal_supervisor(Signal::from_number(libc::SIGUSR2).expect("a signal"));
    manager.message_with("RELOADING=1");
    let ready = manager.message_with("READY=1");
    assert!(ready.contains(&"STATUS=1 job running".to_owned()), "{ready:?}");
    // It stays the main process, and the watchdog is fed by the new program.
    assert_eq!(site.supervisor_pid(), pid);
    manager.message_with("WATCHDOG=1");
    manager.message_with("WATCHDOG=1");
    site.assert_untouched("job", &live);
}
