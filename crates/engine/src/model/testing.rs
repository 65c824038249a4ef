//! Helpers for the tests of several kernels, and a decoder on a device that fails.

use std::{
    any::Any,
    sync::{Arc, Mutex, atomic::AtomicU64},
};

use candle_core::{Device, Tensor};

use super::seam::{BatchRow, Cache, Decode, DecoderFacts, Ledger};
use crate::error::ForwardError;

/// Returns a matrix of numbers between -1 and 1, the same for the same seed.
pub(crate) fn noise(rows: usize, columns: usize, mut seed: u32) -> Tensor {
    let values: Vec<f32> = (0..rows * columns)
        .map(|_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect();
    Tensor::from_vec(values, (rows, columns), &Device::Cpu).unwrap()
}

/// Returns the bits of all elements, in order.
pub(crate) fn bits(tensor: &Tensor) -> Vec<u32> {
    let values: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
    values.into_iter().map(f32::to_bits).collect()
}

/// How a device fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Not at all.
    None,
    /// Passes fail.
    Fails,
    /// Passes panic.
    Panics,
    /// Passes fail, and everything else that is asked of the device.
    Lost,
}

/// Sets how a [`Faulty`] decoder's device fails from now on.
#[derive(Debug, Clone)]
pub(crate) struct FaultSwitch(Arc<Mutex<Fault>>);

impl FaultSwitch {
    pub(crate) fn set(&self, fault: Fault) {
        *self.0.lock().unwrap() = fault;
    }

    fn is(&self) -> Fault {
        *self.0.lock().unwrap()
    }
}

/// A decoder whose device can be made to fail.
#[derive(Debug)]
pub(crate) struct Faulty {
    sound: Box<dyn Decode>,
    fault: FaultSwitch,
}

impl Faulty {
    pub(crate) fn new(sound: Box<dyn Decode>) -> (Faulty, FaultSwitch) {
        let fault = FaultSwitch(Arc::new(Mutex::new(Fault::None)));
        (Faulty { sound, fault: fault.clone() }, fault)
    }
}

impl Decode for Faulty {
    fn facts(&self) -> DecoderFacts {
        self.sound.facts()
    }
    fn device(&self) -> &Device {
        self.sound.device()
    }
    fn ledger(&self) -> &Arc<Ledger> {
        self.sound.ledger()
    }
    fn pulse(&self) -> &Arc<AtomicU64> {
        self.sound.pulse()
    }
    fn new_cache(&self) -> Box<dyn Cache> {
        Box::new(FaultyCache { sound: self.sound.new_cache(), fault: self.fault.clone() })
    }
    fn forward(&self, rows: &mut [BatchRow<'_>]) -> Result<Tensor, ForwardError> {
        match self.fault.is() {
            Fault::None => {
                let mut sound = Vec::new();
                for BatchRow { tokens, cache, logits } in rows {
                    let cache: &mut dyn Any = *cache;
                    let Some(FaultyCache { sound: cache, .. }) = cache.downcast_mut() else {
                        return Err(ForwardError::ForeignCache);
                    };
                    sound.push(BatchRow { tokens, cache: &mut **cache, logits: *logits });
                }
                self.sound.forward(&mut sound)
            }
            Fault::Panics => panic!("a kernel is missing"),
            Fault::Fails | Fault::Lost => {
                Err(candle_core::Error::Msg("no kernel image\nfor this device".to_owned()).into())
            }
        }
    }
    fn is_lost(&self) -> bool {
        self.fault.is() == Fault::Lost
    }
}

/// A cache on a device that can be made to fail.
#[derive(Debug)]
struct FaultyCache {
    sound: Box<dyn Cache>,
    fault: FaultSwitch,
}

impl Cache for FaultyCache {
    fn len(&self) -> usize {
        self.sound.len()
    }
    fn truncate(&mut self, len: usize) {
        self.sound.truncate(len);
    }
    fn bytes(&self) -> u64 {
        self.sound.bytes()
    }
    fn missing_blocks(&self, more: usize) -> usize {
        self.sound.missing_blocks(more)
    }
    fn reserve(&mut self, more: usize) -> candle_core::Result<()> {
        match self.fault.is() {
            Fault::Lost => {
                Err(candle_core::Error::Msg("no memory on a device that is gone".to_owned()))
            }
            _ => self.sound.reserve(more),
        }
    }
}
