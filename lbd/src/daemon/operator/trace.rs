//! `lbd trace`: what is asked for, and the lines of the answer. [`super::run_trace`] begins and ends it.
//!
//! The task that answers the person reads what the program tells and puts it into words. When that task
//! ends, for any reason, the trace does.
use std::{net::IpAddr, time::Duration};

use axum::body::Bytes;
use futures_util::Stream;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::Instant,
};

use crate::{
    config::Network,
    dataplane::{TraceFilter, Traces},
    trace::{self, Names, TraceEnd, TraceLine},
};

/// The longest trace: what is forgotten ends.
pub const LONGEST_S: u64 = 3600;
/// How often the count of those left out is looked at when nothing else happens.
const IDLE: Duration = Duration::from_secs(1);

/// What is traced, and for how long.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TraceRequest {
    /// Clients of this address, or of a network `198.51.100.0/24`; nothing: all.
    pub clients: Option<String>,
    /// Frames with this port at either end; nothing: all.
    pub port: Option<u16>,
    /// Frames for this virtual address; nothing: all.
    pub vip: Option<IpAddr>,
    /// Seconds until it ends by itself.
    pub for_s: u64,
    /// It ends after so many frames; nothing: after any number.
    pub count: Option<u64>,
    /// A JSON object a line, and not a line for people.
    #[serde(default)]
    pub json: bool,
}

impl TraceRequest {
    /// Which frames these are, or why that cannot be.
    pub(super) fn filter(&self) -> Result<TraceFilter, String> {
        if !(1..=LONGEST_S).contains(&self.for_s) {
            return Err(format!("a trace lasts from 1 to {LONGEST_S} seconds"));
        }
        let network = |text: &String| {
            text.parse::<Network>().map_err(|_| {
                format!("`{text}` is neither an address nor a network like 198.51.100.0/24")
            })
        };
        Ok(TraceFilter {
            clients: self.clients.as_ref().map(network).transpose()?,
            port: self.port,
            vip: self.vip,
        })
    }
}

/// A trace that runs.
#[derive(Debug)]
pub(in crate::daemon) struct Tracing {
    pub(in crate::daemon) traces: Traces,
    pub(in crate::daemon) names: Names,
}

/// What is left to tell, and what ends with it.
struct Telling<G> {
    traces: AsyncFd<Traces>,
    names: Names,
    json: bool,
    count: Option<u64>,
    until: Instant,
    told: u64,
    ended: bool,
    /// Ends the trace when dropped.
    _guard: G,
}

/// The lines of a trace; `guard` is dropped with them, also when their reader has gone.
pub(in crate::daemon) fn lines<G>(
    tracing: Tracing,
    request: &TraceRequest,
    guard: G,
) -> std::io::Result<impl Stream<Item = std::io::Result<Bytes>> + use<G>> {
    // SAFETY: the reader owns its descriptor, gives the same one each time and keeps it open until it is
    // dropped, after the registration.
    let traces = unsafe { AsyncFd::register_with_interest(tracing.traces, Interest::READABLE) }?;
    let telling = Telling {
        traces,
        names: tracing.names,
        json: request.json,
        count: request.count,
        until: Instant::now() + Duration::from_secs(request.for_s),
        told: 0,
        ended: false,
        _guard: guard,
    };
    Ok(futures_util::stream::unfold(telling, |mut telling| async {
        let text = telling.next().await?;
        Some((Ok(Bytes::from(text)), telling))
    }))
}

impl<G> Telling<G> {
    /// Some lines, and the closing one at last.
    async fn next(&mut self) -> Option<String> {
        if self.ended {
            return None;
        }
        loop {
            let mut text = String::new();
            while self.count.is_none_or(|count| self.told < count)
                && text.len() < 1 << 16
                && let Some(record) = self.traces.get_mut().next()
            {
                if let Some(frame) = trace::frame(&record, &self.names) {
                    self.told += 1;
                    if self.json {
                        text += &json(&TraceLine::Frame(Box::new(frame)));
                    } else {
                        text += &trace::line(&frame);
                        text.push('\n');
                    }
                }
            }
            let is_counted = self.count.is_some_and(|count| self.told >= count);
            if is_counted || Instant::now() >= self.until {
                self.ended = true;
                text += &self.end(if is_counted {
                    "as many as were asked for"
                } else {
                    "the time is up"
                });
            }
            if !text.is_empty() {
                return Some(text);
            }
            let until = self.until.min(Instant::now() + IDLE);
            if let Ok(Ok(mut ready)) = tokio::time::timeout_at(until, self.traces.readable()).await
            {
                ready.clear_ready();
            }
        }
    }

    fn end(&self, why: &str) -> String {
        let end = TraceEnd {
            frames: self.told,
            left_out: self.traces.get_ref().left_out(),
            why: why.to_owned(),
        };
        if self.json {
            json(&TraceLine::End(end))
        } else {
            format!("{}\n", end.line())
        }
    }
}

fn json(line: &TraceLine) -> String {
    // Plain data has no key that JSON lacks.
    let text = serde_json::to_string(line).unwrap_or_default();
    format!("{text}\n")
}
