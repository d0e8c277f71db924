//! `swarmr service logs`.

use std::collections::BTreeMap;

use bytes::BytesMut;
use clap::Args;

use crate::api::client::{ClientError, Streamed, target};
use crate::api::wire::{Service, Task};
use crate::cli::context::Context;
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::short_id;
use crate::cli::task_table::Names;
use crate::spec::{Timestamp, parse};

/// Stream, three zeros, length.
const HEADER_BYTES: usize = 8;
/// No line is longer; a length above it means that the stream is not what it says.
const MAX_FRAME_BYTES: usize = 64 << 20;

#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// Id or name of a service, or id of a task
    #[arg(value_name = "SERVICE|TASK")]
    name: String,
    /// Show further details of each line
    #[arg(long)]
    details: bool,
    /// Go on showing what is written
    #[arg(short, long)]
    follow: bool,
    /// Show ids instead of names
    #[arg(long)]
    no_resolve: bool,
    /// Leave the tasks' ids out
    #[arg(long)]
    no_task_ids: bool,
    /// Show ids whole
    #[arg(long)]
    no_trunc: bool,
    /// Show the lines as they are
    #[arg(long)]
    raw: bool,
    /// Only what was written since an instant, or for so long: 2026-11-23T02:30:00Z, 10m
    #[arg(long, value_name = "INSTANT|DURATION")]
    since: Option<String>,
    /// Only the last lines of each task
    #[arg(short = 'n', long, value_name = "COUNT", default_value = "all")]
    tail: String,
    /// Show when each line was written
    #[arg(short, long)]
    timestamps: bool,
}

pub(super) async fn run(context: &Context, args: LogsArgs) -> Result<(), Failure> {
    let path = find(context, &args.name).await?;
    let query = query(&args, context.now())?;
    let query: Vec<(&str, &str)> = query
        .iter()
        .map(|(key, value)| (*key, value.as_str()))
        .collect();
    let mut stream = context
        .client
        .stream(&target(&[&path.0, &path.1, "logs"], &query))
        .await?;
    let labels = if args.raw {
        Labels::default()
    } else {
        Labels::fetch(context, &args).await?
    };
    let multiplexed = !stream.content_type().ends_with("raw-stream");
    if multiplexed {
        show_frames(&mut stream, &args, &labels).await
    } else {
        while let Some(bytes) = stream.next().await? {
            write(1, &bytes)?;
        }
        Ok(())
    }
}

/// `services/ID`, or `tasks/ID` where there is no such service.
async fn find(context: &Context, name: &str) -> Result<(String, String), Failure> {
    match context.get::<Service>(&["services", name], &[]).await {
        Ok(service) => Ok(("services".to_owned(), service.id.to_string())),
        Err(failure) if failure.exit == Exit::NotFound => {
            let task: Task =
                context
                    .get(&["tasks", name], &[])
                    .await
                    .map_err(|other| match other.exit {
                        Exit::NotFound => {
                            Failure::new(Exit::NotFound, format!("no such service or task: {name}"))
                        }
                        _ => other,
                    })?;
            Ok(("tasks".to_owned(), task.id.to_string()))
        }
        Err(failure) => Err(failure),
    }
}

fn query(args: &LogsArgs, now: Timestamp) -> Result<Vec<(&'static str, String)>, Failure> {
    if args.tail != "all" && args.tail.parse::<u64>().is_err() {
        return Err(Failure::usage(format!(
            "--tail {:?} is not valid: want \"all\" or a number of lines",
            args.tail
        )));
    }
    let yes = || "1".to_owned();
    let mut query = vec![
        ("stdout", yes()),
        ("stderr", yes()),
        ("tail", args.tail.clone()),
        // Where a line comes from stands in its details.
        ("details", yes()),
    ];
    if args.follow {
        query.push(("follow", yes()));
    }
    if args.timestamps {
        query.push(("timestamps", yes()));
    }
    if let Some(since) = &args.since {
        query.push(("since", instant(since, now)?));
    }
    Ok(query)
}

