//! Logs of services and tasks whose containers are on this node: the local engine's streams, with
//! the details that tell a client which task said what. Logs of other nodes are not built yet.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::stream::{self, Stream, StreamExt};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};

use super::error::ApiError;
use super::query::{ApiVersion, Query, encode};
use super::server::{Api, Asked};
use super::{Answer, Body};
use crate::state::{State, Task};

/// For the engine to begin a stream.
const ENGINE_DEADLINE: Duration = Duration::from_secs(5);
/// Stream, three zeros, and the length of the payload: what each piece of a log begins with.
const HEADER_BYTES: usize = 8;
/// The first version in which the content type tells the two kinds of streams apart.
const MULTIPLEXED_SINCE: ApiVersion = ApiVersion::new(1, 42);

pub(super) async fn of_service(api: &Api, asked: &Asked, name: &str) -> Answer {
    check_streams(&asked.query)?;
    let state = api.read().await?;
    let service = state.find_service(name)?;
    let tasks: Vec<Arc<Task>> = state
        .tasks_of(service.id)
        .filter(|task| task.status.container.is_some())
        // What ended elsewhere cannot be had, and is no reason to withhold the rest.
        .filter(|task| !task.has_ended() || task.node == api.here())
        .cloned()
        .collect();
    follow(api, asked, &state, &tasks, false).await
}

pub(super) async fn of_task(api: &Api, asked: &Asked, name: &str) -> Answer {
    check_streams(&asked.query)?;
    let state = api.read().await?;
    let task = state.find_task(name)?.clone();
    follow(api, asked, &state, &[task], true).await
}

fn check_streams(query: &Query) -> Result<(), ApiError> {
    if query.loose_flag("stdout") || query.loose_flag("stderr") {
        Ok(())
    } else {
        Err(ApiError::bad_request(
            "Bad parameters: you must choose at least one stream: stdout=1, stderr=1 or both",
        ))
    }
}

/// Pieces of a log as the client gets them.
type Pieces = Pin<Box<dyn Stream<Item = Bytes> + Send>>;

/// `strict` makes a missing container an error; of many containers some may be gone.
async fn follow(
    api: &Api,
    asked: &Asked,
    state: &State,
    tasks: &[Arc<Task>],
    strict: bool,
) -> Answer {
    if let Some(elsewhere) = tasks.iter().find(|task| task.node != api.here()) {
        let node = elsewhere.node.and_then(|node| state.node(node));
        return Err(ApiError::not_built(&format!(
            "logs of tasks on other nodes (task {} is on {}); ask there",
            elsewhere.id,
            node.map_or("none", |node| node.description.hostname.as_str())
        )));
    }
    let tty = tasks.iter().any(|task| {
        state
            .service(task.service)
            .and_then(|service| service.spec_at(task.spec_version))
            .is_some_and(|spec| spec.task_template.container_spec.tty)
    });
    let mut logs: Vec<Pieces> = Vec::with_capacity(tasks.len());
    for task in tasks {
        match container_log(api, &asked.query, task).await {
            Ok(body) if tty => logs.push(Box::pin(chunks(body))),
            Ok(body) => logs.push(Box::pin(entries(body, labelling(&asked.query, task)))),
            Err(error) if strict => return Err(error),
            Err(error) => {
                tracing::debug!(task = %task.id, message = %error.body.message, "no log");
            }
        }
    }
    let shutdown = api.engine.shutdown().cancelled_owned();
    let pieces = stream::select_all(logs).take_until(Box::pin(shutdown));
    let body: Body = StreamBody::new(pieces.map(|piece| Ok(Frame::data(piece)))).boxed_unsync();
    let mut response = Response::new(body);
    let kind = if tty || asked.version < MULTIPLEXED_SINCE {
        "application/vnd.docker.raw-stream"
    } else {
        "application/vnd.docker.multiplexed-stream"
    };
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    Ok(response)
}

async fn container_log(api: &Api, query: &Query, task: &Task) -> Result<Incoming, ApiError> {
    let Some(container) = &task.status.container else {
        return Err(ApiError::new(
            StatusCode::NOT_FOUND,
            format!("task {} has no container yet, so it has no log", task.id),
        ));
    };
    let asked: Vec<String> = [
        "stdout",
        "stderr",
        "follow",
        "since",
        "until",
        "timestamps",
        "tail",
    ]
    .into_iter()
    .filter_map(|name| Some(format!("{name}={}", encode(query.get(name)?))))
    .collect();
    let path = format!("/containers/{}/logs?{}", container.id, asked.join("&"));
    let response = api.engine.stream(&path, ENGINE_DEADLINE).await?;
    if response.status().is_success() {
        Ok(response.into_body())
    } else {
        Err(ApiError::new(
            response.status(),
            format!("the Docker engine has no log of task {}", task.id),
        ))
    }
}

