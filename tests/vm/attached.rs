//! A service that somebody else started, alone in its unit: constrained where it is, through systemd, and left
//! as it was.

use std::fs;
use std::path::{Path, PathBuf};

use ffrtmp::linux::attach;
use ffrtmp::linux::cgroup::{Tree, v2};
use ffrtmp::linux::process;
use ffrtmp::model::attached::Place;
use ffrtmp::model::constraints::{Backend, Constraints};
use ffrtmp::model::process::Pid;

use crate::machine::{content, is_here, systemctl};

const NAME: &str = "stranger.service";
const FILE: &str = "/run/systemd/system/stranger.service";
const DROP_INS: &str = "/run/systemd/system.control/stranger.service.d";

/// The service, gone at the end.
struct Stranger;

impl Stranger {
    fn new() -> Self {
        let text = "[Service]\nExecStart=/bin/sleep 100000\nMemoryMax=256M\n";
        fs::create_dir_all("/run/systemd/system").expect("made");
        fs::write(FILE, text).expect("written");
        systemctl(&["daemon-reload"]);
        systemctl(&["start", NAME]);
        Self
    }

    fn property(&self, name: &str) -> String {
        systemctl(&["show", "--value", "--property", name, NAME]).trim().to_owned()
    }

    fn file(&self, name: &str) -> String {
        content(&PathBuf::from("/sys/fs/cgroup/system.slice").join(NAME).join(name))
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        systemctl(&["stop", NAME]);
        fs::remove_file(FILE).expect("there");
        systemctl(&["daemon-reload"]);
    }
}

#[test]
fn a_service_alone_in_its_unit_is_constrained_through_systemd_and_left_as_it_was() {
    if !is_here("a_service_alone_in_its_unit_is_constrained_through_systemd_and_left_as_it_was") {
        return;
    }
    let stranger = Stranger::new();
    let root = Path::new("/sys/fs/cgroup");
    let tree = v2::Tree::within(root.join("attach-test"), root, Backend::CgroupV2);
    let tree = Tree::V2(tree.expect("this machine's own"));
    let pid: u32 = stranger.property("MainPID").parse().expect("a number");
    let process = process::identify(Pid::new(pid).expect("it runs")).expect("proc").expect("it lives");
    let before = (stranger.property("TasksMax"), stranger.file("pids.max"));

    let (attached, cgroup) = attach::survey(&process, true, &tree, "job").expect("it may be governed");
    let Place::Stays { unit: Some(unit), .. } = &attached.place else { panic!("{:#?}", attached.place) };
    assert_eq!((unit.name.as_str(), unit.properties.len()), (NAME, 8), "{unit:#?}");
    // The unit had no use for the CPU controller.
    let wanted: Constraints = serde_json::from_value(serde_json::json!({
        "cpu": {"quota": 50}, "cpu_weight": 200, "memory_limit": 128 << 20, "memory_high": 100 << 20,
        "memory_swap": 0, "tasks_max": 20, "cpus": "0", "nice": 5,
    }))
    .expect("constraints");
    let list = attach::enforce(&attached, cgroup.as_ref(), &wanted, None);
    assert!(list.len() == 8 && list.iter().all(|status| status.applied), "{list:#?}");
    let in_force = || {
        ["cpu.max", "cpu.weight", "memory.max", "pids.max", "cpuset.cpus.effective"]
            .map(|file| stranger.file(file))
    };
    assert_eq!(in_force(), ["50000 100000", "200", "134217728", "20", "0"]);
    assert_eq!(stranger.property("CPUQuotaPerSecUSec"), "500ms");
    systemctl(&["daemon-reload"]);
    assert_eq!(
        in_force(),
        ["50000 100000", "200", "134217728", "20", "0"],
        "systemd does not take them back"
    );

    // An edit: one key less.
    let less = Constraints { memory_limit: None, ..wanted.clone() };
    let list = attach::enforce(&attached, cgroup.as_ref(), &less, Some(&wanted));
    assert!(list.len() == 7 && list.iter().all(|status| status.applied), "{list:#?}");
    assert_eq!(
        (stranger.property("MemoryMax"), stranger.file("memory.max")),
        ("268435456".into(), "268435456".into())
    );

    for _ in 0..2 {
        assert_eq!(attach::release(&attached, cgroup.as_ref(), &less), [""; 0]);
        let now = (stranger.property("TasksMax"), stranger.file("pids.max"));
        assert_eq!(now, before);
        for (property, value) in [
            ("CPUQuotaPerSecUSec", "infinity"),
            ("CPUWeight", "[not set]"),
            ("MemoryMax", "268435456"),
            ("MemoryHigh", "infinity"),
            ("AllowedCPUs", ""),
        ] {
            assert_eq!(stranger.property(property), value, "{property}");
        }
        assert!(!Path::new(DROP_INS).exists(), "{:?}", fs::read_dir(DROP_INS));
        systemctl(&["daemon-reload"]);
    }
    assert_eq!(stranger.file("memory.max"), "268435456");
    assert_eq!(stranger.property("MainPID"), pid.to_string(), "nothing has happened to it");
}
