//! Builds a model of candle-transformers over a checkpoint. The model itself says which tensors it takes: it is first
//! built over tensors that take no memory, and these are noted.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use candle_core::{DType, Device, Result as TensorResult, Shape, Tensor};
use candle_nn::{Init, VarBuilder, var_builder::SimpleBackend};
use serde_json::Value;

use super::{SingleDecoder, cache::COPIES, model::CrateModel, settings::Settings};
use crate::{
    error::LoadError,
    model::{
        families::SingleFamily,
        seam::{BLOCK, Ledger},
        source::{Checkpoint, LoadOptions, LoadProgress},
    },
};

/// The dtype of all tensors: in half precision the crate's models lose the precision of positions.
const DTYPE: DType = DType::F32;

/// A loaded model.
pub(crate) struct Loaded {
    pub(crate) decoder: SingleDecoder,
    /// Number of weights.
    pub(crate) parameters: u64,
    /// Memory they take, in bytes.
    pub(crate) weight_bytes: u64,
    /// A line on what is less than the files say, if anything is.
    pub(crate) note: Option<String>,
}

/// Loads a model from a Hugging Face directory; `json` is its config.json.
///
/// Everything that can be wrong with the files is found before weights are read.
pub(crate) fn load(
    directory: &Path,
    family: SingleFamily,
    json: Value,
    options: &LoadOptions,
    progress: &mut dyn FnMut(LoadProgress),
) -> Result<Loaded, LoadError> {
    if options.dtype.is_some_and(|dtype| dtype != DTYPE) {
        let name = family.name();
        let message =
            format!("models of the family {name} are held in f32 only; ask for no other dtype");
        return Err(LoadError::Options(message));
    }
    let settings = Settings::read(directory, family, json)?;
    let mut checkpoint = Checkpoint::open(directory)?;
    let refused = |source| LoadError::Device { path: directory.to_owned(), source };
    let wanted = tensors_of(&settings).map_err(refused)?;
    wanted.iter().try_for_each(|it| it.check(&checkpoint))?;
    let parameters = wanted.iter().map(|it| it.shape.iter().product::<usize>() as u64).sum();
    let total_bytes = wanted.iter().map(|it| checkpoint.bytes(&it.name)).sum();
    let weight_bytes = parameters * DTYPE.size_in_bytes() as u64;
    options.check_memory(directory, weight_bytes)?;
    let (mut tensors, mut done_bytes) = (HashMap::new(), 0);
    for Wanted { name, shape } in wanted {
        let bytes = checkpoint.read_part(&name, |all| (0, all))?;
        let dtype = checkpoint.dtype(&name).unwrap_or(DTYPE);
        let tensor = Tensor::from_raw_buffer(&bytes, dtype, &shape, &Device::Cpu)
            .and_then(|tensor| tensor.to_dtype(DTYPE)?.to_device(&options.device))
            .map_err(refused)?;
        done_bytes += bytes.len() as u64;
        progress(LoadProgress { done_bytes, total_bytes });
        tensors.insert(name, tensor);
    }
    let weights = VarBuilder::from_tensors(tensors, DTYPE, &options.device);
    let model = CrateModel::new(&settings.config, weights).map_err(refused)?;
    let note = settings.note(family);
    let Settings { vocab, context, kv_numbers, .. } = settings;
    let block_bytes = COPIES * BLOCK * kv_numbers * DTYPE.size_in_bytes();
    let decoder = SingleDecoder {
        family,
        vocab,
        context,
        device: options.device.clone(),
        model,
        ledger: Arc::new(Ledger::new(block_bytes as u64)),
        pulse: Arc::default(),
    };
    Ok(Loaded { decoder, parameters, weight_bytes, note })
}

/// A tensor that a model needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Wanted {
    name: String,
    shape: Vec<usize>,
}

impl Wanted {
    /// Checks that a checkpoint has it.
    fn check(&self, checkpoint: &Checkpoint) -> Result<(), LoadError> {
        let (path, name) = (checkpoint.directory().to_owned(), self.name.clone());
        match checkpoint.shape(&name) {
            Some(found) if found == self.shape => Ok(()),
            Some(found) => {
                let (found, expected) = (found.to_vec(), self.shape.clone());
                Err(LoadError::WrongShape { path, name, found, expected })
            }
            None => Err(LoadError::MissingTensor { path, name }),
        }
    }
}

/// Returns all tensors of a model, each once.
fn tensors_of(settings: &Settings) -> TensorResult<Vec<Wanted>> {
    let noted = Arc::default();
    let listing = Listing(Arc::clone(&noted));
    let weights = VarBuilder::from_backend(Box::new(listing), DTYPE, Device::Cpu);
    CrateModel::new(&settings.config, weights)?;
    let mut noted = std::mem::take(&mut *noted.lock().unwrap_or_else(PoisonError::into_inner));
    noted.sort();
    noted.dedup();
    Ok(noted)
}

/// Gives any tensor as zeros that take no memory, and notes what was asked for.
struct Listing(Arc<Mutex<Vec<Wanted>>>);

impl SimpleBackend for Listing {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        _: Init,
        dtype: DType,
        device: &Device,
    ) -> TensorResult<Tensor> {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noted.push(Wanted { name: name.to_owned(), shape: shape.dims().to_vec() });
        Tensor::zeros((), dtype, device)?.broadcast_as(shape)
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> TensorResult<Tensor> {
        candle_core::bail!("tensor {name} is asked for without a shape")
    }

    fn contains_tensor(&self, _: &str) -> bool {
        true
    }
}
