//! Trees of files as machines, systemd, Slurm and containers have them.

use std::fs;

use tempfile::TempDir;

use super::*;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

const V2_MOUNT: &str =
    "30 23 0:26 / /sys/fs/cgroup rw,nosuid,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate";
const V1_MOUNT: &str = "35 32 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory";

/// A directory used in place of `/`, on a machine with 8 GiB available.
struct Tree(TempDir);

impl Tree {
    fn new(own: &str, mounts: &str) -> Tree {
        let tree = Tree(TempDir::new().unwrap());
        tree.file(
            "proc/meminfo",
            "MemTotal: 16777216 kB\nMemFree: 1 kB\nMemAvailable: 8388608 kB\n",
        );
        tree.file("proc/self/cgroup", own);
        tree.file(
            "proc/self/mountinfo",
            &format!("23 1 0:21 / /sys rw - sysfs sysfs rw\n{mounts}\n"),
        );
        tree
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Writes a version 2 group below /sys/fs/cgroup: its limit, what is used, and how much of that is page cache.
    fn v2(&self, path: &str, max: &str, used: u64, cache: u64) {
        let file = |name: &str, text: &str| self.file(&format!("sys/fs/cgroup{path}/{name}"), text);
        file("memory.max", &format!("{max}\n"));
        file("memory.high", "max\n");
        file("memory.current", &format!("{used}\n"));
        let (active, rest) = (cache / 2, cache - cache / 2);
        let stat = format!(
            "anon 7\nfile {cache}\nshmem 5\ninactive_file {rest}\nactive_file {active}\n\
             slab_reclaimable 0\n"
        );
        file("memory.stat", &stat);
    }

    /// Writes a version 1 group below /sys/fs/cgroup/memory. The counters without `total_` cover the group alone.
    fn v1(&self, path: &str, limit: u64, used: u64, cache: u64) {
        let file =
            |name: &str, text: &str| self.file(&format!("sys/fs/cgroup/memory{path}/{name}"), text);
        file("memory.limit_in_bytes", &format!("{limit}\n"));
        file("memory.usage_in_bytes", &format!("{used}\n"));
        file("memory.use_hierarchy", "1\n");
        let (active, rest) = (cache / 2, cache - cache / 2);
        let stat = format!(
            "inactive_file 0\nactive_file 0\nhierarchical_memory_limit {UNLIMITED}\n\
             total_inactive_file {rest}\ntotal_active_file {active}\n"
        );
        file("memory.stat", &stat);
    }

    fn usable(&self) -> UsableMemory {
        usable_below(self.0.path()).unwrap()
    }

    /// Returns the usable bytes, and the group that limits them; "" is the machine.
    fn least(&self) -> (u64, String) {
        let usable = self.usable();
        match usable.limit {
            MemoryLimit::Machine => (usable.bytes, String::new()),
            MemoryLimit::Group { path, .. } => (usable.bytes, path),
            MemoryLimit::Gpu { device } => panic!("a limit of {device} in the system's files"),
        }
    }
}

/// What version 1 reports if there is no limit.
const UNLIMITED: u64 = 9_223_372_036_854_771_712;

fn group(bytes: u64, path: &str) -> (u64, String) {
    (bytes, path.to_owned())
}

#[test]
fn without_groups_it_is_what_the_machine_has_available() {
    let tree = Tree::new("0::/\n", V2_MOUNT);
    assert_eq!(tree.usable().to_string(), "8.0 GiB left in the machine");
    let tree = Tree::new("", "");
    assert_eq!(tree.least(), group(8 * GIB, ""));
    fs::remove_file(tree.0.path().join("proc/meminfo")).unwrap();
    if cfg!(target_os = "linux") {
        assert_eq!(usable_below(tree.0.path()), None);
    }
    assert_eq!(usable(&Device::Cpu, Some(tree.0.path())), usable_below(tree.0.path()));
}

#[test]
fn a_service_of_systemd_has_its_own_limit_and_its_slices() {
    let own = "/system.slice/small-node.service";
    let tree = Tree::new(&format!("0::{own}\n"), V2_MOUNT);
    tree.v2("/system.slice", "max", 3 * GIB, 0);
    tree.v2(own, "1073741824", 100 * MIB, 0);
    assert_eq!(tree.least(), group(924 * MIB, own));
    let line =
        "924.0 MiB left in the memory group /system.slice/small-node.service (limit 1.0 GiB)";
    assert_eq!(tree.usable().to_string(), line);
    // The slice's limit is for all its services.
    tree.v2("/system.slice", "4294967296", 4 * GIB - 300 * MIB, 0);
    assert_eq!(tree.least(), group(300 * MIB, "/system.slice"));
    // MemoryHigh= is a limit too.
    tree.file(&format!("sys/fs/cgroup{own}/memory.high"), "314572800\n");
    assert_eq!(tree.least(), group(200 * MIB, own));
    // More is used than is allowed: a limit that was lowered.
    tree.v2(own, "1048576", 100 * MIB, 0);
    assert_eq!(tree.least(), group(0, own));
}

#[test]
fn a_job_of_slurm_has_the_limits_of_all_its_steps() {
    let job = "/system.slice/slurmstepd.scope/job_7";
    let tree = Tree::new(&format!("0::{job}/step_0/user/task_0\n"), V2_MOUNT);
    tree.v2(&format!("{job}/step_0/user/task_0"), "max", 50 * MIB, 0);
    tree.v2(&format!("{job}/step_0"), "max", 60 * MIB, 0);
    tree.v2(job, "2147483648", 90 * MIB, 0);
    assert_eq!(tree.least(), group(2 * GIB - 90 * MIB, job));

    let job = "/slurm/uid_1000/job_7";
    let own =
        format!("5:cpuset:/slurm\n4:cpu,cpuacct:/slurm\n3:memory:{job}/step_0/task_0\n0::/\n");
    let tree = Tree::new(&own, V1_MOUNT);
    for path in ["", "/slurm", "/slurm/uid_1000", &format!("{job}/step_0/task_0")] {
        tree.v1(path, UNLIMITED, GIB, 0);
    }
    tree.v1(job, 2 * GIB, 900 * MIB, 0);
    tree.v1(&format!("{job}/step_0"), GIB, 800 * MIB, 0);
    assert_eq!(tree.least(), group(224 * MIB, &format!("{job}/step_0")));
}

#[test]
fn page_cache_is_not_used_memory() {
    let tree = Tree::new("0::/a\n", V2_MOUNT);
    tree.v2("/a", "1073741824", 1000 * MIB, 900 * MIB);
    assert_eq!(tree.least(), group(924 * MIB, "/a"));
    let tree = Tree::new("4:memory:/a\n0::/\n", V1_MOUNT);
    tree.v1("/a", GIB, 1000 * MIB, 900 * MIB);
    assert_eq!(tree.least(), group(924 * MIB, "/a"));
    // Files in memory (shmem) are not a cache of anything.
    tree.v1("/a", GIB, 1000 * MIB, 0);
    assert_eq!(tree.least(), group(24 * MIB, "/a"));
}

#[test]
fn a_container_sees_its_own_group_as_the_root() {
    let tree = Tree::new("0::/\n", V2_MOUNT);
    tree.v2("", "536870912", 12 * MIB, 0);
    assert_eq!(tree.least(), group(500 * MIB, "/"));
    // Without a namespace of groups: the path is the host's, and only the container's part is mounted.
    let mount = "35 32 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory";
    let tree = Tree::new("4:memory:/docker/abc/inner\n", mount);
    tree.v1("", 512 * MIB, 12 * MIB, 0);
    tree.v1("/inner", UNLIMITED, 12 * MIB, 0);
    assert_eq!(tree.least(), group(500 * MIB, "/docker/abc"));
}

#[test]
fn the_group_that_covers_the_hierarchy_is_the_one_that_is_read() {
    let cover = "61 35 0:32 /a /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory";
    let tree = Tree::new("4:memory:/a\n", &format!("{V1_MOUNT}\n{cover}"));
    tree.v1("", 512 * MIB, 12 * MIB, 0);
    // Hidden by the mount that covers it.
    tree.v1("/a", MIB, 0, 0);
    assert_eq!(tree.least(), group(500 * MIB, "/a"));
}

#[test]
fn groups_that_the_process_is_not_in_do_not_count() {
    let mount = "35 32 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory";
    for own in
        ["4:memory:/docker/other\n", "4:memory:/docker/abc/../other\n", "4:cpu:/docker/abc\n"]
    {
        let tree = Tree::new(own, mount);
        tree.v1("", MIB, 0, 0);
        assert_eq!(tree.least(), group(8 * GIB, ""), "{own}");
    }
}

#[test]
fn limits_of_version_1_that_are_not_seen_or_do_not_hold() {
    let tree = Tree::new("4:memory:/a/b\n", V1_MOUNT);
    tree.v1("/a", 300 * MIB, 12 * MIB, 0);
    tree.v1("/a/b", UNLIMITED, 12 * MIB, 0);
    assert_eq!(tree.least(), group(288 * MIB, "/a"));
    // A group that does not count what the groups within it use.
    tree.file("sys/fs/cgroup/memory/a/memory.use_hierarchy", "0\n");
    assert_eq!(tree.least(), group(8 * GIB, ""));
    // The limit of a group outside of what is mounted.
    let stat = format!("hierarchical_memory_limit {}\n", 100 * MIB);
    tree.file("sys/fs/cgroup/memory/a/b/memory.stat", &stat);
    assert_eq!(tree.least(), group(88 * MIB, "/a/b"));
}

#[test]
fn names_may_hold_anything() {
    let mount = "30 23 0:26 / /sys/fs/my\\040groups\\134 rw - cgroup2 none rw";
    let tree = Tree::new("0::/user:1/a b\n", mount);
    tree.file("sys/fs/my groups\\/user:1/a b/memory.max", "1048576");
    assert_eq!(tree.least(), group(MIB, "/user:1/a b"));
    for text in ["garbage", "1 2", "1 2 3 4 5 6 - cgroup2", "\u{fffd} - -", ":::", "0:"] {
        assert_eq!(Tree::new(text, text).least(), group(8 * GIB, ""), "{text}");
    }
}
