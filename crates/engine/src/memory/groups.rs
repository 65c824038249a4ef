//! The memory groups (cgroups) of this process: where they are, and what each has left.
//!
//! /proc/self/cgroup says which group of each hierarchy the process is in, /proc/self/mountinfo where hierarchies can
//! be read (cgroups(7), proc(5)). A limit covers the group and all groups within it, so every group up to the
//! hierarchy's root counts. Page cache and reclaimable slabs do not count as used: the kernel frees them before it
//! refuses anything.

use std::path::{Component, Path, PathBuf};

use super::{MemoryLimit, UsableMemory, read};

/// The two kinds of hierarchies, which give the same figures under different names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

/// A mount point of a hierarchy or of a part of one.
#[derive(Debug)]
struct Mount {
    id: String,
    parent: String,
    /// The group that the mount point shows.
    group: PathBuf,
    point: PathBuf,
    /// `None` if it is not a hierarchy with memory limits.
    version: Option<Version>,
}

/// Returns what each group that this process is in has left, for groups with a limit. `root` is used in place of `/`.
pub(super) fn usable(root: &Path) -> Vec<UsableMemory> {
    let own = read(&root.join("proc/self/cgroup")).unwrap_or_default();
    let mounts = read(&root.join("proc/self/mountinfo")).unwrap_or_default();
    let mounts: Vec<Mount> = mounts.lines().filter_map(mount).collect();
    let mut found = Vec::new();
    for (version, path) in own.lines().filter_map(own_group) {
        for mount in mounts.iter().filter(|mount| mount.version == Some(version)) {
            if let Some(below) = below(path, &mount.group)
                && !is_covered(mount, &mounts)
            {
                found.extend(up_to_mount(root, mount, path, below));
            }
        }
    }
    found
}

/// Parses a line of /proc/self/cgroup: `NUMBER:CONTROLLERS:PATH`, where version 2 has no controllers.
fn own_group(line: &str) -> Option<(Version, &Path)> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (controllers, path) = (fields.next()?, fields.next()?);
    let version = match controllers {
        "" => Version::V2,
        _ if controllers.split(',').any(|name| name == "memory") => Version::V1,
        _ => return None,
    };
    Some((version, Path::new(path)))
}

/// Parses a line of /proc/self/mountinfo: number, parent's number, device, root, mount point, options, tags, `-`, file
/// system, source, its own options.
fn mount(line: &str) -> Option<Mount> {
    let (place, kind) = line.split_once(" - ")?;
    let mut place = place.split(' ');
    let (id, parent) = (place.next()?.to_owned(), place.next()?.to_owned());
    let (group, point) = (unescaped(place.nth(1)?), unescaped(place.next()?));
    let mut kind = kind.split(' ');
    let version = match (kind.next()?, kind.nth(1)) {
        ("cgroup2", _) => Some(Version::V2),
        ("cgroup", Some(options)) if options.split(',').any(|name| name == "memory") => {
            Some(Version::V1)
        }
        _ => None,
    };
    Some(Mount { id, parent, group: group.into(), point: point.into(), version })
}

/// Decodes the escapes of mountinfo, which writes white space and the backslash as three octal digits: `\040`.
fn unescaped(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                whole.push(char::from(code));
                whole.push_str(&part[3..]);
            }
            None => {
                whole.push('\\');
                whole.push_str(part);
            }
        }
    }
    whole
}

/// Returns the path from a mount's group to a group in it; `None` if it is not in it.
fn below<'a>(path: &'a Path, group: &Path) -> Option<&'a Path> {
    let way = path.strip_prefix(group).ok()?;
    way.components().all(|part| matches!(part, Component::Normal(_))).then_some(way)
}

/// Returns whether something else is mounted on the same place.
fn is_covered(mount: &Mount, mounts: &[Mount]) -> bool {
    mounts.iter().any(|other| other.parent == mount.id && other.point == mount.point)
}

/// Returns the limits of a group and of those around it, as far up as the mount shows them.
fn up_to_mount(root: &Path, mount: &Mount, path: &Path, below: &Path) -> Vec<UsableMemory> {
    let point = root.join(mount.point.strip_prefix("/").unwrap_or(&mount.point));
    let mut found = Vec::new();
    for (path, way) in path.ancestors().zip(below.ancestors()) {
        let folder = point.join(way);
        if way != below && is_flat(&folder) {
            break;
        }
        if let Some((limit_bytes, bytes)) = left(&folder, mount.version) {
            let path = path.display().to_string();
            found.push(UsableMemory { bytes, limit: MemoryLimit::Group { path, limit_bytes } });
        }
    }
    found
}

/// Returns whether a version 1 group does not count what the groups within it use, which was once the default.
fn is_flat(folder: &Path) -> bool {
    read(&folder.join("memory.use_hierarchy")).is_some_and(|text| text.trim() == "0")
}

/// Returns a group's limit and what is left of it, in bytes; `None` if it has no limit.
fn left(folder: &Path, version: Option<Version>) -> Option<(u64, u64)> {
    let number = |name: &str| read(&folder.join(name))?.trim().parse::<u64>().ok();
    let stat = read(&folder.join("memory.stat")).unwrap_or_default();
    let counter = |name: &str| {
        let value = stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.and_then(|value| value.trim().parse::<u64>().ok())
    };
    // Above memory.high the kernel slows a group down until it hardly moves.
    let (limits, used, given_back) = match version? {
        Version::V1 => (
            [number("memory.limit_in_bytes"), counter("hierarchical_memory_limit")],
            number("memory.usage_in_bytes"),
            ["total_inactive_file", "total_active_file"].as_slice(),
        ),
        Version::V2 => (
            [number("memory.max"), number("memory.high")],
            number("memory.current"),
            ["inactive_file", "active_file", "slab_reclaimable"].as_slice(),
        ),
    };
    let limit = limits.into_iter().flatten().min()?;
    let given_back: u64 = given_back.iter().filter_map(|name| counter(name)).sum();
    let kept = used.unwrap_or(0).saturating_sub(given_back);
    Some((limit, limit.saturating_sub(kept)))
}
