//! Launches the kernels of `step.cu`. Every function here submits work to the device's one stream and returns before it
//! is done, so an address that was read from a tensor stays valid for a kernel that is submitted before the tensor is
//! freed.

use candle_core::{
    CudaDevice, D, DType, Device, Result, Storage, Tensor,
    backend::BackendStorage,
    bail,
    cuda_backend::{
        WrapErr,
        cudarc::driver::{
            CudaFunction, CudaSlice, CudaStream, DevicePtr, LaunchConfig, PushKernelArg,
        },
    },
};
use half::{bf16, f16};
use std::sync::Arc;

use super::{
    FusedAttention,
    tables::{Placed, SPLIT, Tables},
};
use crate::model::{
    architecture::{Activation, HeadNorms},
    cache::Sequence,
    config::{Heads, ModelConfig},
    rope::Angles,
    seam::{BLOCK, Cache as _},
};

/// The kernels, compiled for one architecture by the build script.
const STEP_PTX: &str = include_str!(concat!(env!("OUT_DIR"), "/step.ptx"));
/// Head sizes that attention is compiled for.
const HEAD_DIMS: [usize; 7] = [16, 32, 64, 80, 96, 128, 256];
// step.cu has the same.
const _: () = assert!(BLOCK == 32 && SPLIT == 256);
/// Most query heads that share keys.
const MOST_GROUPED: usize = 16;
/// Up to this many new tokens, a sequence's queries are attended to one by one over the blocks where they lie. More are
/// a prefill, which multiplies matrices.
const FEW_TOKENS: usize = 16;
/// Queries of a prefill that are attended to at once, which limits the memory of their scores.
const QUERY_BLOCK: usize = 128;
/// Threads of a kernel that has a row, or part of a tensor, for each group of threads.
const THREADS: u32 = 256;
const WARP: u32 = 32;
/// Heads that one group of threads finishes, a warp each.
const HEADS_AT_ONCE: usize = 4;

/// The kernels for one model's dtypes and sizes.
#[derive(Debug)]
pub(crate) struct Fused {
    device: CudaDevice,
    sizes: Heads,
    dtype: DType,
    /// Elements of one layer of a cache block, and of its keys.
    layer_elements: u64,
    keys_elements: u64,
    /// Bytes of one position's keys.
    position_bytes: u64,
    kernels: Kernels,
}

#[derive(Debug)]
struct Kernels {
    add_norm: CudaFunction,
    gate: CudaFunction,
    finish_qkv: CudaFunction,
    attend: CudaFunction,
    join: CudaFunction,
    gather: CudaFunction,
    softmax: CudaFunction,
}

/// The tables of a pass, on the device.
pub(crate) struct Places {
    slots: CudaSlice<u64>,
    blocks: CudaSlice<u64>,
    sequence: CudaSlice<u32>,
    seen: CudaSlice<u32>,
    max_blocks: usize,
    max_splits: usize,
}

impl Fused {
    /// Loads the kernels; `None` if there are none for the device or the sizes.
    pub(crate) fn load(
        config: &ModelConfig,
        dtype: DType,
        cache: DType,
        device: &Device,
    ) -> Result<Option<Fused>> {
        let (Device::Cuda(device), Some(t), Some(k)) = (device, letters(dtype), letters(cache))
        else {
            return Ok(None);
        };
        let sizes = config.heads();
        let has_pair = cache == dtype || (dtype, cache) == (DType::F32, DType::F16);
        let has_sizes = HEAD_DIMS.contains(&sizes.head_dim)
            && sizes.heads / sizes.kv_heads <= MOST_GROUPED
            && config.architecture.head_norms != HeadNorms::Whole;
        if !has_pair || !has_sizes {
            return Ok(None);
        }
        let kernel = |name: String| -> Result<CudaFunction> {
            let loaded = device.get_or_load_custom_func(&name, "specthink_step", STEP_PTX)?;
            Ok(loaded.into_cuda_function())
        };
        let dim = sizes.head_dim;
        let kernels = Kernels {
            add_norm: kernel(format!("add_norm_{t}"))?,
            gate: kernel(format!("gate_{t}"))?,
            finish_qkv: kernel(format!("finish_qkv_{t}_{k}"))?,
            attend: kernel(format!("attend_{t}_{k}_{dim}"))?,
            join: kernel(format!("join_{t}_{dim}"))?,
            gather: kernel(format!("gather_{t}_{k}"))?,
            softmax: kernel(format!("softmax_{t}"))?,
        };
        let position = sizes.kv_heads * dim;
        Ok(Some(Fused {
            device: device.clone(),
            sizes,
            dtype,
            layer_elements: (2 * BLOCK * position) as u64,
            keys_elements: (BLOCK * position) as u64,
            position_bytes: (position * cache.size_in_bytes()) as u64,
            kernels,
        }))
    }

