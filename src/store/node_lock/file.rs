//! A lock (flock(2)) on a file beside SQLite's.
//!
//! The system releases the lock when its owner ends, however it ends: a living owner is told from a dead one at once,
//! without a clock, and a restart after a crash doesn't wait. SQLite with WAL serves the processes of one machine only,
//! so a lock of that machine reaches all of them.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::super::StoreError;
use super::NodeRole;
use crate::clock;

/// Longest text that is read out of a lock's file, in bytes: one line of ours.
const WORDS_MAX: u64 = 512;

/// Held as long as this process is what it has claimed to be.
#[derive(Debug)]
pub(super) struct FileLock {
    // Locked until it is closed.
    _file: File,
    path: PathBuf,
}

impl FileLock {
    /// Takes the office. Nothing else of the store is touched. `at`: where this process is to be found, for the words
    /// that another one is refused with.
    pub fn take(database: &Path, office: NodeRole<'_>, at: &str) -> Result<Self, StoreError> {
        let path = path_of(&own_path(database)?, office);
        let wrong = |error: io::Error| StoreError::open(&path.display(), &format!("it cannot be locked: {error}"));
        loop {
            let mut file = open(&path).map_err(wrong)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(office.claimed(words(&mut file))),
                Err(TryLockError::Error(error)) => return Err(wrong(error)),
            }
            // An owner that ends removes the file: then this lock is on one that nobody else will find.
            if is_at(&file, &path) {
                introduce(&mut file, office, at);
                return Ok(Self { _file: file, path });
            }
        }
    }

    /// A living process that has any office of the database, in words.
    pub fn any_owner(database: &Path) -> Option<String> {
        let path = own_path(database).ok()?;
        let (folder, name) = (path.parent()?, path.file_name()?.to_str()?);
        fs::read_dir(folder).ok()?.flatten().find_map(|entry| {
            let other = entry.file_name();
            let rest = other.to_str()?.strip_prefix(name)?;
            (rest.starts_with('-') && rest.ends_with(".lock")).then(|| held_by(&entry.path())).flatten()
        })
    }

    /// The living process that has the office, in words.
    pub fn owner(database: &Path, office: NodeRole<'_>) -> Option<String> {
        let path = path_of(&own_path(database).ok()?, office);
        held_by(&path)
    }
}

fn held_by(path: &Path) -> Option<String> {
    let mut file = File::open(path).ok()?;
    matches!(file.try_lock(), Err(TryLockError::WouldBlock)).then(|| words(&mut file))
}

impl Drop for FileLock {
    /// While the lock is held: whoever has opened the file meanwhile notices.
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(%error, path = %self.path.display(), "a lock's file stays");
        }
    }
}

fn path_of(database: &Path, office: NodeRole<'_>) -> PathBuf {
    let ending = match office {
        NodeRole::Node(id) => format!("-node-{id}.lock"),
        NodeRole::Eim => "-eim.lock".to_owned(),
    };
    let mut name = database.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// The database's file by its one name: the folder made (mode 0700) where it is missing, links followed.
pub(in super::super) fn own_path(path: &Path) -> Result<PathBuf, StoreError> {
    if let Ok(found) = path.canonicalize() {
        return Ok(found);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder).and_then(|()| folder.canonicalize());
    let folder =
        made.map_err(|error| StoreError::open(&path.display(), &format!("its folder cannot be made: {error}")))?;
    Ok(folder.join(path.file_name().unwrap_or_default()))
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn is_at(file: &File, path: &Path) -> bool {
    let same = |there: fs::Metadata, ours: fs::Metadata| (there.dev(), there.ino()) == (ours.dev(), ours.ino());
    fs::metadata(path).is_ok_and(|there| file.metadata().is_ok_and(|ours| same(there, ours)))
}

/// Writes down who has the lock. The lock holds without it, so a full disk is no reason not to start.
fn introduce(file: &mut File, office: NodeRole<'_>, at: &str) {
    let since = clock::utc(clock::date_ms());
    let line = format!("{}, process {}, since {since}, at {at}\n", office.name(), std::process::id());
    if let Err(error) = file.set_len(0).and_then(|()| file.write_all(line.as_bytes())) {
        tracing::debug!(%error, "a lock's file doesn't say whose it is");
    }
}

fn words(file: &mut File) -> String {
    let mut line = String::new();
    let read = file.take(WORDS_MAX).read_to_string(&mut line);
    let line = line.trim();
    if read.is_err() || line.is_empty() { "a process that hasn't said who it is".to_owned() } else { line.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_office_has_one_living_owner_however_the_file_is_called() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("data/confgate.db");
        let claim = FileLock::take(&store, NodeRole::Node("node1"), "127.0.0.1:9092").unwrap();
        std::fs::write(&store, "").unwrap();
        std::os::unix::fs::symlink(folder.path().join("data"), folder.path().join("other")).unwrap();
        std::os::unix::fs::symlink("data/confgate.db", folder.path().join("link.db")).unwrap();
        for name in ["data/confgate.db", "data/../data/confgate.db", "other/confgate.db", "link.db"] {
            let other = folder.path().join(name);
            let refusal = FileLock::take(&other, NodeRole::Node("node1"), "elsewhere").unwrap_err().to_string();
            let own = format!("process {}", std::process::id());
            for word in ["\"node1\"", &own, "since 20", "127.0.0.1:9092", "stop that process"] {
                assert!(refusal.contains(word), "{name}: {word} is missing in: {refusal}");
            }
        }
        assert!(FileLock::owner(&store, NodeRole::Node("node1")).is_some_and(|words| words.contains("127.0.0.1:9092")));
        let eim = FileLock::take(&store, NodeRole::Eim, "here").unwrap();
        FileLock::take(&store, NodeRole::Node("node2"), "here").unwrap();
        drop((claim, eim));
        assert_eq!(FileLock::owner(&store, NodeRole::Node("node1")), None);
        let left: Vec<_> = std::fs::read_dir(folder.path().join("data")).unwrap().flatten().collect();
        assert_eq!(left.len(), 1, "an owner that ends leaves no lock's file: {left:?}");
        FileLock::take(&store, NodeRole::Node("node1"), "again").unwrap();
    }

    #[test]
    fn lock_of_a_killed_owner_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("confgate.db");
        let line = "node \"node1\", process 1, since 2026-01-01T00:00:00Z, at 127.0.0.1:9092\n";
        std::fs::write(folder.path().join("confgate.db-node-node1.lock"), line).unwrap();
        assert_eq!(FileLock::owner(&store, NodeRole::Node("node1")), None);
        FileLock::take(&store, NodeRole::Node("node1"), "here").unwrap();
    }
}
