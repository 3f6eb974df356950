//! A subtree of the unified hierarchy that systemd delegates when asked over D-Bus: one scope that
//! holds all jobs of a supervisor.
//!
//! One scope per supervisor, and not one per job: systemd is asked once, at the supervisor's start, so a
//! job's start waits for no D-Bus answer and needs no D-Bus at all. Inside of the scope everything is as
//! in a delegated service ([`v2`]): each constraint is a file that we write and read back, also those
//! that systemd has no property for, and a change takes effect at once.
//!
//! A scope lives as long as a process in it. So the supervisor itself moves into it, and the jobs that it
//! leaves behind keep the scope until the next supervisor comes and is let in. An ordinary user has to
//! move, too: the kernel lets nobody start a process in a cgroup of the user's manager from the cgroup of
//! a login session, which is root's (cgroups(7), "Delegation Containment"); the user's manager has the
//! system's move us.
//!
//! Moving can do harm, and is not done then: a service's supervisor would leave what stops it, and jobs of a
//! user without lingering would end with the last session, which they outlive where they are.
//!
//! Rests on org.freedesktop.systemd1(5), systemd.scope(5) and
//! <https://systemd.io/CONTROL_GROUP_INTERFACE>.

mod dbus;
#[cfg(test)]
mod tests;
pub mod units;

use std::env;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::unistd::{Uid, User};
use zbus::address::transport::{Transport, Unix, UnixSocket};
use zbus::zvariant::{OwnedObjectPath, OwnedValue, Value};

use self::dbus::{Connection, Error, Object, Peer};
use super::mounts::Mounts;
use super::request::{Request, Unavailable};
use super::v2;
use crate::model::constraints::Backend;

/// Everything together may take so long. A start must not hang on a bus that does.
const LIMIT: Duration = Duration::from_secs(5);
/// Between two looks at a scope that is about to go.
const PAUSE: Duration = Duration::from_millis(20);

/// Where systemd-logind notes whose manager runs without a session (loginctl(1), `enable-linger`).
const LINGER: &str = "/var/lib/systemd/linger";

const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER: Object<'_> = Object { program: SYSTEMD, path: "/org/freedesktop/systemd1" };
const MANAGER_INTERFACE: &str = "org.freedesktop.systemd1.Manager";
const JOB_REMOVED: &str = "type='signal',sender='org.freedesktop.systemd1',\
    interface='org.freedesktop.systemd1.Manager',member='JobRemoved'";
const UNIT_EXISTS: &str = "org.freedesktop.systemd1.UnitExists";
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";
/// Errors that mean that somebody else might.
const DENIED: [&str; 3] = [
    "org.freedesktop.DBus.Error.AccessDenied",
    "org.freedesktop.DBus.Error.AuthFailed",
    "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired",
];

/// Asks systemd for a scope with `Delegate=yes`, or to be let into the one that an earlier supervisor
/// asked for. This process is moved into it.
///
/// # Errors
/// systemd does not run here, or refuses; or this process is better left where it is.
pub fn open(mounts: &Mounts, request: &Request<'_>, booted: bool) -> Result<v2::Tree, Unavailable> {
    if !booted {
        return Err(Unavailable::Missing("systemd does not run here".into()));
    }
    let hierarchy = v2::unified(mounts)?;
    let uid = Uid::effective();
    let user = User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
    may_move(&hierarchy.own, uid, &user, Path::new(LINGER).join(&user).exists())?;
    let scope = scope_name(request.instance);
    let cgroup = obtain(&peers(uid), &scope, uid, LIMIT)?;
    let unit = hierarchy.mount.join(cgroup.strip_prefix('/').unwrap_or(&cgroup));
    // What systemd says is one thing, where we are is another.
    let now = Mounts::read().map_err(|error| Unavailable::Missing(format!("cannot read /proc: {error}")))?;
    let own = &v2::unified(&now)?.own;
    if !own.starts_with(&unit) {
        return Err(Unavailable::Missing(format!(
            "systemd has {scope} at {}, but this process is in {}",
            unit.display(),
            own.display()
        )));
    }
    v2::Tree::within(unit, own, Backend::Systemd)
}

