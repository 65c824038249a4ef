//! The keys and values of one sequence, in blocks of positions. Blocks are allocated as the sequence grows, freed as it
//! is cut back, and may be shared: a sequence copies a shared block before it writes into it. `crate::kv` decides who
//! shares what with whom.

use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor};

use super::{
    config::Heads,
    seam::{BLOCK, Cache, Ledger},
};

/// How the keys of a layer lie in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyOrder {
    /// [BLOCK, kv_heads, head_dim], like the values.
    ByPosition,
    /// [kv_heads, head_dim, BLOCK]: one instruction of a CPU multiplies the keys of several positions, and nothing has
    /// to be added up across its lanes.
    ByDimension,
}

/// Makes the blocks of one decoder and counts them.
#[derive(Debug)]
pub(crate) struct Allocator {
    /// [layers, 2 (keys, values), BLOCK, kv_heads, head_dim]; keys may be in another order.
    shape: [usize; 5],
    key_order: KeyOrder,
    dtype: DType,
    device: Device,
    /// Counts the blocks in use.
    ledger: Arc<Ledger>,
}

/// The keys and values of some positions, for every layer.
#[derive(Debug)]
pub(crate) struct Block {
    data: Tensor,
    allocator: Arc<Allocator>,
}

impl Allocator {
    pub(crate) fn new(layers: usize, sizes: Heads, dtype: DType, device: Device) -> Self {
        let shape = [layers, 2, BLOCK, sizes.kv_heads, sizes.head_dim];
        let block_bytes = (shape.iter().product::<usize>() * dtype.size_in_bytes()) as u64;
        let key_order = match device.is_cpu() && dtype == DType::F32 {
            true => KeyOrder::ByDimension,
            false => KeyOrder::ByPosition,
        };
        let ledger = Arc::new(Ledger::new(block_bytes));
        Allocator { shape, key_order, dtype, device, ledger }
    }

    /// Returns the dtype of keys and values.
    pub(crate) fn dtype(&self) -> DType {
        self.dtype
    }

    /// Returns the ledger of the memory that its blocks hold.
    pub(crate) fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    fn block(self: &Arc<Self>) -> Result<Arc<Block>> {
        let data = Tensor::zeros(&self.shape, self.dtype, &self.device)?;
        Ok(self.counted(data))
    }

    fn counted(self: &Arc<Self>, data: Tensor) -> Arc<Block> {
        self.ledger.take(1);
        Arc::new(Block { data, allocator: Arc::clone(self) })
    }
}

impl Block {
    /// Returns all layers: for each its keys, then its values, [BLOCK, kv_heads, head_dim]; keys in the order of
    /// [`KeyOrder`].
    pub(crate) fn data(&self) -> &Tensor {
        &self.data
    }

    /// Returns the keys and values of a layer, each [BLOCK, kv_heads, head_dim].
    pub(crate) fn layer(&self, layer: usize) -> Result<(Tensor, Tensor)> {
        let (keys, values) = self.halves(layer)?;
        let keys = match self.allocator.key_order {
            KeyOrder::ByPosition => keys,
            KeyOrder::ByDimension => self.by_dimension(&keys)?.permute((2, 0, 1))?,
        };
        Ok((keys, values))
    }

    /// Writes keys and values [t, kv_heads, head_dim] of a layer, from position `offset` of the block on.
    fn write(&self, layer: usize, offset: usize, keys: &Tensor, values: &Tensor) -> Result<()> {
        let (own_keys, own_values) = self.halves(layer)?;
        match self.allocator.key_order {
            KeyOrder::ByPosition => own_keys.slice_set(keys, 0, offset)?,
            KeyOrder::ByDimension => {
                let keys = keys.permute((1, 2, 0))?.contiguous()?;
                self.by_dimension(&own_keys)?.slice_set(&keys, 2, offset)?;
            }
        }
        own_values.slice_set(values, 0, offset)
    }

    fn halves(&self, layer: usize) -> Result<(Tensor, Tensor)> {
        let layer = self.data.get(layer)?;
        Ok((layer.get(0)?, layer.get(1)?))
    }

