//! Limits of a unit that is somebody else's: systemd is told of them, so that it enables the controllers that
//! they need and does not take them back when it writes the unit's cgroup anew, as `daemon-reload` has it do.
//!
//! They are set at run time only (`SetUnitProperties`, as `systemctl set-property --runtime` does), and set
//! back to what they were. systemd notes each in a drop-in file below `/run`, which would outlive that and
//! hide a later change of the unit: those that were not there before are removed. What a disk is used for
//! is not told: systemd knows other scales of it.
//!
//! Rests on org.freedesktop.systemd1(5) and systemd.resource-control(5).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use nix::unistd::Uid;
use zbus::zvariant::{OwnedObjectPath, OwnedValue, Value};

use super::dbus::{Connection, Error, Object, Peer};
use super::{LIMIT, MANAGER, MANAGER_INTERFACE, SYSTEMD, peers};
use crate::model::attached::{Property, Unit};
use crate::model::constraints::{ConstraintName as Name, Constraints, CpuLimit};

/// The properties that we may set, and the names of their drop-in files.
const PROPERTIES: [(&str, &str); 8] = [
    ("CPUQuotaPerSecUSec", "50-CPUQuota.conf"),
    ("CPUQuotaPeriodUSec", "50-CPUQuotaPeriodSec.conf"),
    ("CPUWeight", "50-CPUWeight.conf"),
    ("MemoryMax", "50-MemoryMax.conf"),
    ("MemoryHigh", "50-MemoryHigh.conf"),
    ("MemorySwapMax", "50-MemorySwapMax.conf"),
    ("TasksMax", "50-TasksMax.conf"),
    ("AllowedCPUs", "50-AllowedCPUs.conf"),
];

/// The folders below which systemd keeps what was set at run time.
const RUNTIME: [&str; 2] = ["system.control", "user.control"];

/// The service or scope that a cgroup is of, with what it says of its limits; `None` where there is none,
/// or its systemd cannot be asked. The cgroup by its path in the hierarchy.
#[must_use]
pub fn of_cgroup(path: &str) -> Option<Unit> {
    Session::open(&peers(Uid::effective())).and_then(|mut session| session.unit_of(path)).ok().flatten()
}

/// Tells systemd of the limits of these names.
///
/// # Errors
/// It cannot be reached, or refuses; in words.
pub fn set(unit: &Unit, wanted: &Constraints, names: &[Name]) -> Result<(), String> {
    let values: Vec<_> = names.iter().flat_map(|name| values_of(*name, wanted)).collect();
    if values.is_empty() {
        return Ok(());
    }
    let told = Session::open(&peers(Uid::effective())).and_then(|mut session| session.set(unit, &values));
    told.map_err(|error| explain(unit, &error))
}

/// Has systemd take the limits of these names back to what they were.
///
/// # Errors
/// As with [`set`].
pub fn restore(unit: &Unit, was: &Constraints, names: &[Name]) -> Result<(), String> {
    restore_at(&peers(Uid::effective()), unit, was, names)
}

fn restore_at(peers: &[Peer], unit: &Unit, was: &Constraints, names: &[Name]) -> Result<(), String> {
    let governed: Vec<&str> =
        names.iter().flat_map(|name| values_of(*name, was)).map(|(property, _)| property).collect();
    let old = unit.properties.iter().filter(|(name, _)| governed.contains(&name.as_str()));
    let values: Vec<_> = old.map(|(name, value)| (name.as_str(), value.clone())).collect();
    if values.is_empty() {
        return Ok(());
    }
    let told = Session::open(peers).and_then(|mut session| {
        session.set(unit, &values)?;
        let now = session.drop_ins(&unit.name)?;
        now.iter().filter(|path| is_ours(path, unit, &governed)).for_each(|path| remove(path));
        Ok(())
    });
    match told {
        // A unit that is gone has no limits.
        Err(Error::Refused { name, .. }) if name == super::NO_SUCH_UNIT => Ok(()),
        other => other.map_err(|error| explain(unit, &error)),
    }
}

fn explain(unit: &Unit, error: &Error) -> String {
    format!("systemd was asked for it, for {}: {error}", unit.name)
}

