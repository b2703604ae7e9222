//! The client: one session, and what became of it.
use std::{
    collections::BTreeMap,
    fmt, io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::{Result, anyhow, bail};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{
        TcpSocket, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::{Instant, sleep, timeout},
};

use crate::lab::Host;

/// How a client ends its connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Close {
    /// In order.
    Fin,
    /// With a reset after QUIT was answered, as Postfix's smtp-source and many senders do.
    Rst,
}

/// A session to hold.
#[derive(Clone, Debug)]
pub struct Session {
    /// The address to come from.
    pub source: IpAddr,
    /// The server.
    pub target: SocketAddr,
    /// Messages to send.
    pub messages: u32,
    /// Bytes of each.
    pub bytes: usize,
    /// Waited before each message: makes a session long.
    pub pause: Duration,
    /// How it ends.
    pub close: Close,
    /// For each reply, and for the connection.
    pub patience: Duration,
}

impl Session {
    /// One message of 1 kB, closed in order.
    #[must_use]
    pub fn new(source: IpAddr, target: SocketAddr) -> Self {
        Self {
            source,
            target,
            messages: 1,
            bytes: 1000,
            pause: Duration::ZERO,
            close: Close::Fin,
            patience: Duration::from_secs(20),
        }
    }
}

/// How far a session came.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Stage {
    /// The SYN was not answered, or with a reset.
    Connect,
    /// The greeting and EHLO.
    Greeting,
    /// A message, from MAIL to the reply to its end.
    Message,
    /// QUIT: all messages were accepted.
    Quit,
}

/// What became of a session.
#[derive(Debug)]
pub enum Outcome {
    /// Every message was accepted.
    Served {
        /// The server's name in its greeting.
        by: String,
        /// From the SYN to the established connection.
        connect: Duration,
    },
    /// The server said no.
    Refused {
        /// The server's name in its greeting, when it had one.
        by: Option<String>,
        /// What it said.
        reply: String,
    },
    /// The connection failed.
    Lost {
        /// The server's name in its greeting, when it came to that.
        by: Option<String>,
        /// How far the session had come.
        stage: Stage,
        /// Why.
        error: io::Error,
    },
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |by: &Option<String>| by.clone().unwrap_or_else(|| "nobody".to_owned());
        match self {
            Self::Served { by, .. } => write!(f, "served by {by}"),
            Self::Refused { by, reply } => write!(f, "refused by {}: {reply}", name(by)),
            Self::Lost { by, stage, error } => {
                write!(f, "lost at {stage:?} with {}: {error}", name(by))
            }
        }
    }
}

/// Why [`Dialogue`] went no further.
enum Failure {
    Said(String),
    Broke(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Broke(error)
    }
}

/// Holds one session from its SYN to its end. Call it inside the client's host.
pub async fn run(session: &Session) -> Outcome {
    let mut stage = Stage::Connect;
    let mut by = None;
    let started = Instant::now();
    let stream = match connect(session).await {
        Ok(stream) => stream,
        Err(error) => return Outcome::Lost { by, stage, error },
    };
    let connect = started.elapsed();
    match dialogue(stream, session, &mut stage, &mut by).await {
        Ok(()) => Outcome::Served {
            by: by.unwrap_or_default(),
            connect,
        },
        Err(Failure::Said(reply)) => Outcome::Refused { by, reply },
        Err(Failure::Broke(error)) => Outcome::Lost { by, stage, error },
    }
}

/// Holds sessions at once, inside their client's host, and says how many each server served.
///
/// # Errors
/// The first that was not served.
pub fn served_by(client: &Host, sessions: Vec<Session>) -> Result<BTreeMap<String, u32>> {
    let work = async move || {
        let mut running = tokio::task::JoinSet::new();
        for session in sessions {
            running.spawn(async move { run(&session).await });
        }
        running.join_all().await
    };
    let outcomes = client
        .runtime(work)?
        .join()
        .map_err(|_| anyhow!("a session panicked"))??;
    let mut by_server = BTreeMap::new();
    for outcome in outcomes {
        let Outcome::Served { by, .. } = outcome else {
            bail!("{outcome}");
        };
        *by_server.entry(by).or_default() += 1;
    }
    Ok(by_server)
}

async fn connect(session: &Session) -> io::Result<TcpStream> {
    let socket = match session.source {
        IpAddr::V4(_) => TcpSocket::new_v4()?,
        IpAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // bind() alone must not take a port away from the same address's other connections.
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::new(session.source, 0))?;
    let stream = timeout(session.patience, socket.connect(session.target)).await??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn dialogue(
    stream: TcpStream,
    session: &Session,
    stage: &mut Stage,
    by: &mut Option<String>,
) -> Result<(), Failure> {
    if session.close == Close::Rst {
        stream.set_zero_linger()?;
    }
    let (reader, writer) = stream.into_split();
    let mut dialogue = Dialogue {
        reader: BufReader::new(reader),
        writer,
        patience: session.patience,
    };
    *stage = Stage::Greeting;
    let greeting = dialogue.read_reply("220").await?;
    *by = greeting.split_whitespace().nth(1).map(str::to_owned);
    dialogue.command("EHLO client.test", "250").await?;
    *stage = Stage::Message;
    let mut text = b"Subject: test\r\n\r\n".to_vec();
    while text.len() < session.bytes {
        text.extend_from_slice(b"0123456789012345678901234567890123456789012345678901234567\r\n");
    }
    text.extend_from_slice(b".");
    let text = String::from_utf8_lossy(&text);
    for _ in 0..session.messages {
        sleep(session.pause).await;
        dialogue.command("MAIL FROM:<a@client.test>", "250").await?;
        dialogue.command("RCPT TO:<b@lab.test>", "250").await?;
        dialogue.command("DATA", "354").await?;
        dialogue.command(&text, "250").await?;
    }
    *stage = Stage::Quit;
    dialogue.command("QUIT", "221").await
}

struct Dialogue {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    patience: Duration,
}

impl Dialogue {
    async fn command(&mut self, text: &str, expected: &str) -> Result<(), Failure> {
        let line = format!("{text}\r\n");
        let write = self.writer.write_all(line.as_bytes());
        timeout(self.patience, write)
            .await
            .map_err(io::Error::from)??;
        self.read_reply(expected).await.map(drop)
    }

    /// Reads a reply, of several lines too, and returns its last line.
    async fn read_reply(&mut self, expected: &str) -> Result<String, Failure> {
        let mut line = String::new();
        loop {
            line.clear();
            let read = self.reader.read_line(&mut line);
            let read = timeout(self.patience, read)
                .await
                .map_err(io::Error::from)??;
            if read == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            if line.as_bytes().get(3) != Some(&b'-') {
                break;
            }
        }
        let line = line.trim_end().to_owned();
        if line.starts_with(expected) {
            return Ok(line);
        }
        Err(Failure::Said(line))
    }
}
