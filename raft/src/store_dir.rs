//! The directory of a member: who owns it, in which format it is written, and how files get into
//! it so that a crash leaves the old or the new one.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::StartError;
use crate::member::MemberId;

/// Format of everything below the directory. A change of any file's layout raises it.
const FORMAT: &str = "1";

/// How long to wait for a predecessor that is still stopping.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// A directory that this process has locked and whose format it reads. Unlocks when dropped.
#[derive(Debug)]
pub(crate) struct StoreDir {
    root: PathBuf,
    _lock: File,
}

impl StoreDir {
    /// Creates or opens the directory of member `id`. Blocks for up to some seconds.
    pub(crate) fn open(root: &Path, id: MemberId) -> Result<Self, StartError> {
        fs::create_dir_all(root).map_err(at(root))?;
        let lock = lock(root)?;
        check_format(root, id)?;
        let dir = Self {
            root: root.to_owned(),
            _lock: lock,
        };
        for path in [dir.log(), dir.snapshots()] {
            fs::create_dir_all(&path).map_err(at(&path))?;
        }
        sync_dir(root).map_err(at(root))?;
        Ok(dir)
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    pub(crate) fn snapshots(&self) -> PathBuf {
        self.root.join("snapshots")
    }
}

/// Makes the names in `dir` durable: files created, renamed or removed in it.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Puts a name to a file error.
pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> StartError + '_ {
    move |source| StartError::Io {
        path: path.to_owned(),
        source,
    }
}

fn lock(root: &Path) -> Result<File, StartError> {
    let path = root.join("LOCK");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(at(&path))?;
    let give_up = Instant::now() + LOCK_PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < give_up => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(TryLockError::WouldBlock) => {
                return Err(StartError::InUse {
                    dir: root.to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(at(&path)(source)),
        }
    }
}

/// Writes `FORMAT` into a fresh directory, or checks the one that is there.
fn check_format(root: &Path, id: MemberId) -> Result<(), StartError> {
    let path = root.join("FORMAT");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return write_format(root, id);
        }
        Err(source) => return Err(at(&path)(source)),
    };
    let refuse = || StartError::Format {
        path: path.clone(),
        found: text.trim().replace('\n', ", "),
    };
    let mut lines = text.lines();
    if lines.next().and_then(|line| line.strip_prefix("format ")) != Some(FORMAT) {
        return Err(refuse());
    }
    let member = lines
        .next()
        .and_then(|line| line.strip_prefix("member "))
        .and_then(|number| number.parse::<MemberId>().ok())
        .ok_or_else(refuse)?;
    if member == id {
        Ok(())
    } else {
        Err(StartError::WrongMember {
            dir: root.to_owned(),
            found: member,
            asked: id,
        })
    }
}

fn write_format(root: &Path, id: MemberId) -> Result<(), StartError> {
    let path = root.join("FORMAT");
    if root.join("log").exists() || root.join("snapshots").exists() {
        return Err(StartError::Format {
            path,
            found: "nothing, though there are files beside it".into(),
        });
    }
    let temporary = root.join("FORMAT.new");
    let write = || {
        let mut file = File::create(&temporary)?;
        write!(file, "format {FORMAT}\nmember {id}\n")?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
        sync_dir(root)
    };
    write().map_err(at(&path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_opened_again_by_the_same_member_only() {
        let dir = tempfile::tempdir().unwrap();
        drop(StoreDir::open(dir.path(), 7).unwrap());
        drop(StoreDir::open(dir.path(), 7).unwrap());
        let error = StoreDir::open(dir.path(), 8).unwrap_err();
        assert!(matches!(
            error,
            StartError::WrongMember {
                found: 7,
                asked: 8,
                ..
            }
        ));
    }

    #[test]
    fn another_format_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        drop(StoreDir::open(dir.path(), 7).unwrap());
        fs::write(dir.path().join("FORMAT"), "format 2\nmember 7\n").unwrap();
        let error = StoreDir::open(dir.path(), 7).unwrap_err();
        assert!(error.to_string().contains("format 2"), "{error}");
    }

    #[test]
    fn a_log_without_a_format_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("log")).unwrap();
        let error = StoreDir::open(dir.path(), 7).unwrap_err();
        assert!(matches!(error, StartError::Format { .. }), "{error}");
    }
}
