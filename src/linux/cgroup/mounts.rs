//! Where this process stands in the hierarchies of the host: `/proc/self/mountinfo` and
//! `/proc/self/cgroup` (cgroups(7)). The mount point is never guessed.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::model::cgroup::Controller;
use crate::model::process::Pid;

/// One hierarchy, as this process sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Where it is mounted.
    pub mount: PathBuf,
    /// The directory, below the mount point, of the cgroup that the process is in.
    pub own: PathBuf,
}

/// All hierarchies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mounts {
    /// Version 2.
    pub unified: Option<Hierarchy>,
    /// Version 1, by controller. Controllers that are mounted together have the same one.
    pub v1: BTreeMap<Controller, Hierarchy>,
}

impl Mounts {
    /// Those of this process.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub fn read() -> io::Result<Self> {
        Self::of_text("/proc/self/cgroup")
    }

    /// The same hierarchies, as this process sees them, with the cgroups that another process is in. One
    /// that cannot be seen from here is left out.
    ///
    /// # Errors
    /// `/proc` cannot be read, or the process is gone.
    pub fn of(pid: Pid) -> io::Result<Self> {
        Self::of_text(&format!("/proc/{pid}/cgroup"))
    }

    fn of_text(path: &str) -> io::Result<Self> {
        Ok(Self::parse(&fs::read_to_string("/proc/self/mountinfo")?, &fs::read_to_string(path)?))
    }

    fn parse(mountinfo: &str, own: &str) -> Self {
        let mut mounts = Self::default();
        for line in mountinfo.lines() {
            let Some(mount) = Mount::parse(line) else { continue };
            match mount.kind {
                "cgroup2" => {
                    let path = own.lines().find_map(|line| line.strip_prefix("0::"));
                    // A later mount over the same hierarchy shows the same; the first will do.
                    if mounts.unified.is_none() {
                        mounts.unified = path.and_then(|path| mount.hierarchy(path));
                    }
                }
                "cgroup" => mount.add_v1(own, &mut mounts.v1),
                _ => {}
            }
        }
        mounts
    }
}

/// A line of mountinfo (proc_pid_mountinfo(5)).
struct Mount<'a> {
    root: String,
    point: PathBuf,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let (root, point) = (unescape(left.next()?), PathBuf::from(unescape(left.next()?)));
        let mut right = right.split(' ');
        let kind = right.next()?;
        Some(Self { root, point, kind, options: right.nth(1).unwrap_or_default() })
    }

    /// The hierarchy, if the cgroup of this name lies inside of what is mounted.
    fn hierarchy(&self, path: &str) -> Option<Hierarchy> {
        let inside = Path::new(path).strip_prefix(&self.root).ok()?;
        // Above the namespace's root: `/..` (cgroup_namespaces(7)).
        let leaves = inside.components().any(|part| part == std::path::Component::ParentDir);
        // Joining an empty path would add a slash.
        let own = if inside.as_os_str().is_empty() { self.point.clone() } else { self.point.join(inside) };
        (!leaves).then(|| Hierarchy { mount: self.point.clone(), own })
    }

    fn add_v1(&self, own: &str, found: &mut BTreeMap<Controller, Hierarchy>) {
        let named = |list: &str, name: &str| list.split(',').any(|one| one == name);
        let all = [Controller::V2.as_slice(), &[Controller::Cpuacct]].concat();
        for controller in all.into_iter().filter(|c| named(self.options, c.as_str_v1())) {
            let path = own.lines().find_map(|line| {
                let (_, line) = line.split_once(':')?;
                let (controllers, path) = line.split_once(':')?;
                named(controllers, controller.as_str_v1()).then_some(path)
            });
            if let Some(hierarchy) = path.and_then(|path| self.hierarchy(path)) {
                found.entry(controller).or_insert(hierarchy);
            }
        }
    }
}

/// Blanks and the like are written as octal numbers there.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(mount: &str, own: &str) -> Hierarchy {
        Hierarchy { mount: mount.into(), own: own.into() }
    }

    #[test]
    fn a_unified_host() {
        let info = "24 1 0:21 / /sys rw - sysfs sysfs rw\n\
                    30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        let own = "0::/system.slice/ffrtmp-sup.service/supervisor\n";
        let mounts = Mounts::parse(info, own);
        let wanted = at("/sys/fs/cgroup", "/sys/fs/cgroup/system.slice/ffrtmp-sup.service/supervisor");
        assert_eq!((mounts.unified, mounts.v1.len()), (Some(wanted), 0));
    }

    #[test]
    fn a_hybrid_host_and_controllers_that_share_a_mount() {
        let info = "1 0 0:1 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                    2 0 0:2 / /sys/fs/cgroup/blkio rw - cgroup cgroup rw,blkio\n\
                    3 0 0:3 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
                    4 0 0:4 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let own = "4:blkio:/\n3:cpu,cpuacct:/a/b\n1:name=systemd:/x\n0::/\n";
        let mounts = Mounts::parse(info, own);
        assert_eq!(mounts.unified, Some(at("/sys/fs/cgroup/unified", "/sys/fs/cgroup/unified")));
        let cpu = at("/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct/a/b");
        assert_eq!(mounts.v1.get(&Controller::Cpu), Some(&cpu));
        assert_eq!(mounts.v1.get(&Controller::Cpuacct), Some(&cpu));
        assert!(mounts.v1.contains_key(&Controller::Io) && !mounts.v1.contains_key(&Controller::Memory));
    }

    #[test]
    fn a_container_sees_a_part_of_the_hierarchy() {
        let info = "30 24 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        let own = |path| Mounts::parse(info, &format!("0::{path}\n")).unified;
        assert_eq!(own("/docker/abc/x"), Some(at("/sys/fs/cgroup", "/sys/fs/cgroup/x")));
        assert_eq!(own("/docker/other"), None);
        let info = "30 24 0:26 / /sys/fs/cg\\040roup rw - cgroup2 cgroup rw\n";
        assert_eq!(Mounts::parse(info, "0::/../../x\n").unified, None);
        assert_eq!(Mounts::parse(info, "0::/\n").unified, Some(at("/sys/fs/cg roup", "/sys/fs/cg roup")));
    }
}