    /// Uploads where the new tokens of a pass, and all before them, are in the caches.
    pub(crate) fn places(&self, sequences: &[Sequence<'_>]) -> Result<Places> {
        let placed = sequences.iter().map(|Sequence { cache, tokens }| {
            let blocks = cache.blocks().iter().map(|block| address(block.data()));
            Ok(Placed {
                past: cache.len(),
                tokens: *tokens,
                blocks: blocks.collect::<Result<_>>()?,
            })
        });
        let placed: Vec<Placed> = placed.collect::<Result<_>>()?;
        let tables = Tables::new(&placed, self.position_bytes);
        Ok(Places {
            slots: self.device.clone_htod(&tables.slots)?,
            blocks: self.device.clone_htod(&tables.blocks)?,
            sequence: self.device.clone_htod(&tables.sequence)?,
            seen: self.device.clone_htod(&tables.seen)?,
            max_blocks: tables.max_blocks,
            max_splits: tables.max_splits,
        })
    }

    /// Returns x + y, and its RMS norm; all [tokens, hidden].
    pub(crate) fn add_and_norm(
        &self,
        x: &Tensor,
        y: &Tensor,
        weight: &Tensor,
        eps: f32,
    ) -> Result<(Tensor, Tensor)> {
        let (rows, width) = x.dims2()?;
        let (x, y) = (x.contiguous()?, y.contiguous()?);
        let (sum, normed) = (self.empty(x.dims())?, self.empty(x.dims())?);
        let stream = self.device.cuda_stream();
        let pointers =
            [address(&x)?, address(&y)?, address(weight)?, address(&sum)?, address(&normed)?];
        let width = width as i32;
        let mut launch = stream.launch_builder(&self.kernels.add_norm);
        for pointer in &pointers {
            launch.arg(pointer);
        }
        launch.arg(&width).arg(&eps);
        run(launch, (rows as u32, 1, 1), THREADS)?;
        Ok((sum, normed))
    }

    /// Returns silu(gate) * up or gelu(gate) * up, all [tokens, width]. `gate` and `up` may be columns of one tensor.
    pub(crate) fn gated(
        &self,
        activation: Activation,
        gate: &Tensor,
        up: &Tensor,
    ) -> Result<Tensor> {
        let (rows, width) = gate.dims2()?;
        let (gate, stride) = rows_of(gate)?;
        let (up, up_stride) = rows_of(up)?;
        let (gate, up) = match stride == up_stride {
            true => (gate, up),
            false => (gate.contiguous()?, up.contiguous()?),
        };
        let stride = if stride == up_stride { stride } else { width as u32 };
        let out = self.empty(&[rows, width])?;
        let count = (rows * width) as u64;
        let is_gelu = i32::from(activation == Activation::Gelu);
        let pointers = [address(&gate)?, address(&up)?, address(&out)?];
        let width = width as u32;
        let stream = self.device.cuda_stream();
        let mut launch = stream.launch_builder(&self.kernels.gate);
        for pointer in &pointers {
            launch.arg(pointer);
        }
        launch.arg(&width).arg(&stride).arg(&count).arg(&is_gelu);
        let groups = count.div_ceil(u64::from(THREADS)).min(1 << 20) as u32;
        run(launch, (groups, 1, 1), THREADS)?;
        Ok(out)
    }

    /// Finishes the products of queries, keys and values, writes the caches, and attends. Returns [tokens, heads *
    /// head_dim].
    pub(crate) fn attention(
        &self,
        of_layer: &FusedAttention<'_>,
        products: [Tensor; 3],
        sequences: &[Sequence<'_>],
        places: &Places,
    ) -> Result<Tensor> {
        let queries = self.finish_qkv(of_layer, products, places)?;
        let window = of_layer.window;
        if sequences.iter().all(|it| it.tokens <= FEW_TOKENS) {
            return self.attend_in_place(of_layer.index, window, &queries, places);
        }
        let (mut start, mut mixed) = (0, Vec::with_capacity(sequences.len()));
        for (number, sequence) in sequences.iter().enumerate() {
            let own = queries.narrow(0, start, sequence.tokens)?;
            mixed.push(self.attend_gathered(
                of_layer.index,
                window,
                &own,
                (number, sequence),
                places,
            )?);
            start += sequence.tokens;
        }
        Tensor::cat(&mixed, 0)
    }

    /// Adds biases, normalises and rotates heads, writes keys and values into the caches. Returns the queries, [tokens,
    /// heads, head_dim].
    fn finish_qkv(
        &self,
        of_layer: &FusedAttention<'_>,
        products: [Tensor; 3],
        places: &Places,
    ) -> Result<Tensor> {
        let FusedAttention { index, qkv, head_norms, angles, eps, .. } = of_layer;
        let Heads { heads, kv_heads, head_dim, .. } = self.sizes;
        let tokens = products[0].dim(0)?;
        let mut rows = Vec::with_capacity(3);
        for product in &products {
            rows.push(rows_of(product)?);
        }
        let queries = self.empty(&[tokens, heads, head_dim])?;
        let mut pointers = Vec::new();
        for (product, _) in &rows {
            pointers.push(address(product)?);
        }
        let strides: Vec<u32> = rows.iter().map(|(_, stride)| *stride).collect();
        let mut weights = Vec::new();
        for bias in qkv.layers().iter().map(|it| it.bias.as_ref()) {
            weights.push(address_or_null(bias)?);
        }
        for norm in head_norms {
            weights.push(address_or_null(*norm)?);
        }
        let (cos, sin) = angles.map(Angles::tensors).unzip();
        let half = cos.map_or(Ok(0), |cos| cos.dim(1))? as u32;
        let angles = [address_or_null(cos)?, address_or_null(sin)?];
        let (layer_offset, values_offset) = (self.layer_offset(*index), self.keys_elements);
        let out = address(&queries)?;
        let sizes = [heads, kv_heads, head_dim].map(|size| size as u32);
        let stream = self.device.cuda_stream();
        let mut launch = stream.launch_builder(&self.kernels.finish_qkv);
        for pointer in &pointers {
            launch.arg(pointer);
        }
        for stride in &strides {
            launch.arg(stride);
        }
        for weight in &weights {
            launch.arg(weight);
        }
        launch.arg(eps);
        for angle in &angles {
            launch.arg(angle);
        }
        launch.arg(&half).arg(&places.slots).arg(&layer_offset).arg(&values_offset).arg(&out);
        for size in &sizes {
            launch.arg(size);
        }
        let groups = (heads + 2 * kv_heads).div_ceil(HEADS_AT_ONCE) as u32;
        run(launch, (tokens as u32, groups, 1), WARP * HEADS_AT_ONCE as u32)?;
        Ok(queries)
    }

    /// Attends each query by itself over the blocks where they lie.
    fn attend_in_place(
        &self,
        layer: usize,
        window: Option<usize>,
        queries: &Tensor,
        places: &Places,
    ) -> Result<Tensor> {
        let Heads { heads, kv_heads, head_dim, scale } = self.sizes;
        let tokens = queries.dim(0)?;
        let splits = places.max_splits;
        let of_splits = tokens * heads * splits;
        // `attend` writes every split that `join` reads.
        let partial = empty(&[of_splits, head_dim], DType::F32, queries.device())?;
        let state = empty(&[of_splits, 2], DType::F32, queries.device())?;
        let mixed = self.empty(&[tokens, heads * head_dim])?;
        let pointers = [address(queries)?, address(&partial)?, address(&state)?, address(&mixed)?];
        let window = window_or_zero(window);
        let (layer_offset, values_offset) = (self.layer_offset(layer), self.keys_elements);
        let [heads, kv_heads, max_blocks, splits] =
            [heads, kv_heads, places.max_blocks, splits].map(|size| size as u32);
        let stream = self.device.cuda_stream();
        let mut launch = stream.launch_builder(&self.kernels.attend);
        launch.arg(&pointers[0]).arg(&places.blocks).arg(&places.sequence).arg(&places.seen);
        launch.arg(&window).arg(&layer_offset).arg(&values_offset).arg(&scale);
        launch.arg(&heads).arg(&kv_heads).arg(&max_blocks).arg(&splits);
        launch.arg(&pointers[1]).arg(&pointers[2]);
        run(launch, (tokens as u32, kv_heads, splits), ATTEND_THREADS)?;
        let mut launch = stream.launch_builder(&self.kernels.join);
        launch.arg(&pointers[1]).arg(&pointers[2]).arg(&places.seen);
        launch.arg(&window).arg(&heads).arg(&splits).arg(&pointers[3]);
        run(launch, (tokens as u32, heads, 1), head_dim as u32)?;
        Ok(mixed)
    }

    /// Attends the queries of one sequence, [tokens, heads, head_dim], over keys and values that are gathered first.
    fn attend_gathered(
        &self,
        layer: usize,
        window: Option<usize>,
        queries: &Tensor,
        (number, sequence): (usize, &Sequence<'_>),
        places: &Places,
    ) -> Result<Tensor> {
        let (past, tokens) = (sequence.cache.len(), sequence.tokens);
        // The first position that the first query sees.
        let from = window.map_or(0, |window| (past + 1).saturating_sub(window));
        let (keys, values) = self.gather(layer, number, from..past + tokens, places)?;
        let mut mixed = Vec::with_capacity(tokens.div_ceil(QUERY_BLOCK));
        for start in (0..tokens).step_by(QUERY_BLOCK) {
            let block = QUERY_BLOCK.min(tokens - start);
            let first = window.map_or(0, |window| (past + start + 1).saturating_sub(window));
            let seen = past + start + block - first;
            let keys = keys.narrow(1, first - from, seen)?;
            let values = values.narrow(1, first - from, seen)?;
            let queries = queries.narrow(0, start, block)?;
            mixed.push(self.attend_block(window, &queries, &keys, &values)?);
        }
        Tensor::cat(&mixed, 0)
    }

    /// Copies a sequence's keys and values of these positions, each [kv_heads, positions, head_dim].
    fn gather(
        &self,
        layer: usize,
        number: usize,
        positions: std::ops::Range<usize>,
        places: &Places,
    ) -> Result<(Tensor, Tensor)> {
        let Heads { kv_heads, head_dim, .. } = self.sizes;
        let shape = [kv_heads, positions.len(), head_dim];
        let (keys, values) = (self.empty(&shape)?, self.empty(&shape)?);
        let stream = self.device.cuda_stream();
        let blocks = places.blocks.slice(number * places.max_blocks..);
        let pointers = [address(&keys)?, address(&values)?];
        let (from, len) = (positions.start as u32, positions.end as u32);
        let (layer_offset, values_offset) = (self.layer_offset(layer), self.keys_elements);
        let sizes = [kv_heads as u32, head_dim as u32];
        let mut launch = stream.launch_builder(&self.kernels.gather);
        launch.arg(&blocks).arg(&len).arg(&from).arg(&layer_offset).arg(&values_offset);
        launch.arg(&pointers[0]).arg(&pointers[1]).arg(&sizes[0]).arg(&sizes[1]);
        run(launch, (positions.len() as u32, 1, 1), THREADS)?;
        Ok((keys, values))
    }

    /// Attends queries [t, heads, head_dim], the last t positions of `keys` and `values` [kv_heads, len, head_dim].
    fn attend_block(
        &self,
        window: Option<usize>,
        queries: &Tensor,
        keys: &Tensor,
        values: &Tensor,
    ) -> Result<Tensor> {
        let Heads { heads, kv_heads, head_dim, scale } = self.sizes;
        let (t, len) = (queries.dim(0)?, keys.dim(1)?);
        // The queries of the heads that share keys are stacked. They are scaled first: in f16 the products of long
        // vectors may overflow.
        let stacked = (kv_heads, heads / kv_heads * t, head_dim);
        let queries = (queries * f64::from(scale))?.transpose(0, 1)?.contiguous()?;
        let scores = queries.reshape(stacked)?.matmul(&keys.transpose(1, 2)?)?;
        let weights = self.empty(scores.dims())?;
        let pointers = [address(&scores)?, address(&weights)?];
        let [rows, t_number, len_number, past] =
            [heads * t, t, len, len - t].map(|size| size as u32);
        let (no_scale, window) = (1f32, window_or_zero(window));
        let stream = self.device.cuda_stream();
        let mut launch = stream.launch_builder(&self.kernels.softmax);
        launch.arg(&pointers[0]).arg(&pointers[1]).arg(&t_number).arg(&len_number);
        launch.arg(&no_scale).arg(&past).arg(&window);
        run(launch, (rows, 1, 1), THREADS)?;
        let mixed = weights.matmul(values)?.reshape((heads, t, head_dim))?;
        mixed.transpose(0, 1)?.flatten_from(D::Minus2)?.contiguous()
    }

    /// Returns where a layer begins in a block, in elements.
    fn layer_offset(&self, layer: usize) -> u64 {
        layer as u64 * self.layer_elements
    }

    /// Returns a tensor of activations that a kernel will fill.
    fn empty(&self, shape: &[usize]) -> Result<Tensor> {
        empty(shape, self.dtype, &Device::Cuda(self.device.clone()))
    }
}

/// Threads of the kernel `attend`.
const ATTEND_THREADS: u32 = 256;

#[expect(
    unsafe_code,
    reason = "each caller's kernel fills the whole tensor before anything reads it"
)]
fn empty(shape: &[usize], dtype: DType, device: &Device) -> Result<Tensor> {
    // SAFETY: see the reason above.
    unsafe { Tensor::empty(shape, dtype, device) }
}

#[expect(unsafe_code, reason = "a launch trusts that the arguments fit the kernel's signature")]
fn run(
    mut launch: candle_core::cuda_backend::cudarc::driver::LaunchArgs<'_>,
    grid_dim: (u32, u32, u32),
    threads: u32,
) -> Result<()> {
    let config = LaunchConfig { grid_dim, block_dim: (threads, 1, 1), shared_mem_bytes: 0 };
    // SAFETY: the arguments are those of the kernel in step.cu, in order and of its types, and the addresses are of
    // tensors of the sizes that it is told.
    unsafe { launch.launch(config) }.w()?;
    Ok(())
}

/// Returns the suffix of the kernels for a dtype.
fn letters(dtype: DType) -> Option<&'static str> {
    match dtype {
        DType::F32 => Some("f32"),
        DType::F16 => Some("f16"),
        DType::BF16 => Some("bf16"),
        _ => None,
    }
}

