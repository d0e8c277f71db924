//! The socket that clients use, and the signals that end the daemon.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};

/// Binds the socket, replacing one that a daemon which is gone has left behind. Members of `group`
/// may use it, where there is such a group.
pub(super) fn listen(path: &Path, group: &str) -> anyhow::Result<UnixListener> {
    let what = || format!("cannot listen on {}", path.display());
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).with_context(what)?;
    }
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            bail!(
                "{}: something that is no socket is there: move it away, or give --socket another path",
                what()
            )
        }
        Ok(_) => {
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                bail!(
                    "{}: another daemon answers there: stop it, or give --socket another path",
                    what()
                );
            }
            fs::remove_file(path).with_context(what)?;
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(what),
    }
    let listener = UnixListener::bind(path).with_context(what)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660)).with_context(what)?;
    if let Ok(Some(group)) = nix::unistd::Group::from_name(group) {
        nix::unistd::chown(path, None, Some(group.gid)).with_context(what)?;
    }
    Ok(listener)
}

/// Returns at SIGTERM or SIGINT.
pub(super) async fn wait_for_signal() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch for SIGINT")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
