//! `/events`: what changed in the cluster, found by comparing one state with the next, beside what
//! the local engine tells of itself.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures::stream::{self, Stream, StreamExt};
use http_body_util::{BodyExt, StreamBody};
use hyper::Response;
use hyper::body::Frame;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::changes::differences;
use super::control::Control;
use super::error::ApiError;
use super::filters::{Filters, has_label};
use super::query::encode;
use super::server::{Api, Asked};
use super::wire::Event;
use super::{Answer, Body};
use crate::spec::Timestamp;

/// Events kept for clients that ask for the past, as in Docker.
const KEPT: usize = 256;
/// Events that a slow client may be behind before it loses some.
const QUEUED: usize = 1024;
/// Comparing states takes at most this share of one processor.
const SHARE: u32 = 20;
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
/// For the engine to begin its own stream.
const ENGINE_DEADLINE: Duration = Duration::from_secs(5);
/// Longest line of the engine's that is waited for.
const MAX_LINE_BYTES: usize = 1 << 20;

const FILTERS: [&str; 15] = [
    "config",
    "container",
    "daemon",
    "event",
    "image",
    "label",
    "network",
    "node",
    "plugin",
    "scope",
    "secret",
    "service",
    "task",
    "type",
    "volume",
];

/// The latest events, and everybody who waits for more.
#[derive(Debug)]
pub(super) struct EventHub {
    kept: Mutex<VecDeque<Arc<Event>>>,
    sender: broadcast::Sender<Arc<Event>>,
}

impl Default for EventHub {
    fn default() -> Self {
        Self {
            kept: Mutex::default(),
            sender: broadcast::channel(QUEUED).0,
        }
    }
}

impl EventHub {
    fn publish(&self, event: Event) {
        let event = Arc::new(event);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(event.clone());
        // Sent under the lock, so that a new subscriber gets it once: from the past or live.
        // No receiver is no error.
        drop(self.sender.send(event));
    }

    fn subscribe(&self) -> (Vec<Arc<Event>>, broadcast::Receiver<Arc<Event>>) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        (kept.iter().cloned().collect(), self.sender.subscribe())
    }
}

/// Turns every state that is published from the moment of this call into events, until `shutdown`.
pub(super) fn follow(
    hub: Arc<EventHub>,
    control: Arc<dyn Control>,
    shutdown: CancellationToken,
) -> impl Future<Output = ()> + Send {
    let mut states = control.watch_state();
    let mut former = states.borrow_and_update().clone();
    // A manager that starts goes through its log again: what was written before is no news.
    let started = control.now();
    let followed = async move {
        while states.changed().await.is_ok() {
            let state = states.borrow_and_update().clone();
            let began = Instant::now();
            for event in differences(&former, &state, control.now()) {
                if event.time_nano >= started.0 {
                    hub.publish(event);
                }
            }
            former = state;
            let pause = (began.elapsed() * SHARE).max(SHORTEST_PAUSE);
            tokio::time::sleep(pause).await;
        }
    };
    async move {
        tokio::select! {
            () = followed => {}
            () = shutdown.cancelled() => {}
        }
    }
}

/// Answers with a line of JSON for each event, past and to come.
pub(super) async fn stream(api: &Api, asked: &Asked) -> Answer {
    let now = api.control.now();
    let bound = |name: &str| {
        asked
            .query
            .get(name)
            .filter(|text| !text.is_empty())
            .map(|text| instant(text, now))
            .transpose()
    };
    let (since, until) = (bound("since")?, bound("until")?);
    let filters = Filters::parse(asked.query.get("filters"), &FILTERS)?;

    let mut parts: Vec<Lines> = Vec::new();
    if filters.fits("scope", |scope| scope == "swarm") {
        parts.push(our_lines(api, filters.clone(), since, until));
    }
    if filters.fits("scope", |scope| scope == "local")
        && let Some(lines) = engine_lines(api, asked).await
    {
        parts.push(lines);
    }
    let shutdown = api.engine.shutdown().cancelled_owned();
    let lines = stream::select_all(parts).take_until(Box::pin(shutdown));
    let body: Body = StreamBody::new(lines.map(|line| Ok(Frame::data(line)))).boxed_unsync();
    let mut response = Response::new(body);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// What a `since` or `until` means: seconds since 1970 with or without a fraction, RFC 3339, or a
/// length such as `10m` before now.
pub(super) fn instant(text: &str, now: Timestamp) -> Result<Timestamp, ApiError> {
    unix_time(text)
        .or_else(|| text.parse().ok())
        .or_else(|| ago(text).map(|nanos| Timestamp(now.0.saturating_sub(nanos))))
        .ok_or_else(|| {
            ApiError::bad_request(format!(
                "invalid time: got {text:?}, want seconds since 1970, RFC 3339, or a length such as 10m"
            ))
        })
}

fn unix_time(text: &str) -> Option<Timestamp> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let seconds: i64 = seconds.parse().ok()?;
    if fraction.is_empty() || !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let nanos: i64 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    Some(Timestamp(
        seconds.checked_mul(1_000_000_000)?.checked_add(nanos)?,
    ))
}