/// Returns the number by which kernels know a window; zero for none.
fn window_or_zero(window: Option<usize>) -> u32 {
    window.map_or(0, |window| window as u32)
}

/// Returns a tensor [rows, width] whose rows are contiguous, and how far apart their beginnings are, in elements.
fn rows_of(tensor: &Tensor) -> Result<(Tensor, u32)> {
    match tensor.stride() {
        [stride, 1] => Ok((tensor.clone(), *stride as u32)),
        _ => Ok((tensor.contiguous()?, tensor.dim(1)? as u32)),
    }
}

/// Returns where a tensor's first element is on the device.
fn address(tensor: &Tensor) -> Result<u64> {
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cuda(storage) = &*storage else {
        bail!("a fused kernel got a tensor of another device")
    };
    let stream: Arc<CudaStream> = storage.device().cuda_stream();
    let base = match storage.dtype() {
        DType::F32 => storage.as_cuda_slice::<f32>()?.device_ptr(&stream).0,
        DType::F16 => storage.as_cuda_slice::<f16>()?.device_ptr(&stream).0,
        DType::BF16 => storage.as_cuda_slice::<bf16>()?.device_ptr(&stream).0,
        other => bail!("there is no fused kernel for {other:?}"),
    };
    Ok(base + (layout.start_offset() * storage.dtype().size_in_bytes()) as u64)
}

fn address_or_null(tensor: Option<&Tensor>) -> Result<u64> {
    tensor.map_or(Ok(0), address)
}
