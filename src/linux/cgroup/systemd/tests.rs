//! Against a manager that is played: over its own socket, and over a real bus where dbus-daemon is there.

use std::io::{BufRead, BufReader};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, UnixAddr};
use tempfile::TempDir;
use zbus::message::{Header, Type};
use zbus::zvariant::ObjectPath;

use super::*;

const SCOPE: &str = "ffrtmp.scope";
const CGROUP: &str = "/user.slice/ffrtmp.scope";
const JOB: &str = "/org/freedesktop/systemd1/job/7";
const UNIT: &str = "/org/freedesktop/systemd1/unit/ffrtmp_2escope";

/// How the played manager answers a call to start the scope.
#[derive(Debug, Clone, Copy)]
enum Start {
    Done,
    DoneBeforeTheAnswer,
    Failed,
    Unfinished,
    Denied,
    Exists(&'static str),
}

/// A manager that answers by a script, one entry for each call to start; the last one is repeated.
/// Gives what it was asked.
fn play(mut connection: Connection, script: &[Start]) -> Vec<String> {
    let mut script = script.iter().copied();
    let mut now = Start::Done;
    let mut asked = Vec::new();
    while let Ok(message) = connection.receive() {
        let header = message.header().expect("a header");
        if header.message_type() != Type::MethodCall {
            continue;
        }
        let member = header.member().expect("a method").to_string();
        match member.as_str() {
            "Subscribe" => answer(&mut connection, &header, &()),
            "StartTransientUnit" => {
                assert!(asked.iter().any(|call| call == "Subscribe"), "the signal could be missed");
                let (name, mode, properties, _): Properties = message.body().expect("ssa(sv)a(sa(sv))");
                let properties: Vec<String> =
                    properties.iter().map(|(name, value)| format!("{name}={}", **value)).collect();
                asked.push(format!("start {name} {mode} {}", properties.join(" ")));
                now = script.next().unwrap_or(now);
                start(&mut connection, &header, now);
                continue;
            }
            "GetUnit" => {
                assert_eq!(message.body::<String>().expect("s"), SCOPE);
                answer(&mut connection, &header, &ObjectPath::try_from(UNIT).expect("a path"));
            }
            "AttachProcessesToUnit" => {
                let (name, below, pids): (String, String, Vec<u32>) = message.body().expect("ssau");
                assert_eq!(pids, [std::process::id()]);
                asked.push(format!("attach {name} {below}"));
                answer(&mut connection, &header, &());
                continue;
            }
            "Get" => {
                assert_eq!(header.path().map(|path| path.as_str()), Some(UNIT));
                let (_, property): (String, String) = message.body().expect("ss");
                let state = if let Start::Exists(state) = now { state } else { "active" };
                let value = if property == "ControlGroup" { CGROUP } else { state };
                answer(&mut connection, &header, &Value::from(value));
            }
            other => panic!("{other} is not expected"),
        }
        asked.push(member);
    }
    asked
}

type Properties = (String, String, Vec<(String, OwnedValue)>, Vec<(String, Vec<(String, OwnedValue)>)>);

fn start(connection: &mut Connection, call: &Header<'_>, how: Start) {
    let job = ObjectPath::try_from(JOB).expect("a path");
    let refuse = |connection: &mut Connection, name: &str| {
        let error = zbus::Message::error(call, name).and_then(|error| error.build(&"No."));
        connection.send(&error.expect("an error")).expect("sent");
    };
    match how {
        Start::Done => {
            answer(connection, call, &job);
            // Another's first.
            removed(connection, "/org/freedesktop/systemd1/job/6", "failed");
            removed(connection, JOB, "done");
        }
        Start::DoneBeforeTheAnswer => {
            removed(connection, JOB, "done");
            answer(connection, call, &job);
        }
        Start::Failed => {
            answer(connection, call, &job);
            removed(connection, JOB, "failed");
        }
        Start::Unfinished => answer(connection, call, &job),
        Start::Denied => refuse(connection, "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired"),
        Start::Exists(_) => refuse(connection, UNIT_EXISTS),
    }
}

fn answer<B: serde::Serialize + zbus::zvariant::DynamicType>(
    connection: &mut Connection,
    call: &Header<'_>,
    body: &B,
) {
    let message = zbus::Message::method_return(call).and_then(|message| message.build(body));
    connection.send(&message.expect("an answer")).expect("sent");
}

fn removed(connection: &mut Connection, job: &str, result: &str) {
    let body = (7_u32, ObjectPath::try_from(job).expect("a path"), SCOPE, result);
    let signal = zbus::Message::signal(MANAGER.path, MANAGER_INTERFACE, "JobRemoved");
    let signal = signal.and_then(|signal| signal.build(&body)).expect("a signal");
    connection.send(&signal).expect("sent");
}

fn peer(dir: &TempDir, name: &str, is_bus: bool) -> Peer {
    Peer { address: format!("unix:path={}", dir.path().join(name).display()), is_bus }
}

fn soon() -> Instant {
    Instant::now() + LONG
}

/// A manager with a socket of its own; gives what it was asked once its caller has left.
fn manager(dir: &TempDir, script: &'static [Start]) -> (Peer, JoinHandle<Vec<String>>) {
    let listener = UnixListener::bind(dir.path().join("private")).expect("bound");
    let thread = std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("accepted");
        play(Connection::accept(stream, soon()).expect("a client"), script)
    });
    (peer(dir, "private", false), thread)
}

