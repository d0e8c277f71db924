//! Folders and cgroups of sets of hosts, and those that a dead owner left.
//!
//! Processes and networks cannot be left behind (see `namespace`); files and
//! cgroups can, when the owner was killed.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// Where sets of hosts have their folders: a real disk, for the engine's sake.
fn base() -> PathBuf {
    std::env::var_os("SWARMR_HOSTS_DIR")
        .map_or_else(|| PathBuf::from("/var/tmp/swarmr-hosts"), PathBuf::from)
}

/// A name and a folder that are ours as long as this value lives.
#[derive(Debug)]
pub(crate) struct Claim {
    name: String,
    folder: PathBuf,
    // The lock on it says that we live; the number in it says who we are.
    _owner: File,
}

impl Claim {
    pub(crate) fn new() -> Result<Self> {
        let base = base();
        fs::create_dir_all(&base).with_context(|| format!("create {}", base.display()))?;
        for _ in 0..100 {
            let mut random = [0; 2];
            File::open("/dev/urandom")?.read_exact(&mut random)?;
            let name = format!("sw{:04x}", u16::from_be_bytes(random));
            let folder = base.join(&name);
            if fs::create_dir(&folder).is_err() {
                continue;
            }
            let mut owner = File::create(folder.join("owner.pid"))?;
            owner.lock()?;
            writeln!(owner, "{}", std::process::id())?;
            return Ok(Self {
                name,
                folder,
                _owner: owner,
            });
        }
        bail!("no free name in {}", base.display())
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

/// Removes what owners that are no longer alive left behind.
pub fn sweep() -> Result<()> {
    let base = base();
    if !base.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(&base)?.flatten() {
        let folder = entry.path();
        if is_abandoned(&folder) {
            remove_cgroups(&entry.file_name().to_string_lossy());
            if let Err(error) = fs::remove_dir_all(&folder) {
                eprintln!("test hosts: remove {}: {error}", folder.display());
            }
        }
    }
    Ok(())
}

/// Whether nobody holds the lock; a folder without one may be in the making.
fn is_abandoned(folder: &Path) -> bool {
    match File::open(folder.join("owner.pid")) {
        Ok(owner) => !matches!(owner.try_lock(), Err(TryLockError::WouldBlock)),
        Err(_) => fs::metadata(folder)
            .and_then(|about| about.modified())
            .is_ok_and(|made| {
                made.elapsed()
                    .is_ok_and(|age| age > Duration::from_secs(60))
            }),
    }
}

/// Waits for our turn among the processes that run from the same folder (one
/// target folder: tests side by side), until the file is dropped.
pub(crate) fn turn() -> Result<File> {
    let program = std::env::current_exe()?;
    let folder = program.parent().context("folder of this program")?;
    let turn = File::create(folder.join("testhosts.lock"))?;
    turn.lock().context("wait for our turn")?;
    Ok(turn)
}

/// Removes the empty cgroups of a set of hosts, in every hierarchy.
pub(crate) fn remove_cgroups(name: &str) {
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(root)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    for hierarchy in hierarchies.chain([root.to_owned()]) {
        for entry in fs::read_dir(hierarchy).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(name) {
                remove_tree(&entry.path());
            }
        }
    }
}

/// A cgroup's files cannot be removed, only the folders, from the bottom up.
fn remove_tree(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    let _ = fs::remove_dir(folder);
}
