//! HAProxy's agent-check: connect, and read a line.

use std::net::SocketAddr;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::PollError;
use crate::stats::agent_check::MAX_LINE_BYTES;

/// Reads up to the first CR or LF, the end, or one byte more than a line may have.
pub(super) async fn read(address: SocketAddr) -> Result<Vec<u8>, PollError> {
    let connect = TcpStream::connect(address).await;
    let stream = connect.map_err(|error| PollError::Connect {
        to: address.to_string(),
        error: error.to_string(),
    })?;
    let mut stream = stream.take(MAX_LINE_BYTES as u64 + 1);
    let mut line = Vec::new();
    loop {
        let before = line.len();
        let read = stream.read_buf(&mut line).await;
        let read = read.map_err(|error| PollError::Broken {
            to: address.to_string(),
            error: error.to_string(),
        })?;
        if read == 0
            || line[before..]
                .iter()
                .any(|byte| matches!(byte, b'\r' | b'\n'))
        {
            return Ok(line);
        }
    }
}
