//! HAProxy's agent-check over TCP: a line for each connection.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::limited::{Connection, Limited};
use super::{Agent, AgentState, MeasureError};
use crate::stats::{Sample, agent_check};

/// How long a measurement may take before the client is let go without an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the client's own end is waited for, and how much of what it sends is read.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 4096;

/// Answers until the task is dropped. `queue_half`: see [`agent_check::emit`].
pub async fn serve_agent_check(listener: TcpListener, agent: Agent, queue_half: u64) {
    let mut listener = Limited::new(listener);
    loop {
        let (connection, peer) = listener.accept().await;
        let agent = agent.clone();
        tokio::spawn(async move {
            let report = tokio::time::timeout(PATIENCE, agent.report());
            let Ok(report) = report.await else {
                // HAProxy takes no answer for no news, as its health check judges by itself.
                tracing::debug!("agent-check for {peer}: the measurement did not finish");
                return;
            };
            let sample = report.map_or_else(broken, |report| report.sample);
            let line = agent_check::emit(&sample, queue_half);
            if let Err(error) = answer(connection, &line).await {
                tracing::debug!("agent-check for {peer}: {error}");
            }
        });
    }
}

fn broken(error: MeasureError) -> Sample {
    Sample {
        state: AgentState::Down,
        note: Some(error.to_string()),
        ..Sample::default()
    }
}

/// Writes the line, then lets the client close: closing with its `agent-send` text unread would
/// reset the connection, and the line with it.
async fn answer(mut connection: Connection, line: &str) -> io::Result<()> {
    connection.write_all(line.as_bytes()).await?;
    connection.shutdown().await?;
    let mut rest = connection.take(LINGER_BYTES);
    let mut sink = tokio::io::sink();
    let read = tokio::io::copy(&mut rest, &mut sink);
    // Whether it closes in time is its own affair.
    let _ = tokio::time::timeout(LINGER, read).await;
    Ok(())
}
