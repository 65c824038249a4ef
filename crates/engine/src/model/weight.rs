//! Weights as they are held, quantised or not, and the linear layer over them.

use std::sync::Arc;

use candle_core::{
    DType, Device, Result, Tensor,
    quantized::{GgmlDType, QTensor, ggml_file::qtensor_from_ggml},
};

use super::{
    elementwise,
    quant::{self, PackedMatrix},
};

/// A matrix of shape [outputs, inputs].
#[derive(Debug, Clone)]
pub(crate) enum Weight {
    /// Blocks of a quantised format, also bf16 and f16 on the CPU, that candle multiplies.
    Blocks(Arc<QTensor>),
    /// The same, if there is a kernel of our own.
    Packed(Arc<PackedMatrix>),
    /// In the dtype of the computation.
    Plain(Tensor),
}

/// From this many rows of input on, widening a bf16 or f16 matrix once is faster than widening it for every row.
const WIDEN_FROM_ROWS: usize = 16;

impl Weight {
    /// Makes a matrix from the bytes of a GGML format, [outputs, inputs].
    pub(crate) fn from_ggml(
        dtype: GgmlDType,
        bytes: &[u8],
        (outputs, inputs): (usize, usize),
        device: &Device,
    ) -> Result<Self> {
        if quant::serves(dtype, inputs, device) {
            let packed = quant::pack(dtype, bytes, (outputs, inputs))?;
            return Ok(Weight::Packed(Arc::new(packed)));
        }
        let blocks = qtensor_from_ggml(dtype, bytes, vec![outputs, inputs], device)?;
        Ok(Weight::Blocks(Arc::new(blocks)))
    }

    /// Makes a matrix of floats, held in f32, bf16 or f16.
    pub(crate) fn held_in(dtype: DType, matrix: Tensor, device: &Device) -> Result<Self> {
        if dtype == activation_dtype(dtype, device) {
            return Ok(Weight::Plain(matrix.to_dtype(dtype)?.to_device(device)?));
        }
        let blocks = match dtype {
            DType::BF16 => GgmlDType::BF16,
            _ => GgmlDType::F16,
        };
        let shape = matrix.dims2()?;
        let halves = QTensor::quantize(&matrix, blocks)?;
        Weight::from_ggml(blocks, &halves.data()?, shape, device)
    }

    /// Returns `x` [rows, inputs] times the transposed matrix: [rows, outputs].
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Weight::Plain(matrix) => x.matmul(&matrix.t()?),
            Weight::Packed(packed) => Ok(quant::matmul(&[packed], x)?.remove(0)),
            Weight::Blocks(blocks) => {
                let half = matches!(blocks.dtype(), GgmlDType::BF16 | GgmlDType::F16);
                if half && x.dim(0)? >= WIDEN_FROM_ROWS {
                    return x.matmul(&blocks.dequantize(x.device())?.t()?);
                }
                x.apply_op1_no_bwd(blocks.as_ref())
            }
        }
    }

    fn plain(&self) -> Option<&Tensor> {
        match self {
            Weight::Plain(matrix) => Some(matrix),
            Weight::Blocks(_) | Weight::Packed(_) => None,
        }
    }

    fn blocks(&self) -> Option<&QTensor> {
        match self {
            Weight::Blocks(blocks) => Some(blocks),
            Weight::Packed(_) | Weight::Plain(_) => None,
        }
    }

    fn packed(&self) -> Option<&PackedMatrix> {
        match self {
            Weight::Packed(packed) => Some(packed),
            Weight::Blocks(_) | Weight::Plain(_) => None,
        }
    }

    /// Returns the rows with these ids, [ids, inputs].
    pub(crate) fn rows(&self, ids: &Tensor) -> Result<Tensor> {
        match self {
            Weight::Plain(matrix) => matrix.index_select(ids, 0),
            Weight::Packed(packed) => packed.rows(ids),
            Weight::Blocks(blocks) => blocks.embedding(ids),
        }
    }

    /// Returns the memory held, in bytes. candle's kernels may keep rearranged copies in addition.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Weight::Plain(matrix) => (matrix.elem_count() * matrix.dtype().size_in_bytes()) as u64,
            Weight::Packed(packed) => packed.bytes() as u64,
            Weight::Blocks(blocks) => blocks.storage_size_in_bytes() as u64,
        }
    }
}