/// What is put into each entry of a task's log.
#[derive(Debug, Clone)]
struct Labelling {
    /// Empty where the client wants none.
    details: String,
    /// Entries begin with a time, which stays in front.
    timestamps: bool,
}

fn labelling(query: &Query, task: &Task) -> Labelling {
    let node = task.node.map(|node| node.to_string()).unwrap_or_default();
    Labelling {
        details: if query.loose_flag("details") {
            format!(
                "com.docker.swarm.node.id={node},com.docker.swarm.service.id={},com.docker.swarm.task.id={} ",
                task.service, task.id
            )
        } else {
            String::new()
        },
        timestamps: query.loose_flag("timestamps"),
    }
}

/// The body as it comes.
fn chunks(body: Incoming) -> impl Stream<Item = Bytes> + Send {
    stream::unfold(body, |mut body| async move {
        let data = body.frame().await?.ok()?.into_data().ok()?;
        Some((data, body))
    })
}

/// The body cut into its entries, each labelled: one entry is never torn by another task's.
fn entries(body: Incoming, labelling: Labelling) -> impl Stream<Item = Bytes> + Send {
    stream::unfold(
        (body, BytesMut::new(), labelling),
        |(mut body, mut pending, labelling)| async move {
            loop {
                if let Some(entry) = take_entry(&mut pending) {
                    let entry = label(&entry, &labelling);
                    return Some((entry, (body, pending, labelling)));
                }
                let data = body.frame().await?.ok()?.into_data().ok()?;
                pending.extend_from_slice(&data);
            }
        },
    )
}

/// The first whole entry, header included.
fn take_entry(pending: &mut BytesMut) -> Option<Bytes> {
    let length: [u8; 4] = pending.get(4..HEADER_BYTES)?.try_into().ok()?;
    let end = HEADER_BYTES + u32::from_be_bytes(length) as usize;
    (pending.len() >= end).then(|| pending.split_to(end).freeze())
}

fn label(entry: &Bytes, labelling: &Labelling) -> Bytes {
    if labelling.details.is_empty() {
        return entry.clone();
    }
    let (header, payload) = entry.split_at(HEADER_BYTES);
    let at = if labelling.timestamps {
        payload
            .iter()
            .position(|byte| *byte == b' ')
            .map_or(0, |space| space + 1)
    } else {
        0
    };
    let length = payload.len() + labelling.details.len();
    let mut labelled = BytesMut::with_capacity(HEADER_BYTES + length);
    labelled.extend_from_slice(&header[..4]);
    labelled.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    labelled.extend_from_slice(&payload[..at]);
    labelled.extend_from_slice(labelling.details.as_bytes());
    labelled.extend_from_slice(&payload[at..]);
    labelled.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(payload: &str) -> Vec<u8> {
        let mut bytes = vec![1, 0, 0, 0, 0, 0, 0, u8::try_from(payload.len()).unwrap()];
        bytes.extend_from_slice(payload.as_bytes());
        bytes
    }

    #[test]
    fn entries_are_whole_however_they_come() {
        let mut wire = entry("one\n");
        wire.extend(entry("two\n"));
        let mut pending = BytesMut::new();
        let mut found = Vec::new();
        for byte in wire {
            pending.put_u8(byte);
            found.extend(take_entry(&mut pending));
        }
        assert_eq!(found, [entry("one\n"), entry("two\n")]);
        assert!(pending.is_empty());
    }

    #[test]
    fn details_stand_between_time_and_text() {
        let labelling = |timestamps| Labelling {
            details: "a=1,b=2 ".to_owned(),
            timestamps,
        };
        let plain = label(&entry("hello\n").into(), &labelling(false));
        assert_eq!(plain, entry("a=1,b=2 hello\n"));
        let timed = label(&entry("2026Z hello\n").into(), &labelling(true));
        assert_eq!(timed, entry("2026Z a=1,b=2 hello\n"));
    }
}
