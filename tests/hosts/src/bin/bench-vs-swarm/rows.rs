//! The rows of the comparison: name, unit, and which way is better.

/// What is measured. The names are a contract: scripts read them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Row {
    /// The command that makes a cluster of one, on a machine whose engine runs.
    Init,
    /// The command that joins a manager.
    Join,
    /// A service of one task on an overlay network, from the request to its
    /// application accepting a connection.
    TaskStart,
    /// A service of 60 tasks, from the request to 60 applications accepting.
    Converge60,
    /// Durable writes through the API, one client after the other.
    Writes1,
    /// The same with 64 clients at a time.
    Writes64,
    /// Power of the leader lost, to the next write accepted by a survivor.
    LeaderFailover,
    /// Power of a worker lost, to all replacements accepting connections.
    NodeFailover,
    /// Proportional set size of every process of an idle leader's host.
    ManagerRss,
    /// Processor time of the same, as a part of one processor.
    ManagerCpu,
}

impl Row {
    pub(crate) const ALL: [Self; 10] = [
        Self::Init,
        Self::Join,
        Self::TaskStart,
        Self::Converge60,
        Self::Writes1,
        Self::Writes64,
        Self::LeaderFailover,
        Self::NodeFailover,
        Self::ManagerRss,
        Self::ManagerCpu,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Join => "join",
            Self::TaskStart => "task_start",
            Self::Converge60 => "converge_60",
            Self::Writes1 => "writes_1",
            Self::Writes64 => "writes_64",
            Self::LeaderFailover => "leader_failover",
            Self::NodeFailover => "node_failover",
            Self::ManagerRss => "manager_rss",
            Self::ManagerCpu => "manager_cpu",
        }
    }

    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Writes1 | Self::Writes64 => "1/s",
            Self::ManagerRss => "MB",
            Self::ManagerCpu => "%",
            _ => "ms",
        }
    }

    pub(crate) fn more_is_better(self) -> bool {
        matches!(self, Self::Writes1 | Self::Writes64)
    }

    pub(crate) fn what(self) -> &'static str {
        match self {
            Self::Init => "first host becomes a cluster",
            Self::Join => "a manager joins",
            Self::TaskStart => "one task created to its application accepting",
            Self::Converge60 => "60 tasks created to 60 applications accepting",
            Self::Writes1 => "durable writes, 1 client",
            Self::Writes64 => "durable writes, 64 clients",
            Self::LeaderFailover => "leader's power lost to next accepted write",
            Self::NodeFailover => "worker's power lost to its tasks replaced",
            Self::ManagerRss => "memory of an idle leader, engine included",
            Self::ManagerCpu => "processor of an idle leader, engine included",
        }
    }
}