/// Seconds since 1970 with nine decimal places, from an instant or a length of time.
fn instant(text: &str, now: Timestamp) -> Result<String, Failure> {
    let at = if let Ok(length) = parse::duration(text) {
        now + crate::spec::Nanos(-length.0)
    } else if let Ok(at) = text.parse::<Timestamp>() {
        at
    } else if let Ok(seconds) = text.parse::<i64>() {
        Timestamp(seconds.saturating_mul(1_000_000_000))
    } else {
        return Err(Failure::usage(format!(
            "--since {text:?} is not valid: want an instant such as 2026-11-23T02:30:00Z or a \
             length of time such as 10m"
        )));
    };
    let seconds = at.0.div_euclid(1_000_000_000);
    let nanos = at.0.rem_euclid(1_000_000_000);
    Ok(format!("{seconds}.{nanos:09}"))
}

async fn show_frames(
    stream: &mut Streamed,
    args: &LogsArgs,
    labels: &Labels,
) -> Result<(), Failure> {
    let mut buffer = BytesMut::new();
    loop {
        while let Some((kind, payload)) = next_frame(&mut buffer)? {
            let line = String::from_utf8_lossy(&payload);
            let shown = if args.raw {
                without_details(&line, args.timestamps)
            } else {
                labels.line(&line, args)
            };
            write(kind, shown.as_bytes())?;
        }
        match stream.next().await.map_err(Failure::from)? {
            Some(bytes) => buffer.extend_from_slice(&bytes),
            None => return Ok(()),
        }
    }
}

/// Takes one whole frame off the buffer: which stream it belongs to, and its bytes.
fn next_frame(buffer: &mut BytesMut) -> Result<Option<(u8, BytesMut)>, ClientError> {
    let Some(header) = buffer.get(..HEADER_BYTES) else {
        return Ok(None);
    };
    let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
    if header[0] > 3 || header[1..4] != [0, 0, 0] || length > MAX_FRAME_BYTES {
        return Err(ClientError::Broken {
            socket: std::path::PathBuf::from("the log stream"),
            may_have_happened: false,
            source: std::io::Error::other("it is not framed as Docker frames logs"),
        });
    }
    if buffer.len() < HEADER_BYTES + length {
        return Ok(None);
    }
    let mut frame = buffer.split_to(HEADER_BYTES + length);
    let kind = frame[0];
    Ok(Some((kind, frame.split_off(HEADER_BYTES))))
}

fn write(kind: u8, bytes: &[u8]) -> Result<(), Failure> {
    use std::io::Write as _;
    let written = match kind {
        2 | 3 => std::io::stderr().write_all(bytes),
        _ => {
            let mut out = std::io::stdout().lock();
            out.write_all(bytes).and_then(|()| out.flush())
        }
    };
    written.map_err(|error| match error.kind() {
        std::io::ErrorKind::BrokenPipe => Failure::new(Exit::Done, ""),
        _ => Failure::error(format!("output: {error}")),
    })
}

/// What tasks are called in front of their lines.
#[derive(Default)]
struct Labels {
    names: Names,
    tasks: BTreeMap<String, String>,
}

impl Labels {
    async fn fetch(context: &Context, args: &LogsArgs) -> Result<Self, Failure> {
        if args.no_resolve {
            return Ok(Self::default());
        }
        let names = Names::fetch(context).await?;
        let tasks: Vec<Task> = context.get(&["tasks"], &[]).await?;
        Ok(Self {
            tasks: tasks
                .iter()
                .map(|task| (task.id.to_string(), names.task(task)))
                .collect(),
            names,
        })
    }

