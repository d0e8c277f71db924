//! The state directory: `node/ tls/ raft/ agent/`, a VERSION, and a lock held while the daemon runs.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use crate::state::assignment::ManagerAddr;

/// Format of the directory as a whole.
const VERSION: &str = "1";
const PARTS: [&str; 4] = ["node", "tls", "raft", "agent"];

/// What a node must remember of itself to come back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) listen: SocketAddr,
    /// What other nodes dial.
    pub(crate) advertise: SocketAddr,
    pub(crate) data_path_addr: Ipv4Addr,
    /// This node's number in the Raft group, once it has one.
    pub(crate) raft_id: Option<u64>,
    /// Where managers were last known to be.
    pub(crate) managers: Vec<ManagerAddr>,
}

/// The directory, locked.
#[derive(Debug, Clone)]
pub(crate) struct StateDirectory {
    root: PathBuf,
    _lock: Arc<nix::fcntl::Flock<File>>,
}

impl StateDirectory {
    /// Opens or makes it. Refuses one of another format, and one that another daemon uses.
    pub(crate) fn open(root: &Path) -> anyhow::Result<Self> {
        let what = || format!("state directory {}", root.display());
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(root)
            .with_context(what)?;
        fs::set_permissions(root, fs::Permissions::from_mode(0o700)).with_context(what)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(root.join("lock"))
            .with_context(what)?;
        let lock = nix::fcntl::Flock::lock(lock, nix::fcntl::FlockArg::LockExclusiveNonblock).map_err(|(_, _)| {
            anyhow::anyhow!(
                "{} is in use by another swarmr daemon: stop that one, or give --state-dir another directory",
                what()
            )
        })?;
        let directory = Self {
            root: root.to_owned(),
            _lock: Arc::new(lock),
        };
        directory.check_version()?;
        for part in PARTS {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(root.join(part))
                .with_context(what)?;
        }
        Ok(directory)
    }

    fn check_version(&self) -> anyhow::Result<()> {
        let path = self.root.join("VERSION");
        match fs::read_to_string(&path) {
            Ok(found) if found.trim() == VERSION => Ok(()),
            Ok(found) => bail!(
                "{} says format {:?}, this version of swarmr reads format {VERSION}: run the version that wrote it, \
                 or give --state-dir an empty directory",
                path.display(),
                found.trim()
            ),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                write_atomically(&path, format!("{VERSION}\n").as_bytes())
            }
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    pub(crate) fn tls(&self) -> PathBuf {
        self.root.join("tls")
    }

    pub(crate) fn raft(&self) -> PathBuf {
        self.root.join("raft")
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// What the fake engine keeps of its containers; beside the parts, for an engine outlives them.
    pub(crate) fn fake_engine(&self) -> PathBuf {
        self.root.join("fake-engine")
    }

    fn settings_path(&self) -> PathBuf {
        self.root.join("node").join("settings.json")
    }

    /// What was saved, `None` for a machine that is in no cluster.
    pub(crate) fn load_settings(&self) -> anyhow::Result<Option<Settings>> {
        let path = self.settings_path();
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).with_context(|| {
                format!(
                    "{} is not what this version of swarmr writes",
                    path.display()
                )
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    pub(crate) fn save_settings(&self, settings: &Settings) -> anyhow::Result<()> {
        write_atomically(&self.settings_path(), &serde_json::to_vec_pretty(settings)?)
    }

    /// Forgets a Raft group that this node is no longer in.
    pub(crate) fn clear_raft(&self) -> anyhow::Result<()> {
        self.clear("raft")
    }

    /// Forgets the cluster. What makes a start take up a place in it goes first: after a crash in
    /// between the node is in no cluster, and not in one without its log.
    pub(crate) fn clear_all(&self) -> anyhow::Result<()> {
        for part in ["node", "raft", "agent", "tls"] {
            self.clear(part)?;
        }
        Ok(())
    }

    fn clear(&self, part: &str) -> anyhow::Result<()> {
        let path = self.root.join(part);
        let what = || format!("cannot clear {}", path.display());
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(what);
            }
            _ => {}
        }
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .with_context(what)
    }
}

/// Writes a file whole or not at all, and makes it last.
fn write_atomically(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let what = || format!("cannot write {}", path.display());
    let directory = path.parent().with_context(what)?;
    let mut file = tempfile::NamedTempFile::new_in(directory).with_context(what)?;
    file.write_all(bytes).with_context(what)?;
    file.as_file().sync_all().with_context(what)?;
    file.persist(path).with_context(what)?;
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .with_context(what)
}