/// A linear layer.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    pub(crate) weight: Weight,
    pub(crate) bias: Option<Tensor>,
}

/// From this many rows on, one matrix after the other is faster, since larger kernels serve it.
const TOGETHER_BELOW_ROWS: usize = 32;

impl Linear {
    /// Computes the layer over `x` [rows, inputs]. Returns [rows, outputs].
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.biased(self.weight.forward(x)?)
    }

    fn biased(&self, y: Tensor) -> Result<Tensor> {
        match &self.bias {
            Some(bias) => elementwise::add(&y, bias),
            None => Ok(y),
        }
    }
}

/// Linear layers over the same input.
#[derive(Debug)]
pub(crate) struct Joined<const N: usize> {
    layers: [Linear; N],
    /// All matrices in one, of which those of `layers` are views. On a GPU one large product takes less time than
    /// several small ones.
    whole: Option<Tensor>,
}

impl<const N: usize> Joined<N> {
    /// Joins layers, in one matrix if they are plain ones on a CUDA device.
    pub(crate) fn new(layers: [Linear; N]) -> Result<Self> {
        let plain: Vec<&Tensor> = layers.iter().filter_map(|it| it.weight.plain()).collect();
        match plain.len() == N && plain.iter().all(|matrix| matrix.device().is_cuda()) {
            true => Self::in_one(layers),
            false => Ok(Joined { layers, whole: None }),
        }
    }

    /// Joins plain layers in one matrix.
    pub(super) fn in_one(mut layers: [Linear; N]) -> Result<Self> {
        let matrices: Vec<&Tensor> = layers.iter().filter_map(|it| it.weight.plain()).collect();
        let whole = Tensor::cat(&matrices, 0)?;
        let mut start = 0;
        for layer in &mut layers {
            let rows = layer.weight.plain().map_or(Ok(0), |matrix| matrix.dim(0))?;
            layer.weight = Weight::Plain(whole.narrow(0, start, rows)?);
            start += rows;
        }
        Ok(Joined { layers, whole: Some(whole) })
    }

    /// Returns the layers.
    #[cfg_attr(not(feature = "cuda"), allow(dead_code, reason = "fused kernels read the biases"))]
    pub(crate) fn layers(&self) -> &[Linear; N] {
        &self.layers
    }

    /// Computes all layers over `x` [rows, inputs]. Returns [rows, outputs] of each.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<[Tensor; N]> {
        let products = self.products(x)?;
        each(|i| self.layers[i].biased(products[i].clone()))
    }

    /// Computes the products of all layers, without their biases. If the layers are in one matrix, each product is a
    /// view of columns of one tensor.
    pub(crate) fn products(&self, x: &Tensor) -> Result<[Tensor; N]> {
        if let Some(whole) = &self.whole {
            let product = x.matmul(&whole.t()?)?;
            let mut start = 0;
            return each(|i| {
                let rows = self.layers[i].weight.plain().map_or(Ok(0), |matrix| matrix.dim(0))?;
                start += rows;
                product.narrow(1, start - rows, rows)
            });
        }
        match together(self.layers.each_ref(), x)? {
            Some(products) => each(|i| Ok(products[i].clone())),
            None => each(|i| self.layers[i].weight.forward(x)),
        }
    }

    /// Returns the memory that the matrices take, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.layers.iter().map(|layer| layer.weight.bytes()).sum()
    }
}

/// Returns the products of `x` with all matrices at once; `None` if there is no kernel for it. Few rows are quantised
/// once for all layers, if the CPU has a kernel for that.
fn together<const N: usize>(layers: [&Linear; N], x: &Tensor) -> Result<Option<Vec<Tensor>>> {
    let packed = layers.map(|layer| layer.weight.packed());
    if let Some(all) = packed.into_iter().collect::<Option<Vec<_>>>() {
        return quant::matmul(&all, x).map(Some);
    }
    let blocks = layers.map(|layer| layer.weight.blocks());
    let Some(all) = blocks.into_iter().collect::<Option<Vec<_>>>() else { return Ok(None) };
    if x.dim(0)? >= TOGETHER_BELOW_ROWS || !x.device().is_cpu() {
        return Ok(None);
    }
    QTensor::gemv_fused_shared_lhs(&all, x)
}

