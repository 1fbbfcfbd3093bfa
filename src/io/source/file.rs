//! A mounted ConfigMap directory, or a plain file.
//!
//! The *directory* is watched: a watch on the file itself sees the kubelet's first swap and nothing ever again. Events only say
//! "look"; what counts is the content, compared by hash. A slow look from time to time catches what no event told.

use super::{Document, Documents, publish, revision};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use std::{
    fs::File,
    io::{ErrorKind, Read as _},
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{sync::mpsc, time::timeout};

/// The file's name inside a directory.
pub const FILE_NAME: &str = "routes.yaml";
/// How long a change that no event told may go unseen.
pub const LOOK_EVERY: Duration = Duration::from_secs(3);
/// Bytes that are read at most; the compiler refuses texts far shorter than this, with a reason.
const READ_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// A swap in the middle of a read is read again so often.
const READS_MAX: usize = 5;

/// The source.
#[derive(Debug)]
pub struct FileSource {
    path: PathBuf,
}

impl FileSource {
    /// A source that reads `path`: a directory with [`FILE_NAME`] in it, or a file.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Looks now, and whenever something may have changed; ends when nobody listens any more.
    pub async fn run(self, documents: Documents) {
        let (tell, mut told) = mpsc::channel(1);
        let mut watcher = None;
        loop {
            // The directory may not be there yet, or may have been replaced: a watch is tried for at every look.
            if watcher.is_none() {
                watcher = watch(&self.directory(), tell.clone());
            }
            let read = self.read();
            if read.is_err() {
                watcher = None;
            }
            publish(&documents, read);
            let pause = if watcher.is_some() { LOOK_EVERY } else { LOOK_EVERY / 10 };
            tokio::select! {
                () = documents.closed() => return,
                _ = timeout(pause, told.recv()) => {}
            }
        }
    }

    fn directory(&self) -> PathBuf {
        if self.path.is_dir() {
            return self.path.clone();
        }
        match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        }
    }

    fn read(&self) -> Result<Document, String> {
        let mut last = Err(std::io::Error::from(ErrorKind::NotFound));
        for _ in 0..READS_MAX {
            last = read_once(&self.path);
            // Only a swap between finding the directory and reading the file makes this worth another try.
            if !matches!(&last, Err(error) if error.kind() == ErrorKind::NotFound) {
                break;
            }
        }
        let bytes = last.map_err(|error| unreadable(&self.path, &error))?;
        let revision = revision(&bytes);
        let text = String::from_utf8(bytes)
            .map_err(|_| format!("{} is not UTF-8 text; is it the right file?", self.path.display()))?;
        Ok(Document { text, revision })
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> String {
    let path = path.display();
    match error.kind() {
        ErrorKind::NotFound => {
            format!("{path} is not there (or holds no {FILE_NAME}); is the ConfigMap mounted?")
        }
        ErrorKind::PermissionDenied => {
            format!("{path} may not be read; check its mode and the user of this process")
        }
        _ => format!("{path} cannot be read: {error}"),
    }
}

/// Reads through `..data` as it is at this moment, so that the file never comes from two versions of the directory.
fn read_once(path: &Path) -> std::io::Result<Vec<u8>> {
    let file = if path.is_dir() {
        let data = path.join("..data");
        let resolved = if data.is_symlink() { data.canonicalize()? } else { path.to_owned() };
        resolved.join(FILE_NAME)
    } else {
        path.to_owned()
    };
    // Opening a pipe would wait for somebody to write to it, and everything else with us.
    if !std::fs::metadata(&file)?.is_file() {
        return Err(std::io::Error::new(ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(file)?.take(READ_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn watch(directory: &Path, tell: mpsc::Sender<()>) -> Option<RecommendedWatcher> {
    let tell = move |event: notify::Result<notify::Event>| {
        // Our own reads are accesses; a full channel already says "look".
        if !matches!(event, Ok(notify::Event { kind: EventKind::Access(_), .. })) {
            let _ = tell.try_send(());
        }
    };
    let mut watcher = notify::recommended_watcher(tell).ok()?;
    watcher.watch(directory, RecursiveMode::NonRecursive).ok()?;
    Some(watcher)
}