/// Whether a drop-in was made for a property that we set.
fn is_ours(path: &Path, unit: &Unit, governed: &[&str]) -> bool {
    let name = |path: Option<&Path>| path?.file_name()?.to_str().map(ToOwned::to_owned);
    let file = name(Some(path)).unwrap_or_default();
    let above = name(path.ancestors().nth(2)).unwrap_or_default();
    PROPERTIES.iter().any(|(property, made)| *made == file && governed.contains(property))
        && RUNTIME.contains(&above.as_str())
        && !unit.drop_ins.iter().any(|known| known == path)
}

/// Removes a file, and its folder once that is empty.
fn remove(path: &Path) {
    if fs::remove_file(path).is_ok()
        && let Some(folder) = path.parent()
    {
        let _ = fs::remove_dir(folder);
    }
}

/// The properties that mean a limit, and their values.
fn values_of(name: Name, wanted: &Constraints) -> Vec<(&'static str, Property)> {
    let number = |property, value: Option<u64>| {
        value.map(|value| (property, Property::Number(value))).into_iter().collect()
    };
    match (name, wanted.cpu) {
        (Name::CpuQuota | Name::CpuMax, Some(cpu)) => {
            let (quota, period) = match cpu {
                CpuLimit::Quota(0) => (None, 100_000),
                CpuLimit::Quota(percent) => (Some(u64::from(percent) * 1000), 100_000),
                CpuLimit::Max { quota_us, period_us } => (quota_us, period_us),
            };
            let per_second = quota.map_or(u64::MAX, |quota| quota.saturating_mul(1_000_000) / period.max(1));
            vec![
                ("CPUQuotaPerSecUSec", Property::Number(per_second)),
                ("CPUQuotaPeriodUSec", Property::Number(period)),
            ]
        }
        (Name::CpuWeight, _) => number("CPUWeight", wanted.cpu_weight.map(u64::from)),
        (Name::MemoryLimit, _) => number("MemoryMax", wanted.memory_limit.map(|size| size.0)),
        (Name::MemoryHigh, _) => number("MemoryHigh", wanted.memory_high.map(|size| size.0)),
        (Name::MemorySwap, _) => number("MemorySwapMax", wanted.memory_swap.map(|size| size.0)),
        (Name::TasksMax, _) => number("TasksMax", wanted.tasks_max),
        (Name::Cpus, _) => {
            let mask = |cpus: &crate::model::cpus::CpuSet| {
                let mut mask: Vec<u8> = cpus.words().iter().flat_map(|word| word.to_le_bytes()).collect();
                while mask.last() == Some(&0) {
                    mask.pop();
                }
                ("AllowedCPUs", Property::Mask(mask))
            };
            wanted.cpus.as_ref().map(mask).into_iter().collect()
        }
        (Name::CpuQuota | Name::CpuMax, None) | (Name::IoWeight | Name::IoMax, _) => Vec::new(),
        (Name::Nice | Name::OomScoreAdj | Name::IoClass | Name::Rlimit(_), _) => Vec::new(),
    }
}

/// A few calls to a manager of units.
struct Session(Connection);