/// What comes of a script, and what the manager was asked.
fn outcome(script: &'static [Start], limit: Duration) -> (Result<String, Unavailable>, Vec<String>) {
    let dir = TempDir::new().expect("a folder");
    let (peer, thread) = manager(&dir, script);
    let result = obtain(&[peer], SCOPE, Uid::from_raw(1000), limit);
    (result, thread.join().expect("no panic"))
}

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(200);

#[test]
fn a_scope_is_asked_for_with_this_process_in_it() {
    let asked = format!(
        "start {SCOPE} fail Description=\"Media workloads of ffrtmp-sup\" Delegate=true PIDs=[uint32 {}] \
         TasksMax=uint64 18446744073709551615 CollectMode=\"inactive-or-failed\"",
        std::process::id()
    );
    for script in [&[Start::Done], &[Start::DoneBeforeTheAnswer]] {
        let (result, calls) = outcome(script, LONG);
        assert_eq!(result.as_deref(), Ok(CGROUP));
        assert_eq!(calls, ["Subscribe", &asked, "GetUnit", "Get"]);
    }
}

#[test]
fn a_scope_that_jobs_of_an_earlier_supervisor_keep_is_entered() {
    let (result, calls) = outcome(&[Start::Exists("active")], LONG);
    assert_eq!(result.as_deref(), Ok(CGROUP));
    assert_eq!(calls.iter().filter(|call| call.starts_with("start")).count(), 1);
    assert!(calls.contains(&format!("attach {SCOPE} /supervisor")), "{calls:?}");
}

#[test]
fn a_scope_that_is_just_going_is_made_anew() {
    let (result, calls) =
        outcome(&[Start::Exists("deactivating"), Start::Exists("inactive"), Start::Done], LONG);
    assert_eq!(result.as_deref(), Ok(CGROUP));
    assert_eq!(calls.iter().filter(|call| call.starts_with("start")).count(), 3);
    assert!(!calls.iter().any(|call| call.starts_with("attach")), "{calls:?}");
}

#[test]
fn a_scope_that_is_being_stopped_is_not_waited_for_without_end() {
    let (result, _) = outcome(&[Start::Exists("deactivating")], Duration::from_secs(2));
    let why = result.expect_err("no scope").to_string();
    assert!(why.contains("is deactivating") && why.contains("systemctl --user status"), "{why}");
}

#[test]
fn a_refusal_says_why() {
    let (result, _) = outcome(&[Start::Denied], LONG);
    let Err(Unavailable::Permission(why)) = result else { panic!("{result:?}") };
    assert!(why.contains("StartTransientUnit: No. (org.freedesktop.DBus.Error.Interactive"), "{why}");
    let (result, _) = outcome(&[Start::Failed], LONG);
    let Err(Unavailable::Missing(why)) = result else { panic!("{result:?}") };
    assert!(why.contains("failed") && why.contains("journalctl --user -u 'ffrtmp.scope'"), "{why}");
}

#[test]
fn nothing_that_hangs_is_waited_for_beyond_the_limit() {
    let why = |result: Result<String, Unavailable>| result.expect_err("no scope").to_string();
    let before = Instant::now();
    let (result, _) = outcome(&[Start::Unfinished], SHORT);
    let said = why(result);
    assert!(said.contains("waiting for JobRemoved: no answer in time"), "{said}");

    // It listens, and says nothing.
    let dir = TempDir::new().expect("a folder");
    let _listener = UnixListener::bind(dir.path().join("mute")).expect("bound");
    let ask = |name| obtain(&[peer(&dir, name, true)], SCOPE, Uid::from_raw(1000), SHORT);
    let said = why(ask("mute"));
    assert!(said.contains("no answer in time"), "{said}");

    // It does not even take calls any more.
    let kind = (AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC);
    let deaf = socket::socket(kind.0, kind.1, kind.2, None).expect("a socket");
    let path = dir.path().join("deaf");
    socket::bind(deaf.as_raw_fd(), &UnixAddr::new(&path).expect("an address")).expect("bound");
    socket::listen(&deaf, Backlog::new(0).expect("valid")).expect("listening");
    let _first = UnixStream::connect(&path).expect("the one that may wait");
    let said = why(ask("deaf"));
    assert!(said.contains("no answer in time"), "{said}");
    assert!(before.elapsed() < LIMIT, "{:?}", before.elapsed());
}