/// Whether moving this process does no harm.
fn may_move(own: &Path, uid: Uid, user: &str, lingers: bool) -> Result<(), Unavailable> {
    let names = || own.iter().filter_map(|name| name.to_str());
    let unit = names().rfind(|name| name.ends_with(".service") || name.ends_with(".scope"));
    // What ends the service would not end the supervisor any more.
    if let Some(service) = unit.filter(|name| name.ends_with(".service")) {
        return Err(Unavailable::Missing(format!(
            "the supervisor belongs to {service}, and would have to leave it: \
             set Delegate=yes and DelegateSubgroup=supervisor there"
        )));
    }
    // The user's manager goes when the last session does, and everything in it with it. What is started
    // in a session may outlive that.
    let manager = format!("user@{uid}.service");
    if !uid.is_root() && !lingers && !names().any(|name| name == manager) {
        return Err(Unavailable::Missing(format!(
            "systemd would end the jobs at the end of {user}'s last session: \
             `loginctl enable-linger {user}` has it keep them"
        )));
    }
    Ok(())
}

/// The scope of a supervisor. What a unit's name may not have is written as in systemd-escape(1).
fn scope_name(instance: &str) -> String {
    let mut name = String::new();
    for byte in instance.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b':' => name.push(byte.into()),
            _ => name.push_str(&format!("\\x{byte:02x}")),
        }
    }
    name + ".scope"
}