/// `1h30m` in nanoseconds.
fn ago(text: &str) -> Option<i64> {
    let mut rest = text;
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|char: char| !char.is_ascii_digit())?;
        let number: i64 = rest.get(..digits)?.parse().ok()?;
        rest = &rest[digits..];
        let (unit, nanos) = [
            ("ms", 1_000_000),
            ("s", 1_000_000_000),
            ("m", 60_000_000_000),
            ("h", 3_600_000_000_000_i64),
        ]
        .into_iter()
        .find(|(unit, _)| rest.starts_with(unit))?;
        rest = &rest[unit.len()..];
        total = total.checked_add(number.checked_mul(nanos)?)?;
    }
    (!text.is_empty()).then_some(total)
}

/// Lines of JSON, each with its line feed.
type Lines = Pin<Box<dyn Stream<Item = Bytes> + Send>>;

fn our_lines(
    api: &Api,
    filters: Filters,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
) -> Lines {
    let (past, receiver) = api.events.subscribe();
    // Without a bound in the past a client wants news only.
    let past = if since.is_some() || until.is_some() {
        past
    } else {
        Vec::new()
    };
    let past = stream::iter(past);
    let rest = until.map(|until| (until - api.control.now()).to_std());
    let events: Pin<Box<dyn Stream<Item = Arc<Event>> + Send>> = match rest {
        None => Box::pin(past.chain(news(receiver))),
        Some(Duration::ZERO) => Box::pin(past),
        Some(rest) => {
            let ended = Box::pin(tokio::time::sleep(rest));
            Box::pin(past.chain(news(receiver).take_until(ended)))
        }
    };
    Box::pin(events.filter_map(move |event| {
        let wanted = since.is_none_or(|since| event.time_nano >= since.0)
            && until.is_none_or(|until| event.time_nano <= until.0)
            && fits(&event, &filters);
        std::future::ready(wanted.then(|| line(&event)))
    }))
}

fn news(receiver: broadcast::Receiver<Arc<Event>>) -> impl Stream<Item = Arc<Event>> + Send {
    stream::unfold(receiver, |mut receiver| async move {
        loop {
            match receiver.recv().await {
                Ok(event) => return Some((event, receiver)),
                Err(broadcast::error::RecvError::Lagged(lost)) => {
                    tracing::warn!(lost, "a client reads events too slowly");
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    })
}

fn line(event: &Event) -> Bytes {
    let mut line = serde_json::to_vec(event).unwrap_or_default();
    line.push(b'\n');
    line.into()
}

/// The engine's own events, cut into whole lines. Without an engine the cluster's must do.
async fn engine_lines(api: &Api, asked: &Asked) -> Option<Lines> {
    let query: Vec<String> = ["since", "until", "filters"]
        .into_iter()
        .filter_map(|name| Some(format!("{name}={}", encode(asked.query.get(name)?))))
        .collect();
    let response = match api
        .engine
        .stream(&format!("/events?{}", query.join("&")), ENGINE_DEADLINE)
        .await
    {
        Ok(response) if response.status().is_success() => response,
        Ok(response) => {
            tracing::warn!(status = %response.status(), "the engine tells no events");
            return None;
        }
        Err(error) => {
            tracing::warn!(%error, "the engine tells no events");
            return None;
        }
    };
    let lines = stream::unfold(
        (response.into_body(), BytesMut::new()),
        |(mut body, mut pending)| async move {
            loop {
                if let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
                    let line = pending.split_to(end + 1).freeze();
                    return Some((line, (body, pending)));
                }
                if pending.len() > MAX_LINE_BYTES {
                    return None;
                }
                match body.frame().await?.ok()?.into_data() {
                    Ok(data) => pending.extend_from_slice(&data),
                    Err(_trailers) => return None,
                }
            }
        },
    );
    Some(Box::pin(lines))
}

fn fits(event: &Event, filters: &Filters) -> bool {
    let of_object = |key: &str| {
        filters.fits(key, |start| {
            event.kind == key
                && (event.actor.id.starts_with(start)
                    || event
                        .actor
                        .attributes
                        .get("name")
                        .is_some_and(|name| name.starts_with(start)))
        })
    };
    let objects = [
        "config",
        "container",
        "daemon",
        "image",
        "network",
        "node",
        "plugin",
        "secret",
        "service",
        "task",
        "volume",
    ];
    filters.fits("event", |action| event.action == action)
        && filters.fits("type", |kind| event.kind == kind)
        && filters
            .values("label")
            .iter()
            .all(|label| has_label(&event.actor.attributes, label))
        && objects.into_iter().all(of_object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_every_form_that_clients_send() {
        let now = Timestamp(10_000_000_000_000);
        for (text, nanos) in [
            ("0", 0),
            ("1795400838", 1_795_400_838_000_000_000),
            ("1795400838.5", 1_795_400_838_500_000_000),
            ("1795400838.000000001", 1_795_400_838_000_000_001),
            ("1970-01-01T00:00:01Z", 1_000_000_000),
            ("10s", 9_990_000_000_000),
            ("1h30m", 4_600_000_000_000),
        ] {
            assert_eq!(instant(text, now), Ok(Timestamp(nanos)), "{text}");
        }
        for text in ["", "x", "1.x", "5", "10y"] {
            assert_eq!(instant(text, now).is_ok(), text == "5", "{text}");
        }
    }
}
