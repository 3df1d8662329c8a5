//! Tokens that were verified before, so that each costs one verification.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::access::jwt::Claims;

/// The most remembered tokens.
pub const TOKENS_MAX: usize = 1_024;

/// The most memory of remembered tokens, in bytes, as estimated.
pub const BYTES_MAX: usize = 1 << 20;

/// The memory of an entry beside its texts, in bytes, as estimated.
const ENTRY_BYTES: usize = 256;

/// The memory of claims as values for each byte of the token, as estimated.
const CLAIMS_FACTOR: usize = 4;

/// Verified tokens of the current rules, bounded in number and memory.
///
/// Refused tokens are not remembered: an attacker could replace the others with them.
#[derive(Default)]
pub struct KnownTokens(Mutex<Memory>);

/// Shows no token.
impl fmt::Debug for KnownTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KnownTokens").field("tokens", &self.len()).finish_non_exhaustive()
    }
}

/// Two halves that approximate least-recently-used: when the recent half is full, it replaces the older one.
#[derive(Default)]
struct Memory {
    generation: u64,
    recent: Half,
    older: Half,
}

/// Tokens by a SipHash with random keys and full comparison, with the claims for each rule that accepted the token.
#[derive(Default)]
struct Half {
    tokens: HashMap<Box<str>, Vec<(usize, Arc<Claims>)>>,
    entries: usize,
    bytes: usize,
}

impl Half {
    fn get(&self, token: &str, rule: usize) -> Option<&Arc<Claims>> {
        self.tokens.get(token)?.iter().find(|(known, _)| *known == rule).map(|(_, claims)| claims)
    }

    fn insert(&mut self, token: &str, rule: usize, claims: Arc<Claims>) {
        let rules = self.tokens.entry(token.into()).or_default();
        match rules.iter_mut().find(|(known, _)| *known == rule) {
            Some(known) => known.1 = claims,
            None => {
                rules.push((rule, claims));
                self.entries += 1;
                self.bytes += bytes(token);
            }
        }
    }

    fn is_full(&self, token: &str) -> bool {
        self.entries >= TOKENS_MAX / 2 || self.bytes + bytes(token) > BYTES_MAX / 2
    }
}

fn bytes(token: &str) -> usize {
    token.len() * CLAIMS_FACTOR + ENTRY_BYTES
}

impl Memory {
    fn insert(&mut self, token: &str, rule: usize, claims: Arc<Claims>) {
        if self.recent.is_full(token) {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.insert(token, rule, claims);
    }
}

impl KnownTokens {
    /// An empty memory.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of remembered tokens, counted for each rule that accepted one.
    pub fn len(&self) -> usize {
        let memory = self.0.lock();
        memory.recent.entries + memory.older.entries
    }

    /// Whether no token is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The claims of a token that a rule of this generation accepted. Their times are not checked.
    pub(super) fn get(&self, generation: u64, rule: usize, token: &str) -> Option<Arc<Claims>> {
        let mut memory = self.0.lock();
        if memory.generation != generation {
            return None;
        }
        if let Some(claims) = memory.recent.get(token, rule) {
            return Some(Arc::clone(claims));
        }
        let claims = Arc::clone(memory.older.get(token, rule)?);
        memory.insert(token, rule, Arc::clone(&claims));
        Some(claims)
    }

    /// Remembers a token that a rule accepted. The first one of newer rules clears those of older rules.
    pub(super) fn insert(&self, generation: u64, rule: usize, token: &str, claims: &Arc<Claims>) {
        let mut memory = self.0.lock();
        // A request that still uses replaced rules must not bring their tokens back.
        if generation < memory.generation {
            return;
        }
        if generation > memory.generation {
            *memory = Memory { generation, ..Memory::default() };
        }
        memory.insert(token, rule, Arc::clone(claims));
    }
}
