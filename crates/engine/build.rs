//! Compiles the fused CUDA kernels, in builds with the feature `cuda`.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "cuda")]
    compile_kernels();
}

/// Compiles for the same compute capability as candle's kernels: that of `CUDA_COMPUTE_CAP`, or of this machine's GPU.
#[cfg(feature = "cuda")]
fn compile_kernels() {
    let source = "src/model/fused/step.cu";
    let compiled = cudaforge::KernelBuilder::new()
        .source_files([source])
        .args(["-std=c++17", "-O3"])
        .build_ptx();
    if let Err(why) = compiled {
        println!("cargo::error=cannot compile {source}: {why}; deploy/build-cuda.sh sets nvcc up");
    }
    match cudaforge::detect_compute_cap() {
        Ok(built) => println!("cargo::rustc-env=ENGINE_COMPUTE_CAP={}", built.base()),
        Err(why) => println!("cargo::error=set CUDA_COMPUTE_CAP, as in CUDA_COMPUTE_CAP=89: {why}"),
    }
}
