//! How much memory a device has left: what is too big is said before it is loaded.

use bytesize::ByteSize;
use candle_core::Device;

/// Memory that is free for this process on the device, in bytes: on the CPU what the system can give
/// without swapping, within the limit of a container. `None` where it is not known.
pub(crate) fn available_bytes(device: &Device) -> Option<u64> {
    if !device.is_cpu() {
        return None;
    }
    let mut system = sysinfo::System::new();
    system.refresh_memory();
    let free = system.available_memory();
    let free = system.cgroup_limits().map_or(free, |limits| free.min(limits.free_memory));
    (free > 0).then_some(free)
}

/// A size as people write it: "512 B", "1.5 MiB".
pub(crate) fn in_words(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}
