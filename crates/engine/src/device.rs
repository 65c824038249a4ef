//! The devices that models are computed on. What a GPU needs besides tensors is in `cuda`; in builds without that
//! feature, no CUDA device can exist.

#[cfg(feature = "cuda")]
mod cuda;

use candle_core::{DType, Device};

/// Why a device cannot be used. The message is part of a line that names the device.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DeviceError {
    /// The feature is missing.
    #[error("this program was built without the feature {0}")]
    NotBuilt(&'static str),
    /// The driver refuses.
    #[error("{0}")]
    Driver(String),
    /// The program holds code for other GPUs. It would start, and compute wrong numbers: quantised products are
    /// compiled for one architecture, and their launches report no error on another one.
    #[error(
        "this program was built for compute capability {built}, and {name} has {found} (build with \
         CUDA_COMPUTE_CAP={})",
        found.major * 10 + found.minor
    )]
    OtherBuild {
        /// What the program was built for.
        built: ComputeCapability,
        /// The GPU's name.
        name: String,
        /// What the GPU has.
        found: ComputeCapability,
    },
}

/// The generation of an NVIDIA GPU, as in "9.0".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ComputeCapability {
    /// The architecture.
    pub major: u32,
    /// Its variant.
    pub minor: u32,
}

impl std::fmt::Display for ComputeCapability {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The first generation with bf16.
const FIRST_WITH_BF16: ComputeCapability = ComputeCapability { major: 8, minor: 0 };
/// Systems on a chip (Jetson), which share no code with other GPUs of their generation (CUDA C++ Programming Guide,
/// section "Binary Compatibility").
const ON_A_CHIP: [ComputeCapability; 4] = [
    ComputeCapability { major: 5, minor: 3 },
    ComputeCapability { major: 6, minor: 2 },
    ComputeCapability { major: 7, minor: 2 },
    ComputeCapability { major: 8, minor: 7 },
];
/// From this generation on, code is compiled for one architecture with its own instructions ("sm_90a").
const FIRST_EXACT: ComputeCapability = ComputeCapability { major: 9, minor: 0 };

impl ComputeCapability {
    /// Reads it without the dot: "90".
    #[cfg_attr(not(feature = "cuda"), allow(dead_code, reason = "builds for GPUs name theirs"))]
    fn parse(text: &str) -> Option<Self> {
        let number: u32 = text.parse().ok()?;
        Some(ComputeCapability { major: number / 10, minor: number % 10 })
    }

    fn computes_in(self, dtype: DType) -> bool {
        dtype != DType::BF16 || self >= FIRST_WITH_BF16
    }

    /// Returns whether a GPU of this generation runs code that was compiled for `built`.
    #[cfg_attr(not(feature = "cuda"), allow(dead_code, reason = "builds for GPUs compare"))]
    fn runs(self, built: ComputeCapability) -> bool {
        let is_exact =
            built >= FIRST_EXACT || [self, built].iter().any(|it| ON_A_CHIP.contains(it));
        self == built || (!is_exact && self.major == built.major && self.minor > built.minor)
    }
}

/// Opens an NVIDIA GPU by its number.
///
/// All threads share one stream of work, in the order in which they submit it, so nothing has to be synchronised by
/// events. Freed memory stays with the process, since the next pass needs as much.
///
/// # Errors
/// If there is no such GPU, or the program was built for others.
pub fn open_cuda(number: usize) -> Result<Device, DeviceError> {
    #[cfg(feature = "cuda")]
    return cuda::open(number);
    #[cfg(not(feature = "cuda"))]
    {
        let _ = number;
        Err(DeviceError::NotBuilt("cuda"))
    }
}

/// Opens Apple's GPU.
///
/// # Errors
/// If there is none, or the program was built without the feature.
pub fn open_metal() -> Result<Device, DeviceError> {
    if !candle_core::utils::metal_is_available() {
        return Err(DeviceError::NotBuilt("metal"));
    }
    Device::new_metal(0).map_err(|error| DeviceError::Driver(one_line(&error)))
}

/// Returns the memory of a GPU that nobody uses, in bytes; `None` if the device does not tell.
pub(crate) fn free_bytes(device: &Device) -> Option<u64> {
    #[cfg(feature = "cuda")]
    return cuda::free_bytes(device);
    #[cfg(not(feature = "cuda"))]
    {
        let _ = device;
        None
    }
}

/// Returns why a device cannot compute in a dtype; `None` if it can.
pub(crate) fn cannot_compute_in(dtype: DType, device: &Device) -> Option<String> {
    let found = capability(device)?;
    (!found.computes_in(dtype)).then(|| {
        format!(
            "{} has compute capability {found}, and bf16 begins with {FIRST_WITH_BF16}; use --dtype f16, or a GGUF \
             file",
            name(device)
        )
    })
}

#[cfg(feature = "cuda")]
fn capability(device: &Device) -> Option<ComputeCapability> {
    cuda::capability(device)
}

#[cfg(not(feature = "cuda"))]
fn capability(_: &Device) -> Option<ComputeCapability> {
    None
}

/// Returns a device's name, as `--device` takes it.
pub(crate) fn name(device: &Device) -> String {
    use candle_core::DeviceLocation;
    match device.location() {
        DeviceLocation::Cpu => "cpu".to_owned(),
        DeviceLocation::Cuda { gpu_id } => format!("cuda:{gpu_id}"),
        DeviceLocation::Metal { gpu_id } => format!("metal:{gpu_id}"),
    }
}

/// Returns the first line of a tensor library's error, which may carry a backtrace.
pub(crate) fn one_line(error: &candle_core::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capability(text: &str) -> ComputeCapability {
        ComputeCapability::parse(text).unwrap()
    }

    #[test]
    fn a_gpu_runs_what_was_compiled_for_it_or_for_an_earlier_one_of_its_generation() {
        for (gpu, built, runs) in [
            ("80", "80", true),
            ("86", "80", true),
            ("89", "80", true),
            ("80", "86", false),
            ("90", "80", false),
            ("90", "90", true),
            ("100", "90", false),
            ("103", "100", false),
            ("87", "80", false),
            ("87", "87", true),
            ("89", "87", false),
            ("75", "75", true),
        ] {
            assert_eq!(capability(gpu).runs(capability(built)), runs, "{gpu} with {built}");
        }
        assert_eq!(ComputeCapability::parse("native"), None);
    }

    #[test]
    fn bf16_begins_with_the_eighth_generation() {
        for (gpu, dtype, computes) in [
            ("75", DType::BF16, false),
            ("75", DType::F16, true),
            ("80", DType::BF16, true),
            ("121", DType::BF16, true),
        ] {
            assert_eq!(capability(gpu).computes_in(dtype), computes, "{gpu} in {dtype:?}");
        }
    }

    #[test]
    fn a_build_for_another_gpu_says_what_to_build() {
        let why = DeviceError::OtherBuild {
            built: capability("90"),
            name: "NVIDIA L4".to_owned(),
            found: capability("89"),
        };
        let line = "this program was built for compute capability 9.0, and NVIDIA L4 has 8.9 (build with \
                    CUDA_COMPUTE_CAP=89)";
        assert_eq!(why.to_string(), line);
    }
}
