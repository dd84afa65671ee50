//! The limits of the control group that the process is in, as containers and systemd set them.
//!
//! Version 2 has one hierarchy with `memory.max` and `cpu.max` in each group; version 1 has one for each controller, with
//! `memory.limit_in_bytes` and `cpu.cfs_quota_us`. A group has no more than those above it leave, so all of them are read
//! as far as they can be seen (<https://docs.kernel.org/admin-guide/cgroup-v2.html>, and `cgroup-v1/`).

use std::{
    fs,
    path::{Path, PathBuf},
};

/// What a control group allows; nothing where it has no limit.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Limits {
    /// Bytes of memory.
    pub(super) memory: Option<u64>,
    /// Processors, whole and parts.
    pub(super) processors: Option<f64>,
}

/// The limits of this process.
pub(super) fn limits() -> Limits {
    limits_under(Path::new("/"))
}

/// The limits as the files below `root` have them.
fn limits_under(root: &Path) -> Limits {
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let groups = read("proc/self/cgroup");
    let mounts = read("proc/self/mountinfo");
    let mut limits = Limits::default();
    for mount in mounts.lines().filter_map(Mount::parse) {
        let Some(group) = groups.lines().find_map(|line| mount.group_in(line)) else {
            continue;
        };
        for directory in mount.directories(root, group) {
            limits.narrow(&mount, &directory);
        }
    }
    limits
}

impl Limits {
    fn narrow(&mut self, mount: &Mount<'_>, directory: &Path) {
        let read = |name: &str| fs::read_to_string(directory.join(name)).ok();
        let (memory, processors) = match mount.unified {
            true => (read("memory.max"), read("cpu.max")),
            false => (read("memory.limit_in_bytes"), quota_and_period(&read)),
        };
        let memory = memory.and_then(|text| text.trim().parse().ok());
        self.memory = smaller(self.memory, memory, u64::min);
        let processors = processors.and_then(|text| share(&text));
        self.processors = smaller(self.processors, processors, f64::min);
    }
}

/// Both numbers of version 1 as version 2 writes them.
fn quota_and_period(read: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let (quota, period) = (read("cpu.cfs_quota_us")?, read("cpu.cfs_period_us")?);
    Some(format!("{} {}", quota.trim(), period.trim()))
}

/// `150000 100000` is one processor and a half; `max 100000` and `-1 100000` are no limit.
fn share(text: &str) -> Option<f64> {
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period) = (quota.parse::<f64>().ok()?, period.parse::<f64>().ok()?);
    (quota > 0.0 && period > 0.0).then_some(quota / period)
}

fn smaller<T>(one: Option<T>, other: Option<T>, min: fn(T, T) -> T) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(min(one, other)),
        (one, other) => one.or(other),
    }
}

/// A place where control groups can be seen.
struct Mount<'a> {
    /// The group that stands at the place.
    root: &'a str,
    /// The place.
    point: &'a str,
    /// Version 2.
    unified: bool,
    /// The controllers of version 1, among other words.
    options: &'a str,
}

impl<'a> Mount<'a> {
    /// Reads a line of `mountinfo` (`proc_pid_mountinfo(5)`): `29 22 0:26 /root /point options - type source options`.
    fn parse(line: &'a str) -> Option<Self> {
        let (place, kind) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (root, point) = (place.next()?, place.next()?);
        let mut kind = kind.split(' ');
        let unified = match kind.next()? {
            "cgroup2" => true,
            "cgroup" => false,
            _ => return None,
        };
        Some(Self {
            root,
            point,
            unified,
            options: kind.nth(1).unwrap_or_default(),
        })
    }

    /// The process's group, if this line of `/proc/self/cgroup` (`id:controllers:path`) is about this hierarchy.
    fn group_in(&self, line: &'a str) -> Option<&'a str> {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, group) = (fields.next()?, fields.next()?);
        let mine = |name: &str| self.options.split(',').any(|option| option == name);
        let same = match self.unified {
            true => controllers.is_empty(),
            false => {
                !controllers.is_empty()
                    && controllers.split(',').all(mine)
                    && controllers
                        .split(',')
                        .any(|name| name == "memory" || name == "cpu")
            }
        };
        same.then_some(group)
    }

