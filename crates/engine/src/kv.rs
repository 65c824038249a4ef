//! Which keys and values are kept: beginnings that sessions share, under a budget of blocks.
//!
//! Full blocks of committed tokens are entered in a tree by the tokens they hold, so that the next session of the same
//! client with the same beginning finds them. Clients do not share with each other: the speed of a hit would reveal
//! what others asked. Only blocks that no session holds are given up, the least recently used first and always from the
//! end of a beginning. If that is not enough, the scheduler decides which session gives way.

use std::{
    any::Any,
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use thinking::thinker::ClientId;

use crate::model::{BLOCK, Block, Cache, KvCache, Ledger};

/// What an engine's caches hold, and what sharing saved and eviction cost since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KvUsage {
    /// Memory that caches may take, in bytes.
    pub budget_bytes: u64,
    /// Memory they take now.
    pub held_bytes: u64,
    /// Memory that one token takes, over all layers.
    pub token_bytes: u64,
    /// Tokens that new sessions found already computed.
    pub cached_tokens: u64,
    /// Tokens whose keys and values open sessions lost to others.
    pub evicted_tokens: u64,
    /// Tokens that were computed again after an eviction.
    pub recomputed_tokens: u64,
}

/// The figures of [`KvUsage`], readable by others while the engine runs.
#[derive(Debug, Default)]
pub(crate) struct KvCounters {
    token_bytes: u64,
    held_bytes: AtomicU64,
    cached_tokens: AtomicU64,
    evicted_tokens: AtomicU64,
    recomputed_tokens: AtomicU64,
}

impl KvCounters {
    pub(crate) fn usage(&self, budget_bytes: u64) -> KvUsage {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        KvUsage {
            budget_bytes,
            held_bytes: read(&self.held_bytes),
            token_bytes: self.token_bytes,
            cached_tokens: read(&self.cached_tokens),
            evicted_tokens: read(&self.evicted_tokens),
            recomputed_tokens: read(&self.recomputed_tokens),
        }
    }
}

/// The shared beginnings and their budget.
#[derive(Debug)]
pub(crate) struct KvStore {
    ledger: Arc<Ledger>,
    budget_blocks: usize,
    index: HashMap<Key, Beginning>,
    shared: HashMap<Beginning, Shared>,
    last: Beginning,
    clock: u64,
    counters: Arc<KvCounters>,
}

/// The number of a beginning of whole blocks. Numbers are never reused; 0 is the empty beginning.
type Beginning = u64;

/// Identifies a block by its client, the beginning before it and its own tokens.
type Key = (ClientId, Beginning, Box<[u32]>);

/// The last block of a beginning.
#[derive(Debug)]
struct Shared {
    block: Arc<Block>,
    key: Key,
    /// How many beginnings continue from here.
    longer: usize,
    last_used: u64,
}

impl KvStore {
    pub(crate) fn new(ledger: Arc<Ledger>, budget_bytes: u64) -> Self {
        let budget_blocks = (budget_bytes / ledger.block_bytes()) as usize;
        let token_bytes = ledger.block_bytes() / BLOCK as u64;
        KvStore {
            ledger,
            budget_blocks,
            index: HashMap::new(),
            shared: HashMap::new(),
            last: 0,
            clock: 0,
            counters: Arc::new(KvCounters { token_bytes, ..KvCounters::default() }),
        }
    }

    /// Returns the counters.
    pub(crate) fn counters(&self) -> Arc<KvCounters> {
        Arc::clone(&self.counters)
    }

    /// Starts an empty cache with as many of these tokens as were computed before. Never takes the last token, since
    /// its logits are needed. Returns how many it took: 0 if the cache is not made of blocks.
    pub(crate) fn adopt(
        &mut self,
        client: ClientId,
        tokens: &[u32],
        cache: &mut dyn Cache,
    ) -> usize {
        let Some(cache) = in_blocks(cache) else { return 0 };
        self.clock += 1;
        let (mut at, mut blocks) = (0, Vec::new());
        for part in tokens[..tokens.len().saturating_sub(1)].chunks_exact(BLOCK) {
            let Some(&next) = self.index.get(&(client, at, part.into())) else { break };
            let Some(shared) = self.shared.get_mut(&next) else { break };
            shared.last_used = self.clock;
            blocks.push(Arc::clone(&shared.block));
            at = next;
        }
        cache.adopt(blocks);
        cache.len()
    }

    /// Enters the full blocks of a cache over these tokens. If a block of the same beginning is already there, the
    /// cache uses that one from now on.
    pub(crate) fn share(&mut self, client: ClientId, tokens: &[u32], cache: &mut dyn Cache) {
        let Some(cache) = in_blocks(cache) else { return };
        self.clock += 1;
        let full = cache.len() / BLOCK;
        let mut at = 0;
        for (number, part) in tokens.chunks_exact(BLOCK).take(full).enumerate() {
            let key = (client, at, Box::from(part));
            if let Some(&next) = self.index.get(&key)
                && let Some(shared) = self.shared.get_mut(&next)
            {
                shared.last_used = self.clock;
                cache.replace(number, Arc::clone(&shared.block));
                at = next;
                continue;
            }
            self.last += 1;
            if let Some(shorter) = self.shared.get_mut(&at) {
                shorter.longer += 1;
            }
            let block = Arc::clone(&cache.blocks()[number]);
            let shared = Shared { block, key: key.clone(), longer: 0, last_used: self.clock };
            self.index.insert(key, self.last);
            self.shared.insert(self.last, shared);
            at = self.last;
        }
    }

    /// Gives up blocks that no session holds until `blocks` more fit the budget. Returns whether they fit.
    pub(crate) fn make_room(&mut self, blocks: usize) -> bool {
        while self.ledger.live_blocks() + blocks > self.budget_blocks {
            if !self.give_up_one() {
                return false;
            }
        }
        true
    }

    /// Forgets the least recently used shared block, among those that no session holds and no other block follows.
    /// Returns whether there was one.
    fn give_up_one(&mut self) -> bool {
        let unheld = |shared: &&Shared| shared.longer == 0 && Arc::strong_count(&shared.block) == 1;
        let oldest = self.shared.values().filter(unheld).min_by_key(|shared| shared.last_used);
        let Some(key) = oldest.map(|shared| shared.key.clone()) else { return false };
        if let Some(shorter) = self.shared.get_mut(&key.1) {
            shorter.longer -= 1;
        }
        if let Some(last) = self.index.remove(&key) {
            self.shared.remove(&last);
        }
        true
    }

    pub(crate) fn count_cached(&self, tokens: usize) {
        self.counters.cached_tokens.fetch_add(tokens as u64, Ordering::Relaxed);
    }

    pub(crate) fn count_evicted(&self, tokens: usize) {
        self.counters.evicted_tokens.fetch_add(tokens as u64, Ordering::Relaxed);
    }

    pub(crate) fn count_recomputed(&self, tokens: usize) {
        self.counters.recomputed_tokens.fetch_add(tokens as u64, Ordering::Relaxed);
    }

    /// Updates the figure of held memory.
    pub(crate) fn count_held(&self) {
        let bytes = self.ledger.live_blocks() as u64 * self.ledger.block_bytes();
        self.counters.held_bytes.store(bytes, Ordering::Relaxed);
    }
}

/// Returns a cache as one made of blocks, which can be shared; `None` if it is of another kind.
fn in_blocks(cache: &mut dyn Cache) -> Option<&mut KvCache> {
    let cache: &mut dyn Any = cache;
    cache.downcast_mut()
}
