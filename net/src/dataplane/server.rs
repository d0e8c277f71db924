//! The process of the data plane: what listens on its socket.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Mutex, Semaphore};
use tokio_util::sync::CancellationToken;

use super::message::{Answer, Ask, GENERATION, receive, send};
use super::{Plane, handover};
use crate::balance::HeldSocket;
use crate::in_words;

/// Connections of daemons and successors at one time.
const AT_ONCE: usize = 16;
/// How long to wait after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long what runs through a process that has a successor may go on.
const LAST_WORDS: Duration = Duration::from_secs(24 * 3600);

/// The process cannot serve.
#[derive(Debug, Error)]
pub enum ServeError {
    #[error("cannot listen at {}", path.display())]
    Listen {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Where a generation listens.
pub(super) fn socket_in(folder: &Path, generation: u32) -> PathBuf {
    folder.join(format!("{generation}.sock"))
}

/// The sockets of other generations.
pub(super) fn others_in(folder: &Path, generation: u32) -> Vec<PathBuf> {
    let own = socket_in(folder, generation);
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    paths
        .filter(|path| *path != own && path.extension().is_some_and(|it| it == "sock"))
        .collect()
}

/// Serves on a socket in `folder` until it is told to end, or until `stop`.
/// Takes over from a process of another generation that it finds there. Must
/// be called in a tokio runtime.
pub async fn serve(folder: &Path, stop: CancellationToken) -> Result<(), ServeError> {
    serve_as(GENERATION, folder, stop).await
}

pub(super) async fn serve_as(
    generation: u32,
    folder: &Path,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let path = socket_in(folder, generation);
    let problem = |source| ServeError::Listen {
        path: path.clone(),
        source,
    };
    let mut plane = Plane::default();
    for other in others_in(folder, generation) {
        plane.adopt(take_over(other).await);
    }
    let listener = listen(folder, &path).map_err(problem)?;
    tracing::info!(socket = %path.display(), "the data plane is ready");
    let server = Arc::new(Server {
        plane: Mutex::new(plane),
        end: stop,
        generation,
        path,
    });
    server.accept(listener).await;
    Ok(())
}

/// What the process at `path` holds; nothing where there is none.
async fn take_over(path: PathBuf) -> Vec<(HeldSocket, OwnedFd)> {
    let shown = path.display().to_string();
    let taken = tokio::task::spawn_blocking(move || handover::take(&path)).await;
    match taken.unwrap_or_else(|error| Err(io::Error::other(error))) {
        Ok(sockets) => sockets,
        Err(error) => {
            tracing::info!(%error, socket = shown, "nothing to take over");
            Vec::new()
        }
    }
}

fn listen(folder: &Path, path: &Path) -> io::Result<UnixListener> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

struct Server {
    plane: Mutex<Plane>,
    end: CancellationToken,
    generation: u32,
    path: PathBuf,
}

/// Whether a connection goes on.
enum Next {
    Listen,
    Close,
}

impl Server {
    async fn accept(self: Arc<Self>, listener: UnixListener) {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        loop {
            let accepted = tokio::select! {
                () = self.end.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let Ok(place) = places.clone().try_acquire_owned() else {
                continue;
            };
            let server = self.clone();
            tokio::spawn(async move {
                server.attend(stream).await;
                drop(place);
            });
        }
    }

    /// One connection, until its end.
    async fn attend(&self, mut stream: UnixStream) {
        loop {
            let ask = tokio::select! {
                () = self.end.cancelled() => return,
                ask = receive::<Ask>(&mut stream) => ask,
            };
            let next = match ask {
                Ok(Ask::HandOver) => return self.hand_over(stream).await,
                Ok(ask) => self.answer(ask, &mut stream).await,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return,
                Err(error) => {
                    tracing::warn!(%error, "a message cannot be read");
                    let answer = Answer::Failed(error.to_string());
                    // Whoever sent it may be gone.
                    let _ = send(&mut stream, &answer).await;
                    return;
                }
            };
            match next {
                Ok(Next::Listen) => {}
                Ok(Next::Close) | Err(_) => return,
            }
        }
    }

    async fn answer(&self, ask: Ask, stream: &mut UnixStream) -> io::Result<Next> {
        let answer = match ask {
            Ask::Hello => Answer::Hello {
                generation: self.generation,
            },
            Ask::Hold(ports) => {
                let mut plane = self.plane.lock().await;
                let problems = plane.hold(&ports);
                Answer::Held {
                    held: plane.held(),
                    problems,
                }
            }
            Ask::Release(ports) => {
                self.plane.lock().await.release(&ports);
                Answer::Done
            }
            Ask::Name { upstreams, table } => {
                match self.plane.lock().await.name(&upstreams, &table) {
                    Ok(problems) => Answer::Named { problems },
                    Err(error) => Answer::Failed(error.to_string()),
                }
            }
            Ask::Tunnel(want) => {
                let tunneled = self.plane.lock().await.tunnel(want.as_deref()).await;
                Answer::Tunneled {
                    problem: tunneled.err().map(|error| in_words(&error)),
                }
            }
            Ask::Retire => {
                send(stream, &Answer::Done).await?;
                self.retire().await;
                return Ok(Next::Close);
            }
            Ask::End => {
                self.forget_socket();
                self.plane.lock().await.close_names().await;
                send(stream, &Answer::Done).await?;
                self.end.cancel();
                return Ok(Next::Close);
            }
            Ask::HandOver => Answer::Failed("not here".to_owned()),
        };
        send(stream, &answer).await?;
        Ok(Next::Listen)
    }

    async fn hand_over(&self, stream: UnixStream) {
        let sockets = self.plane.lock().await.share();
        let given = match stream.into_std() {
            Ok(stream) => {
                tokio::task::spawn_blocking(move || handover::give(&stream, &sockets)).await
            }
            Err(error) => Ok(Err(error)),
        };
        match given.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(()) => tracing::info!("the sockets were handed to a successor"),
            Err(error) => tracing::warn!(%error, "a successor did not get the sockets"),
        }
    }

    async fn retire(&self) {
        self.forget_socket();
        let mut plane = self.plane.lock().await;
        if tokio::time::timeout(LAST_WORDS, plane.retire())
            .await
            .is_err()
        {
            tracing::warn!("connections that were still open are cut");
        }
        self.end.cancel();
    }

    fn forget_socket(&self) {
        // Whoever looks for it finds the successor, or nobody.
        let _ = fs::remove_file(&self.path);
    }
}