fn each<const N: usize>(mut make: impl FnMut(usize) -> Result<Tensor>) -> Result<[Tensor; N]> {
    let made = (0..N).map(&mut make).collect::<Result<Vec<_>>>()?;
    made.try_into().map_err(|_| candle_core::Error::Msg("one product per layer".to_owned()))
}

/// Returns the dtype that activations are computed in on a device, for weights of this dtype. The CPU's kernels are
/// made for f32.
pub(crate) fn activation_dtype(weights: DType, device: &Device) -> DType {
    if device.is_cpu() { DType::F32 } else { weights }
}

#[cfg(test)]
mod tests {
    use super::{super::testing::noise, *};

    fn quantised(matrix: &Tensor) -> Linear {
        let blocks = QTensor::quantize(matrix, GgmlDType::Q8_0).unwrap();
        let bytes = blocks.data().unwrap();
        let shape = matrix.dims2().unwrap();
        let weight = Weight::from_ggml(GgmlDType::Q8_0, &bytes, shape, &Device::Cpu).unwrap();
        Linear { weight, bias: None }
    }

    fn distance(a: &Tensor, b: &Tensor) -> f32 {
        let difference = (a - b).unwrap().abs().unwrap().flatten_all().unwrap();
        difference.max(0).unwrap().to_scalar().unwrap()
    }

    /// 576 weights per row are not a whole number of the largest blocks, 512 are.
    #[test]
    fn rows_of_any_width_multiply_and_look_up() {
        for inputs in [512, 576] {
            let matrix = noise(48, inputs, 1);
            let linear = quantised(&matrix);
            for rows in [1, 3, 40] {
                let x = noise(rows, inputs, 2);
                let exact = x.matmul(&matrix.t().unwrap()).unwrap();
                let y = linear.forward(&x).unwrap();
                assert!(distance(&y, &exact) < 0.2, "{}", distance(&y, &exact));
            }
            let ids = Tensor::new(&[47u32, 0], &Device::Cpu).unwrap();
            let rows = linear.weight.rows(&ids).unwrap();
            let exact = matrix.index_select(&ids, 0).unwrap();
            assert_eq!(rows.dims(), [2, inputs]);
            assert!(distance(&rows, &exact) < 0.01);
        }
    }

    #[test]
    fn layers_computed_together_give_what_each_gives() {
        let (first, mut second) = (quantised(&noise(48, 576, 1)), quantised(&noise(16, 576, 2)));
        second.bias = Some(Tensor::ones(16, DType::F32, &Device::Cpu).unwrap());
        let plain = Linear { weight: Weight::Plain(noise(16, 576, 3)), bias: None };
        for rows in [1, 5, 40] {
            let x = noise(rows, 576, 4);
            for others in [[&second, &first], [&second, &plain]] {
                let layers = [&first, others[0], others[1]];
                let joined = Joined::new(layers.map(Linear::clone)).unwrap();
                for (layer, product) in layers.iter().zip(&joined.forward(&x).unwrap()) {
                    assert!(distance(product, &layer.forward(&x).unwrap()) < 1e-4);
                }
            }
        }
    }

    #[test]
    fn plain_layers_in_one_matrix_give_what_each_gives_and_share_its_memory() {
        let layer = |outputs, seed, bias: Option<f64>| {
            let weight = Weight::Plain(noise(outputs, 32, seed));
            let bias = bias.map(|bias| Tensor::full(bias as f32, outputs, &Device::Cpu).unwrap());
            Linear { weight, bias }
        };
        let layers = [layer(48, 1, Some(0.5)), layer(16, 2, None), layer(16, 3, Some(-2.0))];
        let joined = Joined::in_one(layers.clone()).unwrap();
        assert_eq!(joined.bytes(), 80 * 32 * 4);
        for rows in [1, 7] {
            let x = noise(rows, 32, 4);
            let all = joined.forward(&x).unwrap();
            let products = joined.products(&x).unwrap();
            for ((layer, y), product) in layers.iter().zip(&all).zip(&products) {
                assert!(distance(y, &layer.forward(&x).unwrap()) < 1e-5);
                assert!(distance(product, &layer.weight.forward(&x).unwrap()) < 1e-5);
                let own = joined.layers()[0].weight.forward(&x).unwrap();
                assert!(distance(&own, &products[0]) < 1e-5);
            }
        }
    }
}
