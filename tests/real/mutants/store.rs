//! The store of the whole program, as far as tests of the core need it: in memory.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Mutex, PoisonError},
};

/// Documents by their names.
#[derive(Debug)]
pub struct Store(Mutex<BTreeMap<String, Vec<u8>>>);

impl Store {
    pub fn memory() -> Self {
        Self(Mutex::default())
    }

    pub fn get(&self, name: &str) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned())
    }

    pub fn put(&self, name: &str, bytes: &[u8]) -> Result<(), Infallible> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), bytes.to_vec());
        Ok(())
    }
}
