//! [`Key`]: the key of a session, with its hash.
//!
//! The hash is made once, outside of the table's lock: where the table grows or shrinks it needs no code of the key's, and one that
//! panics or takes long harms nothing. `Eq` is asked under the lock, of keys whose hashes are the same in all 64 bits.

use std::{
    borrow::Borrow,
    hash::{BuildHasherDefault, Hash, Hasher},
    ptr,
    sync::Arc,
};

/// What a key has to be.
pub(crate) trait SessionKey: Eq + Hash + Clone + Send + Sync + 'static {}

impl<K: Eq + Hash + Clone + Send + Sync + 'static> SessionKey for K {}

/// A key that is kept.
pub(crate) struct Key<K> {
    hash: u64,
    key: Arc<K>,
}

/// A key to look for, which need not be kept.
pub(crate) struct Probe<'a, K> {
    pub(crate) hash: u64,
    pub(crate) key: &'a K,
}

/// Either of them.
pub(crate) trait Hashed<K> {
    fn hashed(&self) -> (u64, &K);
}

/// The hasher of a map whose keys are hashed already.
pub(crate) type PreHashed = BuildHasherDefault<TakesHash>;

#[derive(Default)]
pub(crate) struct TakesHash(u64);

impl<K> Key<K> {
    pub(crate) fn new(hash: u64, key: K) -> Self {
        let key = Arc::new(key);
        Self { hash, key }
    }

    pub(crate) fn key(&self) -> &Arc<K> {
        &self.key
    }
}

impl<K> Clone for Key<K> {
    fn clone(&self) -> Self {
        let (hash, key) = (self.hash, Arc::clone(&self.key));
        Self { hash, key }
    }
}

impl<K> Hashed<K> for Key<K> {
    fn hashed(&self) -> (u64, &K) {
        (self.hash, &self.key)
    }
}

impl<K> Hashed<K> for Probe<'_, K> {
    fn hashed(&self) -> (u64, &K) {
        (self.hash, self.key)
    }
}

impl<'a, K: 'a> Borrow<dyn Hashed<K> + 'a> for Key<K> {
    fn borrow(&self) -> &(dyn Hashed<K> + 'a) {
        self
    }
}

impl<K> Hash for dyn Hashed<K> + '_ {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hashed().0);
    }
}

impl<K: Eq> PartialEq for dyn Hashed<K> + '_ {
    fn eq(&self, other: &Self) -> bool {
        is_same(self.hashed(), other.hashed())
    }
}

impl<K: Eq> Eq for dyn Hashed<K> + '_ {}

impl<K> Hash for Key<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl<K: Eq> PartialEq for Key<K> {
    fn eq(&self, other: &Self) -> bool {
        is_same(self.hashed(), other.hashed())
    }
}

impl<K: Eq> Eq for Key<K> {}

/// A key is the same as itself, whatever its `Eq` says or does: what has been put in can be taken out.
fn is_same<K: Eq>((hash, key): (u64, &K), (other_hash, other): (u64, &K)) -> bool {
    hash == other_hash && (ptr::eq(key, other) || key == other)
}

impl Hasher for TakesHash {
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("a key writes its hash and nothing else");
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
