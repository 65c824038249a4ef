//! NVIDIA GPUs: what candle leaves to its users.

use candle_core::{Device, cuda_backend::cudarc};
use cudarc::driver::{CudaContext, DriverError, result, sys};

use super::{ComputeCapability, DeviceError, one_line};

/// What this program was compiled for, as the build script says it: "90".
const BUILT_FOR: &str = env!("ENGINE_COMPUTE_CAP");

/// See [`super::open_cuda`].
pub(super) fn open(number: usize) -> Result<Device, DeviceError> {
    let driver = |error: DriverError| DeviceError::Driver(error.to_string());
    let device = Device::new_cuda_with_stream(number)
        .map_err(|error| DeviceError::Driver(one_line(&error)))?;
    let cuda = device.as_cuda_device().map_err(|error| DeviceError::Driver(one_line(&error)))?;
    let stream = cuda.cuda_stream();
    let context = stream.context();
    let found = capability_of(context).map_err(driver)?;
    if let Some(built) = ComputeCapability::parse(BUILT_FOR)
        && !found.runs(built)
    {
        let name = context.name().map_err(driver)?;
        return Err(DeviceError::OtherBuild { built, name, found });
    }
    tune(context, cuda).map_err(driver)?;
    Ok(device)
}

/// Turns off events between streams, of which there is one, and lets the pool keep freed memory.
#[expect(unsafe_code, reason = "two settings of the driver that have no safe interface")]
fn tune(context: &CudaContext, cuda: &candle_core::CudaDevice) -> Result<(), DriverError> {
    // SAFETY: everything is submitted to the device's one stream, also what frees memory, so no two streams can use a
    // tensor at once.
    unsafe { cuda.disable_event_tracking() };
    let mut keep = u64::MAX;
    let threshold = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    // SAFETY: the device is open, the pool is its own, and this attribute is a u64 (cuMemPoolSetAttribute).
    let set = unsafe {
        result::device::get_default_mem_pool(context.cu_device()).and_then(|pool| {
            result::mem_pool::set_attribute(pool, threshold, (&raw mut keep).cast())
        })
    };
    // Devices without pools allocate in another way.
    set.or_else(|error| match error {
        DriverError(sys::CUresult::CUDA_ERROR_NOT_SUPPORTED) => Ok(()),
        error => Err(error),
    })
}

/// Returns the memory that is free on the device, whoever uses the rest.
pub(super) fn free_bytes(device: &Device) -> Option<u64> {
    let stream = device.as_cuda_device().ok()?.cuda_stream();
    let (free, _) = stream.context().mem_get_info().ok()?;
    Some(free as u64)
}

/// Returns the device's generation; `None` for other kinds of devices.
pub(super) fn capability(device: &Device) -> Option<ComputeCapability> {
    let stream = device.as_cuda_device().ok()?.cuda_stream();
    capability_of(stream.context()).ok()
}

fn capability_of(context: &CudaContext) -> Result<ComputeCapability, DriverError> {
    let (major, minor) = context.compute_capability()?;
    Ok(ComputeCapability { major: major.unsigned_abs(), minor: minor.unsigned_abs() })
}