/// Where the manager of our units answers: its own socket first, which is what systemctl(1) uses and
/// which needs no bus, then the bus.
fn peers(uid: Uid) -> [Peer; 2] {
    let (own, bus, variable) = if uid.is_root() {
        ("/run/systemd/private".into(), "/run/dbus/system_bus_socket".into(), "DBUS_SYSTEM_BUS_ADDRESS")
    } else {
        let runtime = env::var_os("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty());
        let runtime = runtime.map_or_else(|| PathBuf::from(format!("/run/user/{uid}")), PathBuf::from);
        (runtime.join("systemd/private"), runtime.join("bus"), "DBUS_SESSION_BUS_ADDRESS")
    };
    let at = |path: PathBuf| Transport::Unix(Unix::new(UnixSocket::File(path))).to_string();
    let bus = env::var(variable).unwrap_or_else(|_| at(bus));
    [Peer { address: at(own), is_bus: false }, Peer { address: bus, is_bus: true }]
}

/// Has this process moved into its scope, and gives the scope's cgroup as systemd names it.
fn obtain(peers: &[Peer], scope: &str, uid: Uid, limit: Duration) -> Result<String, Unavailable> {
    let now = Instant::now();
    // Half of the time to wait for a scope to go, and half to be told.
    let (patience, deadline) = (now + limit / 2, now + limit);
    let mut failed = Vec::new();
    let (mut denied, mut absent) = (false, false);
    for peer in peers {
        match Connection::open(peer, deadline) {
            Ok(connection) => {
                return Manager { connection, scope, patience }
                    .obtain()
                    .map_err(|stop| stop.explain(scope, uid));
            }
            Err(error) => {
                denied |= is_denied(&error);
                absent |= matches!(error, Error::Io(_));
                failed.push(format!("{}: {error}", peer.address));
            }
        }
    }
    let failed = failed.join("; ");
    let mut text = format!("the systemd of user {uid} cannot be reached: {failed}");
    if absent && !uid.is_root() {
        text += "; `loginctl enable-linger` has it run, with Debian's packages libpam-systemd and dbus-user-session";
    }
    Err(if denied { Unavailable::Permission(text) } else { Unavailable::Missing(text) })
}

/// Why there is no scope.
#[derive(Debug)]
enum Stop {
    /// A call failed.
    Call(&'static str, Error),
    /// systemd tried, with another result than "done".
    Result(String),
    /// It exists, in a state in which it lets nobody in.
    State(String),
}

impl Stop {
    fn explain(self, scope: &str, uid: Uid) -> Unavailable {
        let user = if uid.is_root() { "" } else { " --user" };
        match self {
            Self::Call(call, error) => {
                let text = format!("systemd does not give us {scope}: {call}: {error}");
                if is_denied(&error) { Unavailable::Permission(text) } else { Unavailable::Missing(text) }
            }
            Self::Result(result) => Unavailable::Missing(format!(
                "systemd could not start {scope}: {result}; `journalctl{user} -u '{scope}'` says why"
            )),
            Self::State(state) => Unavailable::Missing(format!(
                "{scope} is {state}, with processes of an earlier supervisor in it: \
                 `systemctl{user} status '{scope}'` shows them"
            )),
        }
    }
}

fn is_denied(error: &Error) -> bool {
    match error {
        Error::Io(error) => error.kind() == std::io::ErrorKind::PermissionDenied,
        Error::Rejected(_) => true,
        Error::Refused { name, .. } => DENIED.contains(&name.as_str()),
        _ => false,
    }
}

/// A manager of units, and the one that is ours.
struct Manager<'a> {
    connection: Connection,
    scope: &'a str,
    /// Until when a scope that is about to go is waited for.
    patience: Instant,
}

impl Manager<'_> {
    fn obtain(&mut self) -> Result<String, Stop> {
        // Before the call, or the signal could be missed.
        self.connection.watch(JOB_REMOVED).map_err(|error| Stop::Call("AddMatch", error))?;
        self.call::<_, ()>("Subscribe", &())?;
        loop {
            match self.start() {
                Err(Stop::Call(_, Error::Refused { name, .. })) if name == UNIT_EXISTS => {}
                other => return other.and_then(|()| self.cgroup()),
            }
            let state = match self.state()? {
                Some(state) if state == "active" => match self.join() {
                    Ok(()) => return self.cgroup(),
                    // It may just have gone.
                    Err(stop) if self.state()?.is_some_and(|state| state == "active") => return Err(stop),
                    Err(_) => continue,
                },
                Some(state) => state,
                None => continue,
            };
            if Instant::now() >= self.patience {
                return Err(Stop::State(state));
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Starts the scope, with this process in it.
    fn start(&mut self) -> Result<(), Stop> {
        let properties: &[(&str, Value<'_>)] = &[
            ("Description", "Media workloads of ffrtmp-sup".into()),
            // Also has the default OOMPolicy=continue: one job's death is not all jobs' (systemd.scope(5)).
            ("Delegate", true.into()),
            ("PIDs", vec![std::process::id()].into()),
            // The jobs have limits of their own, the user has one, and there is no default for all of them.
            ("TasksMax", u64::MAX.into()),
            // A failed one must not be in the next one's way.
            ("CollectMode", "inactive-or-failed".into()),
        ];
        let auxiliary: &[(&str, &[(&str, Value<'_>)])] = &[];
        let job: OwnedObjectPath =
            self.call("StartTransientUnit", &(self.scope, "fail", properties, auxiliary))?;
        let removed: (u32, OwnedObjectPath, String, String) = self
            .connection
            .wait_for("JobRemoved", |(_, path, _, _)| *path == job)
            .map_err(|error| Stop::Call("waiting for JobRemoved", error))?;
        match removed.3 {
            result if result == "done" => Ok(()),
            result => Err(Stop::Result(result)),
        }
    }

    /// Moves this process into the scope that there is. Into the cgroup that the earlier supervisor was
    /// in: the kernel allows no process above the jobs.
    fn join(&mut self) -> Result<(), Stop> {
        let below = format!("/{}", v2::SUPERVISOR);
        self.call("AttachProcessesToUnit", &(self.scope, below, vec![std::process::id()]))
    }

    /// The scope's state; `None` if there is no scope.
    fn state(&mut self) -> Result<Option<String>, Stop> {
        match self.property("org.freedesktop.systemd1.Unit", "ActiveState") {
            Err(Stop::Call(_, Error::Refused { name, .. })) if name == NO_SUCH_UNIT => Ok(None),
            other => other.map(Some),
        }
    }

    fn cgroup(&mut self) -> Result<String, Stop> {
        self.property("org.freedesktop.systemd1.Scope", "ControlGroup")
    }

    /// A text among the scope's properties.
    fn property(&mut self, interface: &str, name: &str) -> Result<String, Stop> {
        let scope = self.scope;
        let unit: OwnedObjectPath = self.call("GetUnit", &scope)?;
        let object = Object { program: SYSTEMD, path: unit.as_str() };
        let value: OwnedValue = self
            .connection
            .call(object, "org.freedesktop.DBus.Properties", "Get", &(interface, name))
            .map_err(|error| Stop::Call("reading a property", error))?;
        String::try_from(value).map_err(|error| Stop::Call("reading a property", error.into()))
    }

    fn call<B, R>(&mut self, method: &'static str, body: &B) -> Result<R, Stop>
    where
        B: serde::Serialize + zbus::zvariant::DynamicType,
        R: for<'d> zbus::zvariant::DynamicDeserialize<'d>,
    {
        self.connection
            .call(MANAGER, MANAGER_INTERFACE, method, body)
            .map_err(|error| Stop::Call(method, error))
    }
}
