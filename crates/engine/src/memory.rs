//! How much memory this process may still take: on the CPU the least of what the machine has available and what each of
//! its memory groups (cgroups, version 1 or 2) has left, on a GPU what nobody uses.
//!
//! Everything is read from files below a root, which tests replace by a tree of their own. `load` and `cache_budget`
//! decide what to do with the figure.

mod groups;
#[cfg(test)]
mod tests;

use std::{fmt, fs, path::Path};

use bytesize::ByteSize;
use candle_core::Device;

use crate::device;

/// Memory that this process may still take, and what limits it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsableMemory {
    /// In bytes.
    pub bytes: u64,
    /// What sets the limit.
    pub limit: MemoryLimit,
}

/// What limits the memory of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemoryLimit {
    /// What the machine has available without swapping.
    Machine,
    /// A memory group that the process is in, directly or through groups within it.
    Group {
        /// Its path in the hierarchy, as in /proc/self/cgroup.
        path: String,
        /// Memory that all processes in it may take together, in bytes.
        limit_bytes: u64,
    },
    /// What a GPU has free.
    Gpu {
        /// Its name: "cuda:0".
        device: String,
    },
}

impl MemoryLimit {
    /// Returns what helps if a model needs more.
    pub(crate) fn remedy(&self) -> &'static str {
        match self {
            MemoryLimit::Machine | MemoryLimit::Group { .. } => {
                "free some or use a smaller model or quantisation"
            }
            MemoryLimit::Gpu { .. } => {
                "end other programs that use the GPU, use a smaller model or quantisation, or a server that spreads \
                 the model over several GPUs (--upstream)"
            }
        }
    }
}

impl fmt::Display for UsableMemory {
    /// Writes it as in "11.2 GiB left in the machine".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left = in_words(self.bytes);
        match &self.limit {
            MemoryLimit::Machine => write!(f, "{left} left in the machine"),
            MemoryLimit::Group { path, limit_bytes } => {
                let limit = in_words(*limit_bytes);
                write!(f, "{left} left in the memory group {path} (limit {limit})")
            }
            MemoryLimit::Gpu { device } => write!(f, "{left} left on {device}"),
        }
    }
}

/// Returns the memory that may still be used on a device, with `root` in place of `/`. `None` if it is unknown, as with
/// Metal.
pub(crate) fn usable(device: &Device, root: Option<&Path>) -> Option<UsableMemory> {
    if !device.is_cpu() {
        let bytes = device::free_bytes(device)?;
        return Some(UsableMemory {
            bytes,
            limit: MemoryLimit::Gpu { device: device::name(device) },
        });
    }
    usable_below(root.unwrap_or(Path::new("/")))
}

fn usable_below(root: &Path) -> Option<UsableMemory> {
    let machine = meminfo(root).or_else(told_by_system);
    let machine = machine.map(|bytes| UsableMemory { bytes, limit: MemoryLimit::Machine });
    machine.into_iter().chain(groups::usable(root)).min_by_key(|usable| usable.bytes)
}

/// Returns `MemAvailable` of Linux (proc_meminfo(5)), in bytes: free memory and what the kernel can give back.
fn meminfo(root: &Path) -> Option<u64> {
    let text = read(&root.join("proc/meminfo"))?;
    let rest = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = rest.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Reads a file of the system, where names may hold any bytes.
fn read(path: &Path) -> Option<String> {
    Some(String::from_utf8_lossy(&fs::read(path).ok()?).into_owned())
}

/// Asks the system where there is no /proc.
#[cfg(not(target_os = "linux"))]
fn told_by_system() -> Option<u64> {
    let mut system = sysinfo::System::new();
    system.refresh_memory();
    Some(system.available_memory()).filter(|bytes| *bytes > 0)
}

#[cfg(target_os = "linux")]
fn told_by_system() -> Option<u64> {
    None
}

/// Returns a size as people write it: "512 B", "1.5 MiB".
pub(crate) fn in_words(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}