    /// The directories of the group and of all above it that can be seen.
    fn directories(&self, root: &Path, group: &str) -> Vec<PathBuf> {
        let point = root.join(self.point.trim_start_matches('/'));
        // A container may see its own group as the top though it is named by its place outside.
        let below = Path::new(group).strip_prefix(self.root);
        let below = below.unwrap_or(Path::new(""));
        below.ancestors().map(|below| point.join(below)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A root with these files in it.
    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    fn limits_of(files: &[(&str, &str)]) -> Limits {
        limits_under(root(files).path())
    }

    const V2: &str = "24 22 0:21 / /proc rw - proc proc rw\n\
                      29 22 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn version_2_is_read_in_the_group_of_the_process() {
        let limits = limits_of(&[
            ("proc/self/cgroup", "0::/system.slice/leveret.service\n"),
            ("proc/self/mountinfo", V2),
            (
                "sys/fs/cgroup/system.slice/leveret.service/memory.max",
                "536870912\n",
            ),
            (
                "sys/fs/cgroup/system.slice/leveret.service/cpu.max",
                "150000 100000\n",
            ),
        ]);
        assert_eq!(limits.memory, Some(536_870_912));
        assert_eq!(limits.processors, Some(1.5));
    }

    #[test]
    fn a_group_above_may_leave_less() {
        let limits = limits_of(&[
            ("proc/self/cgroup", "0::/pod/container\n"),
            ("proc/self/mountinfo", V2),
            ("sys/fs/cgroup/pod/container/memory.max", "max\n"),
            ("sys/fs/cgroup/pod/container/cpu.max", "400000 100000\n"),
            ("sys/fs/cgroup/pod/memory.max", "1000\n"),
            ("sys/fs/cgroup/pod/cpu.max", "200000 100000\n"),
        ]);
        assert_eq!(limits.memory, Some(1000));
        assert_eq!(limits.processors, Some(2.0));
    }

    #[test]
    fn a_container_sees_its_group_at_the_top() {
        for group in ["0::/\n", "0::/../outside\n", "0::/docker/abc\n"] {
            let limits = limits_of(&[
                ("proc/self/cgroup", group),
                (
                    "proc/self/mountinfo",
                    "29 22 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n",
                ),
                ("sys/fs/cgroup/memory.max", "1000\n"),
                ("sys/fs/cgroup/cpu.max", "max 100000\n"),
            ]);
            assert_eq!(limits.memory, Some(1000), "{group}");
            assert_eq!(limits.processors, None);
        }
    }

    #[test]
    fn version_1_has_a_hierarchy_for_each_controller() {
        let limits = limits_of(&[
            (
                "proc/self/cgroup",
                "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n",
            ),
            (
                "proc/self/mountinfo",
                "31 22 0:27 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n\
                 32 22 0:28 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n\
                 33 22 0:29 /docker/abc /sys/fs/cgroup/systemd ro - cgroup cgroup rw,name=systemd\n",
            ),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "268435456\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "50000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
        ]);
        assert_eq!(limits.memory, Some(268_435_456));
        assert_eq!(limits.processors, Some(0.5));
    }

    #[test]
    fn version_1_without_limits_has_none_that_counts() {
        let limits = limits_of(&[
            ("proc/self/cgroup", "5:memory:/\n4:cpu:/\n"),
            (
                "proc/self/mountinfo",
                "31 22 0:27 / /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n\
                 32 22 0:28 / /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu\n",
            ),
            (
                "sys/fs/cgroup/memory/memory.limit_in_bytes",
                "9223372036854771712\n",
            ),
            ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
        ]);
        // More than any machine has: the machine's memory is what counts.
        assert_eq!(limits.memory, Some(9_223_372_036_854_771_712));
        assert_eq!(limits.processors, None);
    }

    #[test]
    fn without_control_groups_there_are_no_limits() {
        assert_eq!(limits_of(&[]), Limits::default());
        let limits = limits_of(&[("proc/self/cgroup", "0::/\n"), ("proc/self/mountinfo", V2)]);
        assert_eq!(limits, Limits::default());
    }
}
