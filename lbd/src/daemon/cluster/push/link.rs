//! One authenticated connection.
use std::{io, net::SocketAddr, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::{
    channel::SenderId,
    config::ClusterKeys,
    push::{
        Body, MessageError, message, parse,
        secure::{
            CALL_BYTES, Called, Caller, Channel, HEAD_BYTES, PROOF_BYTES, REPLY_BYTES, Refused,
            TurnedDown,
        },
    },
};

/// A peer on the same site answers in milliseconds.
const CONNECT: Duration = Duration::from_secs(2);
/// Both messages of the other side, before it is known.
const INTRODUCTION: Duration = Duration::from_secs(3);
/// Between two parts of a frame that has begun, and for a frame to be taken.
const STALLED: Duration = Duration::from_secs(10);

/// Why a connection is no use any more.
#[derive(Debug, Error)]
pub(super) enum LinkError {
    #[error("no connection: {0}")]
    Connect(io::Error),
    #[error("the connection broke: {0}")]
    Broken(io::Error),
    #[error("no answer within {0:?}")]
    Silent(Duration),
    #[error("{0}")]
    Refused(#[from] Refused),
    #[error("{0}")]
    Message(#[from] MessageError),
    #[error("it sent a message that was not expected")]
    OutOfTurn,
}

/// A connection on which both sides are sure of each other.
#[derive(Debug)]
pub(super) struct Link {
    stream: TcpStream,
    channel: Channel,
    /// What followed the head of the last frame.
    buffer: Vec<u8>,
    /// The body of the last frame.
    body: Vec<u8>,
}

impl Link {
    /// Calls the node of this name. `from`: one of this node's addresses, which the peer knows it by.
    pub(super) async fn call(
        own: &str,
        from: SocketAddr,
        peer: &str,
        at: SocketAddr,
        keys: &ClusterKeys,
    ) -> Result<Self, LinkError> {
        let (own, called) = (SenderId::of(own), SenderId::of(peer));
        let caller = Caller::new(keys.signing(), own, called);
        let connecting = timeout(CONNECT, connect(from, at));
        let mut stream = match connecting.await {
            Ok(connected) => connected.map_err(LinkError::Connect)?,
            Err(_) => return Err(LinkError::Silent(CONNECT)),
        };
        let met = timeout(INTRODUCTION, async {
            stream.write_all(caller.call()).await?;
            let mut reply = [0; REPLY_BYTES];
            stream.read_exact(&mut reply).await?;
            io::Result::Ok(reply)
        });
        let reply = match met.await {
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(Refused::NotOurs.into());
            }
            Ok(reply) => reply.map_err(LinkError::Broken)?,
            Err(_) => return Err(LinkError::Silent(INTRODUCTION)),
        };
        let (proof, channel) = caller.prove(&reply)?;
        stream.write_all(&proof).await.map_err(LinkError::Broken)?;
        Ok(Self::new(stream, channel))
    }

    /// Answers a call.
    pub(super) async fn answer(
        mut stream: TcpStream,
        own: &str,
        keys: &ClusterKeys,
    ) -> Result<Self, LinkError> {
        let met = timeout(INTRODUCTION, async {
            let called = match called(&mut stream, SenderId::of(own), keys).await? {
                Ok(called) => called,
                Err(down) => {
                    if let Some(reply) = down.reply {
                        stream.write_all(&reply).await.map_err(LinkError::Broken)?;
                    }
                    return Err(LinkError::Refused(down.why));
                }
            };
            stream
                .write_all(called.reply())
                .await
                .map_err(LinkError::Broken)?;
            let mut proof = [0; PROOF_BYTES];
            stream
                .read_exact(&mut proof)
                .await
                .map_err(LinkError::Broken)?;
            called.admit(&proof).map_err(LinkError::Refused)
        });
        match met.await {
            Ok(channel) => Ok(Self::new(stream, channel?)),
            Err(_) => Err(LinkError::Silent(INTRODUCTION)),
        }
    }

    fn new(stream: TcpStream, channel: Channel) -> Self {
        // Every message waits for an answer: nothing is gained by waiting for more to send.
        let _ = stream.set_nodelay(true);
        Self {
            stream,
            channel,
            buffer: Vec::new(),
            body: Vec::new(),
        }
    }

    /// Says something.
    pub(super) async fn say<T: Serialize>(&mut self, said: &T) -> Result<(), LinkError> {
        self.send(&message(said)).await
    }

    /// Sends the body of a frame.
    pub(super) async fn send(&mut self, body: &[u8]) -> Result<(), LinkError> {
        let frame = self.channel.seal(body)?;
        match timeout(STALLED, self.stream.write_all(&frame)).await {
            Ok(sent) => sent.map_err(LinkError::Broken),
            Err(_) => Err(LinkError::Silent(STALLED)),
        }
    }

    /// The next frame, which may be so long in coming.
    pub(super) async fn hear<T: DeserializeOwned>(
        &mut self,
        patience: Duration,
    ) -> Result<Body<'_, T>, LinkError> {
        let mut head = [0; 4];
        match timeout(patience, self.stream.read_exact(&mut head)).await {
            Ok(read) => read.map_err(LinkError::Broken)?,
            Err(_) => return Err(LinkError::Silent(patience)),
        };
        let rest = Channel::bytes_after(head)?;
        self.buffer.resize(rest, 0);
        match timeout(STALLED, self.stream.read_exact(&mut self.buffer)).await {
            Ok(read) => read.map_err(LinkError::Broken)?,
            Err(_) => return Err(LinkError::Silent(STALLED)),
        };
        self.body = self.channel.open(head, &self.buffer)?;
        Ok(parse(&self.body)?)
    }

    /// The next message.
    pub(super) async fn hear_message<T: DeserializeOwned>(
        &mut self,
        patience: Duration,
    ) -> Result<T, LinkError> {
        match self.hear(patience).await? {
            Body::Message(message) => Ok(message),
            Body::Bytes(_) => Err(LinkError::OutOfTurn),
        }
    }
}

async fn connect(from: SocketAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // The box may have the VIP too: the peer must see the node's own address.
    if from.is_ipv4() == to.is_ipv4() && !from.ip().is_unspecified() {
        socket.bind(SocketAddr::new(from.ip(), 0))?;
    }
    socket.connect(to).await
}

/// Reads and judges a call. An older version's first message is shorter, so its head is judged before
/// the rest is waited for.
async fn called(
    stream: &mut TcpStream,
    own: SenderId,
    keys: &ClusterKeys,
) -> Result<Result<Called, TurnedDown>, LinkError> {
    let mut call = [0; CALL_BYTES];
    let mut head = [0; HEAD_BYTES];
    let read = stream.read_exact(&mut head).await;
    read.map_err(LinkError::Broken)?;
    if let Err(down) = Called::judge_head(head) {
        return Ok(Err(down));
    }
    call[..HEAD_BYTES].copy_from_slice(&head);
    let read = stream.read_exact(&mut call[HEAD_BYTES..]).await;
    read.map_err(LinkError::Broken)?;
    Ok(Called::answer(&call, keys.verifying(), own))
}
