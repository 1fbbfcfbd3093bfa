//! What must outlive the process: small named documents, each replaced as a whole or not at all.

use super::meters::Meters;
use std::{
    collections::BTreeMap,
    fs,
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// Largest document.
pub const DOCUMENT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Why a document could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The name has characters that do not belong into a file name.
    #[error("`{0}` is not a document name")]
    Name(String),
    /// More than [`DOCUMENT_BYTES_MAX`].
    #[error("document `{0}` is larger than {DOCUMENT_BYTES_MAX} bytes")]
    TooLarge(String),
    /// The file system said no.
    #[error("state directory, document `{name}`: {source}; is it writable, and is there space left?")]
    Files {
        /// The document.
        name: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A place for documents. Clones share it.
#[derive(Clone, Debug)]
pub struct Store {
    place: Place,
    meters: Arc<Meters>,
}

#[derive(Clone, Debug)]
enum Place {
    /// One file per document in this directory.
    Dir(Arc<Path>),
    /// Nothing outlives the process.
    Memory(Arc<Mutex<BTreeMap<String, Vec<u8>>>>),
}

impl Store {
    /// A store in `dir`, which is made if it is not there. A full disk is told and stops nobody: it may be emptied later.
    ///
    /// # Errors
    /// [`StoreError::Files`] if it cannot be made, or written to for another reason.
    pub fn open_dir(dir: &Path, meters: Arc<Meters>) -> Result<Self, StoreError> {
        fs::create_dir_all(dir).map_err(|source| files(&dir.display().to_string(), source))?;
        let store = Self { place: Place::Dir(dir.into()), meters };
        // Found out now, not when the first rollback must be remembered.
        match store.put("probe", b"writable") {
            Err(StoreError::Files { source, .. }) if is_full(&source) => {
                tracing::error!(%source, dir = %dir.display(), "no space for state: a restart would forget what was rejected");
                Ok(store)
            }
            probed => probed.map(|()| store),
        }
    }

    /// A store that ends with the process.
    #[must_use]
    pub fn memory() -> Self {
        Self { place: Place::Memory(Arc::default()), meters: Arc::default() }
    }

    /// The document called `name`, if it was ever written.
    ///
    /// # Errors
    /// [`StoreError`] says what stood in the way.
    pub fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        check(name)?;
        match &self.place {
            Place::Dir(dir) => match fs::read(file(dir, name)) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                Err(source) => Err(files(name, source)),
            },
            Place::Memory(map) => Ok(map.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()),
        }
    }

    /// Replaces the document called `name`. When this returns, it is on disk; when it fails, the old one is.
    ///
    /// # Errors
    /// [`StoreError`] says what stood in the way.
    pub fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        check(name)?;
        if bytes.len() > DOCUMENT_BYTES_MAX {
            return Err(StoreError::TooLarge(name.to_owned()));
        }
        match &self.place {
            Place::Dir(dir) => self.counted(name, replace(dir, name, bytes)),
            Place::Memory(map) => {
                map.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), bytes.to_vec());
                Ok(())
            }
        }
    }
}

impl Store {
    /// Adds `bytes` to the end of the log called `name`. It outlives the process at once, and a loss of power once the system
    /// has written it.
    ///
    /// # Errors
    /// [`StoreError`] says what stood in the way.
    pub fn append(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        check(name)?;
        match &self.place {
            Place::Dir(dir) => {
                let open = fs::OpenOptions::new().append(true).create(true).open(file(dir, name));
                self.counted(name, open.and_then(|mut log| log.write_all(bytes)))
            }
            Place::Memory(map) => {
                let mut map = map.lock().unwrap_or_else(PoisonError::into_inner);
                map.entry(name.to_owned()).or_default().extend_from_slice(bytes);
                Ok(())
            }
        }
    }
}

impl Store {
    fn counted(&self, name: &str, written: std::io::Result<()>) -> Result<(), StoreError> {
        written.map_err(|source| {
            self.meters.store_failures.up();
            files(name, source)
        })
    }
}

fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
}

fn files(name: &str, source: std::io::Error) -> StoreError {
    StoreError::Files { name: name.to_owned(), source }
}

fn check(name: &str) -> Result<(), StoreError> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if !name.is_empty() && name.len() <= 64 && name.chars().all(good) {
        Ok(())
    } else {
        Err(StoreError::Name(name.to_owned()))
    }
}

fn file(dir: &Path, name: &str) -> PathBuf {
    dir.join(name)
}

/// Write beside, flush, rename over, flush the directory: after a crash there is the old file or the new one.
fn replace(dir: &Path, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let beside = dir.join(format!(".{name}.new"));
    let mut new = fs::File::create(&beside)?;
    new.write_all(bytes)?;
    new.sync_all()?;
    fs::rename(&beside, file(dir, name))?;
    fs::File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_is_there_after_opening_again() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open_dir(&dir.path().join("state"), Arc::default()).unwrap();
        assert_eq!(store.get("releases").unwrap(), None);
        store.put("releases", b"one").unwrap();
        store.put("releases", b"two").unwrap();
        let again = Store::open_dir(&dir.path().join("state"), Arc::default()).unwrap();
        assert_eq!(again.get("releases").unwrap().as_deref(), Some(&b"two"[..]));
        for store in [again, Store::memory()] {
            store.append("log", b"a").unwrap();
            store.append("log", b"b").unwrap();
            assert_eq!(store.get("log").unwrap().as_deref(), Some(&b"ab"[..]));
        }
        let memory = Store::memory();
        memory.clone().put("a", b"x").unwrap();
        assert_eq!(memory.get("a").unwrap().as_deref(), Some(&b"x"[..]));
    }

    #[test]
    fn names_and_sizes_have_limits() {
        let store = Store::memory();
        for bad in ["", "../x", "A", "a/b", "a.b", &"a".repeat(65)] {
            assert!(matches!(store.get(bad), Err(StoreError::Name(_))), "{bad}");
        }
        assert!(store.put("a", &vec![0; DOCUMENT_BYTES_MAX]).is_ok());
        let past = vec![0; DOCUMENT_BYTES_MAX + 1];
        assert!(matches!(store.put("a", &past), Err(StoreError::TooLarge(_))));
    }

    #[test]
    fn a_place_that_cannot_be_written_is_found_at_once() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("state"), "a file").unwrap();
        let error = Store::open_dir(&dir.path().join("state"), Arc::default()).unwrap_err();
        assert!(error.to_string().contains("is it writable"), "{error}");
    }
}