    fn by_dimension(&self, keys: &Tensor) -> Result<Tensor> {
        let [_, _, positions, heads, width] = self.allocator.shape;
        keys.reshape((heads, width, positions))
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.allocator.ledger.give_back(1);
    }
}

/// One sequence of a pass: its cache, and how many new tokens the cache holds past its length.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sequence<'a> {
    pub(crate) cache: &'a KvCache,
    pub(crate) tokens: usize,
}

/// The keys and values of one sequence, for every layer.
#[derive(Debug)]
pub struct KvCache {
    allocator: Arc<Allocator>,
    /// At least enough for `len` positions.
    blocks: Vec<Arc<Block>>,
    len: usize,
}

impl KvCache {
    pub(crate) fn new(allocator: Arc<Allocator>) -> Self {
        KvCache { allocator, blocks: Vec::new(), len: 0 }
    }

    /// Returns its blocks, in order.
    pub(crate) fn blocks(&self) -> &[Arc<Block>] {
        &self.blocks
    }

    /// Replaces a block by one with the same content.
    pub(crate) fn replace(&mut self, index: usize, block: Arc<Block>) {
        self.blocks[index] = block;
    }

    /// Starts an empty sequence with full blocks that others computed from the same tokens.
    pub(crate) fn adopt(&mut self, blocks: Vec<Arc<Block>>) {
        debug_assert!(self.is_empty(), "only an empty sequence adopts");
        self.len = blocks.len() * BLOCK;
        self.blocks = blocks;
    }

    /// Returns whether the block that is written next belongs to others too.
    fn shares_tail(&self) -> bool {
        !self.len.is_multiple_of(BLOCK)
            && self.blocks.get(self.len / BLOCK).is_some_and(|block| Arc::strong_count(block) > 1)
    }

    /// Writes keys and values [t, kv_heads, head_dim] of a layer after the sequence, where room is reserved. The length
    /// does not change until `advance`, so a pass that fails halfway leaves the sequence as it was.
    pub(crate) fn write(&self, layer: usize, keys: &Tensor, values: &Tensor) -> Result<()> {
        let (mut done, tokens) = (0, keys.dim(0)?);
        let dtype = self.allocator.dtype;
        let (keys, values) = (keys.to_dtype(dtype)?, values.to_dtype(dtype)?);
        while done < tokens {
            let (block, offset) = ((self.len + done) / BLOCK, (self.len + done) % BLOCK);
            let some = (BLOCK - offset).min(tokens - done);
            let (keys, values) = (keys.narrow(0, done, some)?, values.narrow(0, done, some)?);
            self.blocks[block].write(layer, offset, &keys, &values)?;
            done += some;
        }
        Ok(())
    }

    /// Extends the sequence by tokens that all layers have written.
    pub(crate) fn advance(&mut self, tokens: usize) {
        self.len += tokens;
    }
}

impl Cache for KvCache {
    fn len(&self) -> usize {
        self.len
    }

    /// Frees the blocks of what is forgotten. Never forgets more than asked.
    fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
        self.blocks.truncate(self.len.div_ceil(BLOCK));
    }

    fn bytes(&self) -> u64 {
        self.blocks.len() as u64 * self.allocator.ledger.block_bytes()
    }

    fn missing_blocks(&self, more: usize) -> usize {
        let needed = (self.len + more).div_ceil(BLOCK);
        needed.saturating_sub(self.blocks.len()) + usize::from(more > 0 && self.shares_tail())
    }

    /// Copies a shared block first, so that nobody else sees what is written there.
    fn reserve(&mut self, more: usize) -> Result<()> {
        if more > 0 && self.shares_tail() {
            let tail = &mut self.blocks[self.len / BLOCK];
            *tail = self.allocator.counted(tail.data.copy()?);
        }
        while self.blocks.len() * BLOCK < self.len + more {
            self.blocks.push(self.allocator.block()?);
        }
        Ok(())
    }
}