#[test]
fn the_next_address_is_tried_and_all_are_named() {
    let dir = TempDir::new().expect("a folder");
    let (there, thread) = manager(&dir, &[Start::Done]);
    let gone = peer(&dir, "gone", false);
    let alice = Uid::from_raw(1000);
    assert_eq!(obtain(&[gone.clone(), there], SCOPE, alice, LONG).as_deref(), Ok(CGROUP));
    thread.join().expect("no panic");

    let strange = Peer { address: "tcp:host=localhost,port=1".into(), is_bus: true };
    let result = obtain(&[gone.clone(), strange], SCOPE, alice, LONG);
    let Err(Unavailable::Missing(why)) = result else { panic!("{result:?}") };
    for part in [&gone.address, "No such file", "tcp:", "not supported", "loginctl enable-linger"] {
        assert!(why.contains(part), "{part}: {why}");
    }
}

#[test]
fn the_same_over_a_real_bus() {
    let Some(bus) = Bus::start() else {
        println!("SKIPPED the_same_over_a_real_bus: there is no dbus-daemon here");
        return;
    };
    let peer = peer(&bus.dir, "bus", true);
    let why = obtain(std::slice::from_ref(&peer), SCOPE, Uid::from_raw(0), LONG).expect_err("nobody there");
    assert!(why.to_string().contains("org.freedesktop.DBus.Error.ServiceUnknown"), "{why}");

    let mut service = Connection::open(&peer, soon()).expect("connected");
    let owner: u32 =
        service.call(dbus::BUS, "org.freedesktop.DBus", "RequestName", &(SYSTEMD, 0_u32)).expect("the name");
    assert_eq!(owner, 1);
    let thread = std::thread::spawn(move || play(service, &[Start::Done]));
    assert_eq!(obtain(&[peer], SCOPE, Uid::from_raw(0), LONG).as_deref(), Ok(CGROUP));
    drop(bus);
    assert_eq!(thread.join().expect("no panic").len(), 4);
}

/// A bus that nobody else is on.
struct Bus {
    dir: TempDir,
    daemon: Child,
}

impl Bus {
    fn start() -> Option<Self> {
        let dir = TempDir::new().expect("a folder");
        let config = dir.path().join("config");
        let text = format!(
            "<busconfig><type>session</type><listen>{}</listen><auth>EXTERNAL</auth>\
             <policy context='default'><allow send_destination='*'/><allow receive_sender='*'/><allow own='*'/></policy></busconfig>",
            peer(&dir, "bus", true).address
        );
        std::fs::write(&config, text).expect("written");
        let mut command = Command::new("dbus-daemon");
        command.arg("--nofork").arg("--print-address").arg("--config-file").arg(&config);
        let mut daemon = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
        let mut ready = String::new();
        let stdout = daemon.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut ready).expect("readable");
        assert!(ready.starts_with("unix:path="), "{ready}");
        Some(Self { dir, daemon })
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

#[test]
fn who_would_be_hurt_by_moving_stays() {
    let root = Uid::from_raw(0);
    let alice = Uid::from_raw(1000);
    let may = |own: &str, uid, lingers| may_move(Path::new(own), uid, "alice", lingers);
    let session = "/sys/fs/cgroup/user.slice/user-1000.slice/session-3.scope";
    let manager = "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service";
    assert_eq!(may(session, root, false), Ok(()));
    assert_eq!(may("/sys/fs/cgroup", root, false), Ok(()));
    assert_eq!(may(session, alice, true), Ok(()));
    let why = may(session, alice, false).expect_err("ends with the session").to_string();
    assert!(why.contains("`loginctl enable-linger alice`"), "{why}");
    // In the user's manager already: nothing gets worse.
    assert_eq!(may(&format!("{manager}/app.slice/run-1.scope"), alice, false), Ok(()));
    for (own, uid) in [
        ("/sys/fs/cgroup/system.slice/sup.service".into(), root),
        ("/sys/fs/cgroup/system.slice/sup.service/inner".into(), alice),
        (format!("{manager}/app.slice/sup.service"), alice),
    ] {
        let why = may(&own, uid, true).expect_err("a service").to_string();
        assert!(why.contains("belongs to sup.service") && why.contains("Delegate=yes"), "{why}");
    }
}

#[test]
fn a_scope_has_a_name_that_systemd_takes() {
    assert_eq!(scope_name("ffrtmp-12ab"), "ffrtmp-12ab.scope");
    assert_eq!(scope_name("a/ü"), "a\\x2f\\xc3\\xbc.scope");
}

#[test]
fn without_systemd_nothing_is_asked() {
    let request = Request { choice: Default::default(), parent: None, instance: "a" };
    let why = open(&Mounts::default(), &request, false).expect_err("no systemd").to_string();
    assert_eq!(why, "systemd does not run here");
}