impl Session {
    /// The first that answers.
    fn open(peers: &[Peer]) -> Result<Self, Error> {
        let deadline = Instant::now() + LIMIT;
        let mut failed = Error::TimedOut;
        for peer in peers {
            match Connection::open(peer, deadline) {
                Ok(connection) => return Ok(Self(connection)),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// The unit whose own cgroup this is; none for one below it, which it has delegated.
    fn unit_of(&mut self, path: &str) -> Result<Option<Unit>, Error> {
        let object: OwnedObjectPath =
            self.0.call(MANAGER, MANAGER_INTERFACE, "GetUnitByControlGroup", &path)?;
        let name: String = text(self.get(&object, UNIT, "Id")?)?;
        let Some(kind) = interface_of(&name) else { return Ok(None) };
        if text(self.get(&object, kind, "ControlGroup")?)? != path {
            return Ok(None);
        }
        let mut properties = Vec::new();
        for (property, _) in PROPERTIES {
            // One that this version does not know is none that can be set.
            if let Ok(value) = self.get(&object, kind, property)
                && let Some(value) = parse(value)
            {
                properties.push((property.to_owned(), value));
            }
        }
        let drop_ins = paths(self.get(&object, UNIT, "DropInPaths")?)?;
        Ok(Some(Unit { name, properties, drop_ins }))
    }

    /// Sets properties at run time, and waits until they are in the unit's cgroup.
    fn set(&mut self, unit: &Unit, values: &[(&str, Property)]) -> Result<(), Error> {
        let values: Vec<(&str, Value<'_>)> = values
            .iter()
            .map(|(name, value)| match value {
                Property::Number(number) => (*name, Value::from(*number)),
                Property::Mask(mask) => (*name, Value::from(mask.clone())),
            })
            .collect();
        let runtime = true;
        let name = unit.name.as_str();
        let () = self.0.call(MANAGER, MANAGER_INTERFACE, "SetUnitProperties", &(name, runtime, values))?;
        // systemd answers first and writes then, before it takes the next call.
        self.drop_ins(name).map(drop)
    }

    fn drop_ins(&mut self, unit: &str) -> Result<Vec<PathBuf>, Error> {
        let object: OwnedObjectPath = self.0.call(MANAGER, MANAGER_INTERFACE, "LoadUnit", &unit)?;
        paths(self.get(&object, UNIT, "DropInPaths")?)
    }

    fn get(&mut self, object: &OwnedObjectPath, interface: &str, name: &str) -> Result<OwnedValue, Error> {
        let object = Object { program: SYSTEMD, path: object.as_str() };
        self.0.call(object, "org.freedesktop.DBus.Properties", "Get", &(interface, name))
    }
}

const UNIT: &str = "org.freedesktop.systemd1.Unit";

/// Where a unit of this name has its limits; `None` for kinds that no process is alone in.
fn interface_of(name: &str) -> Option<&'static str> {
    match name.rsplit_once('.')?.1 {
        "service" => Some("org.freedesktop.systemd1.Service"),
        "scope" => Some("org.freedesktop.systemd1.Scope"),
        _ => None,
    }
}

fn text(value: OwnedValue) -> Result<String, Error> {
    Ok(String::try_from(value)?)
}

fn paths(value: OwnedValue) -> Result<Vec<PathBuf>, Error> {
    Ok(Vec::<String>::try_from(value)?.into_iter().map(PathBuf::from).collect())
}

fn parse(value: OwnedValue) -> Option<Property> {
    match u64::try_from(&value) {
        Ok(number) => Some(Property::Number(number)),
        Err(_) => Vec::<u8>::try_from(value).ok().map(Property::Mask),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::net::UnixListener;

    use zbus::message::Type;
    use zbus::zvariant::ObjectPath;

    use super::*;
    use crate::model::cpus::CpuSet;
    use crate::model::units::ByteSize;

    const OBJECT: &str = "/org/freedesktop/systemd1/unit/obs_2eservice";

    /// A manager of one unit, with a drop-in for each property that is set. Gives its properties once its
    /// caller has left.
    fn play(
        listener: &UnixListener,
        folder: &Path,
        mut unit: BTreeMap<String, Property>,
    ) -> BTreeMap<String, Property> {
        let stream = listener.accept().expect("a caller").0;
        let mut connection = Connection::accept(stream, Instant::now() + LIMIT).expect("a client");
        while let Ok(message) = connection.receive() {
            let header = message.header().expect("a header");
            if header.message_type() != Type::MethodCall {
                continue;
            }
            let answer = zbus::Message::method_return(&header).expect("an answer");
            let path = ObjectPath::try_from(OBJECT).expect("a path");
            let answer = match header.member().expect("a method").as_str() {
                "GetUnitByControlGroup" | "LoadUnit" => answer.build(&path),
                "SetUnitProperties" => {
                    let (name, runtime, values): (String, bool, Vec<(String, OwnedValue)>) =
                        message.body().expect("sba(sv)");
                    assert_eq!((name.as_str(), runtime), ("obs.service", true));
                    for (name, value) in values {
                        let file = PROPERTIES.iter().find(|(known, _)| *known == name).expect("known").1;
                        fs::write(folder.join(file), "set").expect("written");
                        unit.insert(name, parse(value).expect("t or ay"));
                    }
                    answer.build(&())
                }
                "Get" => {
                    let (interface, property): (String, String) = message.body().expect("ss");
                    let value = match property.as_str() {
                        "Id" => Value::from("obs.service"),
                        "ControlGroup" => Value::from("/system.slice/obs.service"),
                        "DropInPaths" => {
                            let files = fs::read_dir(folder).into_iter().flatten().flatten();
                            let path = |entry: fs::DirEntry| entry.path().display().to_string();
                            Value::from(files.map(path).collect::<Vec<_>>())
                        }
                        _ => {
                            assert!(interface.ends_with(".Service"), "{interface}");
                            match unit.get(&property) {
                                Some(Property::Number(number)) => Value::from(*number),
                                Some(Property::Mask(mask)) => Value::from(mask.clone()),
                                None => Value::from("not known"),
                            }
                        }
                    };
                    answer.build(&value)
                }
                other => panic!("{other} is not expected"),
            };
            connection.send(&answer.expect("an answer")).expect("sent");
        }
        unit
    }

    /// Runs something against a manager of a unit with these properties.
    fn against<T>(
        folder: &Path,
        unit: &BTreeMap<String, Property>,
        work: impl FnOnce(&[Peer]) -> T,
    ) -> (T, BTreeMap<String, Property>) {
        let dir = tempfile::tempdir().expect("a folder");
        let listener = UnixListener::bind(dir.path().join("private")).expect("bound");
        let (folder, unit) = (folder.to_owned(), unit.clone());
        let thread = std::thread::spawn(move || play(&listener, &folder, unit));
        let address = format!("unix:path={}", dir.path().join("private").display());
        let result = work(&[Peer { address, is_bus: false }]);
        (result, thread.join().expect("no panic"))
    }

    #[test]
    fn a_unit_gets_back_what_it_had_and_no_drop_in_stays() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = dir.path().join("system.control/obs.service.d");
        fs::create_dir_all(&folder).expect("made");
        // An administrator's, of before.
        fs::write(folder.join("50-MemoryMax.conf"), "older").expect("written");
        let number = Property::Number;
        let before: BTreeMap<String, Property> = [
            ("CPUQuotaPerSecUSec".to_owned(), number(u64::MAX)),
            ("CPUQuotaPeriodUSec".to_owned(), number(u64::MAX)),
            ("MemoryMax".to_owned(), number(1 << 30)),
            ("AllowedCPUs".to_owned(), Property::Mask(Vec::new())),
        ]
        .into();
        let open = |peers: &[Peer]| Session::open(peers).expect("a manager");
        let (found, _) = against(&folder, &before, |peers| open(peers).unit_of("/system.slice/obs.service"));
        let unit = found.expect("answered").expect("its own cgroup");
        assert_eq!((unit.name.as_str(), unit.properties.len(), unit.drop_ins.len()), ("obs.service", 4, 1));
        let (found, _) =
            against(&folder, &before, |peers| open(peers).unit_of("/system.slice/obs.service/below"));
        assert_eq!(found.expect("answered"), None, "what a unit has delegated is not systemd's");

        let all = Constraints {
            cpu: Some(CpuLimit::Quota(150)),
            memory_limit: Some(ByteSize(2 << 30)),
            cpus: CpuSet::parse("0,9").ok(),
            ..Constraints::default()
        };
        let names = [Name::CpuQuota, Name::MemoryLimit, Name::Cpus];
        let values: Vec<_> = names.iter().flat_map(|name| values_of(*name, &all)).collect();
        let (done, after) = against(&folder, &before, |peers| open(peers).set(&unit, &values));
        done.expect("set");
        assert_eq!(after["CPUQuotaPerSecUSec"], number(1_500_000));
        assert_eq!(after["CPUQuotaPeriodUSec"], number(100_000));
        assert_eq!(
            (&after["MemoryMax"], &after["AllowedCPUs"]),
            (&number(2 << 30), &Property::Mask(vec![1, 2]))
        );
        assert_eq!(fs::read_dir(&folder).expect("there").count(), 4);

        let (done, after) = against(&folder, &after, |peers| restore_at(peers, &unit, &all, &names));
        assert_eq!((done, after), (Ok(()), before));
        let left: Vec<_> = fs::read_dir(&folder).expect("there").flatten().map(|e| e.file_name()).collect();
        assert_eq!(left, ["50-MemoryMax.conf"]);
    }
}
