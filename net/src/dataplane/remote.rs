//! The daemon's end: starts the process, finds it again, tells it everything.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use thiserror::Error;
use tokio::net::UnixStream;
use tokio::process::Command;
use tokio::time::{Instant, timeout};

use super::message::{Answer, Ask, GENERATION, receive, send};
use super::server::{others_in, socket_in};
use crate::balance::{HoldProblem, Protocol};
use crate::dns::{ListenProblem, Table};
use crate::tunnel::TunnelWant;

/// What the process may take for one answer. One that takes longer is hung,
/// and replaced.
const DEADLINE: Duration = Duration::from_secs(10);
/// From the start of the process to its first answer.
const START_DEADLINE: Duration = Duration::from_secs(10);
const START_POLL: Duration = Duration::from_millis(5);

/// How the process is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// The program and its arguments: it must call [`serve`](super::serve)
    /// with `folder`.
    pub program: PathBuf,
    pub arguments: Vec<OsString>,
    /// Where its socket is.
    pub folder: PathBuf,
}

/// The process of the data plane did not do what it was asked.
#[derive(Debug, Error)]
pub enum RemoteError {
    #[error("{} cannot be started for names and published ports", program.display())]
    Start {
        program: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the process for names and published ports does not answer")]
    Silent(#[source] io::Error),
    #[error("the process for names and published ports says: {0}")]
    Refused(String),
    /// Nothing of encrypted networks leaves or enters this host.
    #[error("encrypted networks are cut off: {0}")]
    Tunnel(String),
}

/// The process of the data plane, there or not. It runs while it has anything
/// to serve.
#[derive(Debug)]
pub struct Remote {
    launch: Launch,
    upstreams: Vec<SocketAddr>,
    stream: Option<UnixStream>,
    /// What it should serve: told again whenever the process is another one.
    wanted: Wanted,
    /// The table that it answers from, if it has problems with none.
    named: Option<Table>,
    /// Whether its tunnel is as wanted.
    tunneled: bool,
}

#[derive(Debug, Default)]
struct Wanted {
    ports: BTreeSet<(Protocol, u16)>,
    table: Table,
    tunnel: Option<TunnelWant>,
}

impl Wanted {
    fn is_nothing(&self) -> bool {
        self.ports.is_empty() && self.table == Table::default() && self.tunnel.is_none()
    }
}

impl Remote {
    /// Nothing is started before there is something to serve.
    pub fn new(launch: Launch, upstreams: Vec<SocketAddr>) -> Self {
        Self {
            launch,
            upstreams,
            stream: None,
            wanted: Wanted::default(),
            named: None,
            tunneled: false,
        }
    }

    pub(super) async fn hold(
        &mut self,
        ports: &BTreeSet<(Protocol, u16)>,
    ) -> Result<(BTreeSet<(Protocol, u16)>, Vec<HoldProblem>), RemoteError> {
        self.wanted.ports.extend(ports);
        if self.wanted.is_nothing() {
            return Ok((BTreeSet::new(), Vec::new()));
        }
        match self.ask(Ask::Hold(ports.clone())).await? {
            Answer::Held { held, problems } => Ok((held, problems)),
            other => Err(unexpected(&other)),
        }
    }

    pub(super) async fn release(
        &mut self,
        ports: &BTreeSet<(Protocol, u16)>,
    ) -> Result<(), RemoteError> {
        let unchanged = self.wanted.ports == *ports;
        self.wanted.ports.clone_from(ports);
        if unchanged && self.stream.is_some() {
            return Ok(());
        }
        if self.wanted.is_nothing() {
            return self.end().await;
        }
        match self.ask(Ask::Release(ports.clone())).await? {
            Answer::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    pub(super) async fn name(&mut self, table: &Table) -> Result<Vec<ListenProblem>, RemoteError> {
        if self.wanted.table != *table {
            self.wanted.table.clone_from(table);
            self.named = None;
        }
        if self.wanted.is_nothing() {
            self.end().await?;
            return Ok(Vec::new());
        }
        if self.stream.is_some() && self.named.as_ref() == Some(table) {
            return Ok(Vec::new());
        }
        match self.ask(self.naming()).await? {
            Answer::Named { problems } => {
                self.named = problems.is_empty().then(|| table.clone());
                Ok(problems)
            }
            other => Err(unexpected(&other)),
        }
    }

    pub(super) async fn tunnel(&mut self, want: Option<&TunnelWant>) -> Result<(), RemoteError> {
        if self.wanted.tunnel.as_ref() != want {
            self.wanted.tunnel = want.cloned();
            self.tunneled = false;
        }
        if self.wanted.is_nothing() {
            return self.end().await;
        }
        if self.stream.is_some() && self.tunneled {
            return Ok(());
        }
        match self.ask(self.tunneling()).await? {
            Answer::Tunneled { problem: None } => {
                self.tunneled = true;
                Ok(())
            }
            Answer::Tunneled {
                problem: Some(problem),
            } => Err(RemoteError::Tunnel(problem)),
            other => Err(unexpected(&other)),
        }
    }

    pub(super) fn doubt_tunnel(&mut self) {
        self.tunneled = false;
    }

    /// Finds out whether the process is there; if not, starts it and tells it
    /// everything.
    pub(super) async fn reconcile(&mut self) -> Result<(), RemoteError> {
        if self.wanted.is_nothing() {
            return Ok(());
        }
        self.named = None;
        self.tunneled = false;
        self.ask(Ask::Hello).await.map(drop)
    }

    /// Whether the process answers, or none is needed.
    pub(super) async fn is_there(&mut self) -> bool {
        if self.wanted.is_nothing() {
            return true;
        }
        let Some(stream) = &mut self.stream else {
            return false;
        };
        match talk(stream, &Ask::Hello).await {
            Ok(_) => true,
            Err(error) => {
                // What comes late would be taken for the next answer.
                if error.kind() == io::ErrorKind::TimedOut {
                    self.give_up();
                }
                false
            }
        }
    }

    /// Returns when the process has died; never while there is none.
    pub(super) async fn gone(&self) {
        let Some(stream) = &self.stream else {
            return std::future::pending().await;
        };
        loop {
            // Nothing is said unasked: what can be read is the end.
            let ready = stream.readable().await;
            match ready.and_then(|()| stream.try_read(&mut [0])) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                _ => return,
            }
        }
    }

    fn naming(&self) -> Ask {
        Ask::Name {
            upstreams: self.upstreams.clone(),
            table: self.wanted.table.clone(),
        }
    }

    fn tunneling(&self) -> Ask {
        Ask::Tunnel(self.wanted.tunnel.clone().map(Box::new))
    }

    /// Asks; a process that has died is started again and asked once more.
    async fn ask(&mut self, ask: Ask) -> Result<Answer, RemoteError> {
        if let Some(stream) = &mut self.stream {
            match talk(stream, &ask).await {
                Ok(answer) => return accept(answer),
                Err(error) => {
                    tracing::warn!(%error, "the process for names and published ports is gone");
                    self.give_up();
                }
            }
        }
        let mut stream = self.open().await?;
        let answer = talk(&mut stream, &ask).await;
        self.stream = Some(stream);
        match answer {
            Ok(answer) => accept(answer),
            Err(error) => {
                self.give_up();
                Err(RemoteError::Silent(error))
            }
        }
    }

    /// A process that knows everything.
    async fn open(&mut self) -> Result<UnixStream, RemoteError> {
        let path = socket_in(&self.launch.folder, GENERATION);
        let mut stream = match greet(&path).await {
            Ok(stream) => stream,
            Err(_) => self.start(&path).await?,
        };
        let others = others_in(&self.launch.folder, GENERATION);
        for other in &others {
            // There is one device and one port for tunnels.
            tell(other, &Ask::Tunnel(None)).await;
        }
        let everything = [
            Ask::Hold(self.wanted.ports.clone()),
            self.tunneling(),
            self.naming(),
        ];
        for ask in everything {
            let told = talk(&mut stream, &ask).await;
            accept(told.map_err(RemoteError::Silent)?)?;
        }
        // Whoever served before has a successor now.
        for other in &others {
            tell(other, &Ask::Retire).await;
        }
        Ok(stream)
    }

    async fn start(&self, path: &Path) -> Result<UnixStream, RemoteError> {
        let launch = &self.launch;
        let problem = |source| RemoteError::Start {
            program: launch.program.clone(),
            source,
        };
        let mut child = Command::new(&launch.program)
            .args(&launch.arguments)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(problem)?;
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            match greet(path).await {
                Ok(stream) => return Ok(stream),
                Err(error) if Instant::now() >= deadline => return Err(problem(error)),
                Err(_) => {}
            }
            if let Ok(Some(status)) = child.try_wait() {
                let how = io::Error::other(format!("it ended with {status}"));
                return Err(problem(how));
            }
            tokio::time::sleep(START_POLL).await;
        }
    }

    /// One that does not answer holds what its successor needs.
    fn give_up(&mut self) {
        self.named = None;
        self.tunneled = false;
        let Some(stream) = self.stream.take() else {
            return;
        };
        if let Ok(credentials) = stream.peer_cred()
            && let Some(pid) = credentials.pid()
            && is_launched(&self.launch, pid)
        {
            // It may be gone already.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }

    async fn end(&mut self) -> Result<(), RemoteError> {
        self.named = None;
        self.tunneled = false;
        let stream = match self.stream.take() {
            Some(stream) => Ok(stream),
            // A former daemon's.
            None => greet(&socket_in(&self.launch.folder, GENERATION)).await,
        };
        match stream {
            Ok(mut stream) => {
                let ended = talk(&mut stream, &Ask::End).await;
                ended.map(drop).map_err(RemoteError::Silent)
            }
            Err(_) => Ok(()),
        }
    }
}

/// Whether a process is one of ours, and not another that got its number.
fn is_launched(launch: &Launch, pid: i32) -> bool {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut words = line.split(|byte| *byte == 0).skip(1);
    let first = launch.arguments.first();
    first.is_some_and(|first| words.next() == Some(first.as_encoded_bytes()))
}

async fn greet(path: &Path) -> io::Result<UnixStream> {
    let mut stream = UnixStream::connect(path).await?;
    match talk(&mut stream, &Ask::Hello).await? {
        Answer::Hello { generation } if generation == GENERATION => Ok(stream),
        other => Err(io::Error::other(format!("{other:?}"))),
    }
}

/// To a process of another generation.
async fn tell(path: &Path, ask: &Ask) {
    let told = async {
        let mut stream = UnixStream::connect(path).await?;
        talk(&mut stream, ask).await
    };
    if let Err(error) = told.await {
        tracing::debug!(%error, socket = %path.display(), "nobody to tell");
        // A dead process's: nothing else uses the folder.
        let _ = std::fs::remove_file(path);
    }
}

async fn talk(stream: &mut UnixStream, ask: &Ask) -> io::Result<Answer> {
    let answer = timeout(DEADLINE, async {
        send(stream, ask).await?;
        receive(stream).await
    });
    answer.await.unwrap_or_else(|_| {
        let text = format!("no answer within {} s", DEADLINE.as_secs());
        Err(io::Error::new(io::ErrorKind::TimedOut, text))
    })
}

fn accept(answer: Answer) -> Result<Answer, RemoteError> {
    match answer {
        Answer::Failed(why) => Err(RemoteError::Refused(why)),
        answer => Ok(answer),
    }
}

fn unexpected(answer: &Answer) -> RemoteError {
    RemoteError::Refused(format!("an answer to another question: {answer:?}"))
}