    /// `web.1.abc@host    | the line`.
    fn line(&self, line: &str, args: &LogsArgs) -> String {
        let (timestamp, details, message) = split(line, args.timestamps);
        let detail = |key: &str| {
            details
                .iter()
                .find(|(name, _)| name == key)
                .map_or("", |(_, value)| value.as_str())
        };
        let task = detail("com.docker.swarm.task.id");
        let node = self.names.node(detail("com.docker.swarm.node.id"));
        let id = if args.no_trunc { task } else { short_id(task) };
        let name = match (self.tasks.get(task), args.no_task_ids) {
            (Some(name), true) => name.clone(),
            (Some(name), false) => format!("{name}.{id}"),
            (None, _) => id.to_owned(),
        };
        let shown: Vec<String> = details
            .iter()
            .filter(|(name, _)| args.details && !name.starts_with("com.docker.swarm."))
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let details = if shown.is_empty() {
            String::new()
        } else {
            format!("{} ", shown.join(","))
        };
        let timestamp = if timestamp.is_empty() {
            String::new()
        } else {
            format!("{timestamp} ")
        };
        format!("{timestamp}{name}@{node}    | {details}{message}")
    }
}

type Details = Vec<(String, String)>;

/// `[timestamp ]details message`.
fn split(line: &str, timestamps: bool) -> (&str, Details, &str) {
    let (timestamp, rest) = match timestamps {
        true => line.split_once(' ').unwrap_or(("", line)),
        false => ("", line),
    };
    let (details, message) = rest.split_once(' ').unwrap_or((rest, ""));
    let details = details
        .split(',')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    (timestamp, details, message)
}

fn without_details(line: &str, timestamps: bool) -> String {
    let (timestamp, _, message) = split(line, timestamps);
    if timestamp.is_empty() {
        message.to_owned()
    } else {
        format!("{timestamp} {message}")
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        args: LogsArgs,
    }

    fn args(words: &str) -> LogsArgs {
        let words = ["logs"].into_iter().chain(words.split_whitespace());
        Only::try_parse_from(words).unwrap().args
    }

    #[test]
    fn frames_are_taken_whole() {
        let mut buffer = BytesMut::from(&b"\x01\0\0\0\0\0\0\x03abc\x02\0\0\0\0\0\0\x02d"[..]);
        let (kind, payload) = next_frame(&mut buffer).unwrap().unwrap();
        assert_eq!((kind, &payload[..]), (1, &b"abc"[..]));
        assert!(next_frame(&mut buffer).unwrap().is_none());
        buffer.extend_from_slice(b"e");
        let (kind, payload) = next_frame(&mut buffer).unwrap().unwrap();
        assert_eq!((kind, &payload[..]), (2, &b"de"[..]));
        assert!(next_frame(&mut buffer).unwrap().is_none());
        assert!(next_frame(&mut BytesMut::from(&b"plain text"[..])).is_err());
    }

    #[test]
    fn lines_are_told_apart_by_their_task() {
        let labels = Labels {
            tasks: [("t".repeat(25), "web.1".to_owned())].into(),
            names: Names::default(),
        };
        let line = format!(
            "com.docker.swarm.node.id=n1,com.docker.swarm.service.id=s1,\
             com.docker.swarm.task.id={},k=v hello there\n",
            "t".repeat(25)
        );
        assert_eq!(
            labels.line(&line, &args("web")),
            "web.1.tttttttttttt@n1    | hello there\n"
        );
        assert_eq!(
            labels.line(&line, &args("--no-task-ids --details web")),
            "web.1@n1    | k=v hello there\n"
        );
        let stamped = format!("2026-11-23T02:30:00.000000000Z {line}");
        assert_eq!(
            labels.line(&stamped, &args("-t --no-task-ids web")),
            "2026-11-23T02:30:00.000000000Z web.1@n1    | hello there\n"
        );
        assert_eq!(without_details(&line, false), "hello there\n");
    }

    #[test]
    fn since_is_an_instant_or_a_length_of_time() {
        let now = Timestamp(100_500_000_000);
        assert_eq!(instant("10s", now).unwrap(), "90.500000000");
        assert_eq!(instant("1970-01-01T00:00:05Z", now).unwrap(), "5.000000000");
        assert_eq!(instant("7", now).unwrap(), "7.000000000");
        assert!(instant("yesterday", now).is_err());
        assert!(query(&args("--tail some web"), now).is_err());
    }
}
