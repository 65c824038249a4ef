//! Models of candle-transformers, for families that our own decoder does not compute: one sequence at a time, each over
//! a copy of the model that shares its weights. `families` lists the families, [`cache`] keeps a sequence and cuts it
//! back, and [`settings`], [`load`] and [`model`] build the models.

mod cache;
mod load;
mod model;
mod settings;

use std::sync::{Arc, atomic::AtomicU64};

use candle_core::{DType, Device, Tensor};

pub(crate) use self::load::{Loaded, load};
use self::{cache::SingleCache, model::CrateModel};
use super::{
    families::SingleFamily,
    seam::{BatchRow, Cache, Decode, DecoderFacts, Ledger, WantedLogits},
};
use crate::error::ForwardError;

/// A model of candle-transformers.
#[derive(Debug)]
pub(crate) struct SingleDecoder {
    family: SingleFamily,
    vocab: usize,
    context: usize,
    device: Device,
    /// The model before its first token.
    model: CrateModel,
    ledger: Arc<Ledger>,
    pulse: Arc<AtomicU64>,
}

impl Decode for SingleDecoder {
    fn facts(&self) -> DecoderFacts {
        DecoderFacts {
            family: self.family.name(),
            vocab: self.vocab,
            context: self.context,
            is_batched: false,
            gives_all_logits: false,
        }
    }

    fn device(&self) -> &Device {
        &self.device
    }

    fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    fn pulse(&self) -> &Arc<AtomicU64> {
        &self.pulse
    }

    fn new_cache(&self) -> Box<dyn Cache> {
        Box::new(SingleCache::new(Arc::clone(&self.ledger)))
    }

    fn forward(&self, rows: &mut [BatchRow<'_>]) -> Result<Tensor, ForwardError> {
        let rows = rows.iter_mut().map(BatchRow::of_kind);
        let mut rows = rows.collect::<Result<Vec<Row<'_>>, _>>()?;
        for row in &rows {
            row.check(self.vocab, self.context)?;
            if matches!(row.logits, WantedLogits::All | WantedLogits::From(_)) {
                return Err(ForwardError::OnlyLastLogits);
            }
        }
        if rows.is_empty() {
            return Err(ForwardError::EmptyRow);
        }
        let before: Vec<usize> = rows.iter().map(|row| row.cache.len()).collect();
        let logits = self.compute(&mut rows);
        if logits.is_err() {
            rows.iter_mut().zip(before).for_each(|(row, len)| row.cache.truncate(len));
        }
        logits
    }
}

type Row<'a> = BatchRow<'a, SingleCache>;

impl SingleDecoder {
    /// Computes one row after the other.
    fn compute(&self, rows: &mut [Row<'_>]) -> Result<Tensor, ForwardError> {
        let mut logits = Vec::new();
        for BatchRow { tokens, cache, logits: wanted } in rows {
            cache.reserve(tokens.len())?;
            let is_wanted = *wanted == WantedLogits::Last;
            let last = cache.grow(self, tokens, is_wanted)?;
            logits.extend(last.filter(|_| is_wanted));
        }
        match logits.as_slice() {
            // On the host: some devices cannot allocate zero bytes.
            [] => Ok(Tensor::zeros((0, self.vocab), DType::F32, &Device::Cpu)?),
            logits => Ok(Tensor::cat(logits, 0)?),
        }
    }
}
