//! The side that takes: a peer's call, from its first byte to the commit.
use std::{sync::Arc, time::Duration};

use tokio::{net::TcpStream, sync::OwnedMutexGuard};
use tracing::{debug, info, warn};

use super::{
    Post, TakeOver, blocking,
    layout::Layout,
    link::{Link, LinkError},
    local_config, pieces,
    store::PieceWriter,
};
use crate::push::{Answer, Body, Digest, Piece, Record, Request, Taker, TakerOutput};

/// Between two messages of a caller: it waits for the slowest of all peers in between.
const PATIENCE: Duration = Duration::from_mins(2);

/// Serves one call that began with [`crate::push::secure::MAGIC`].
pub(in crate::daemon) async fn serve(stream: TcpStream, post: Arc<Post>) {
    let peer = stream
        .peer_addr()
        .map_or_else(|_| "a peer".to_owned(), |at| at.ip().to_string());
    let Some(own) = post.identity().await else {
        return debug!("refused a push from {peer}: there is no cluster.secret_file here");
    };
    let link = match Link::answer(stream, &own.name, &own.keys).await {
        Ok(link) => link,
        Err(LinkError::Refused(why)) => {
            return warn!("refused a push from {peer}: {}", turned_down(&why));
        }
        Err(error) => return debug!("push from {peer}: {error}"),
    };
    let mut call = Call {
        post,
        peer,
        link,
        taker: Taker::default(),
        place: None,
        writer: None,
        laid: None,
    };
    if let Err(error) = call.run().await {
        debug!("push from {}: {error}", call.peer);
    }
    // What is half done is dropped.
    let outputs = call.taker.lost();
    let _ = call.perform(outputs).await;
}

/// The same seen from here.
fn turned_down(why: &crate::push::secure::Refused) -> String {
    use crate::push::secure::Refused;
    match why {
        Refused::UnknownKey => "its key is not in cluster.secret_file here".to_owned(),
        Refused::OtherNode => "it calls a node with another name".to_owned(),
        other => other.to_string(),
    }
}

/// One caller.
struct Call {
    post: Arc<Post>,
    peer: String,
    link: Link,
    taker: Taker,
    /// Held from an offer to its end: one push at a time.
    place: Option<OwnedMutexGuard<()>>,
    writer: Option<PieceWriter>,
    laid: Option<(Layout, Box<Record>)>,
}

impl Call {
    async fn run(&mut self) -> Result<(), LinkError> {
        loop {
            let outputs = match self.link.hear(PATIENCE).await {
                Ok(Body::Message(request)) => self.request(request).await?,
                Ok(Body::Bytes(bytes)) => {
                    let bytes = bytes.to_vec();
                    self.taker.bytes(bytes).map_err(|_| LinkError::OutOfTurn)?
                }
                // The caller is done.
                Err(LinkError::Broken(error))
                    if error.kind() == std::io::ErrorKind::UnexpectedEof =>
                {
                    return Ok(());
                }
                Err(error) => return Err(error),
            };
            self.perform(outputs).await?;
            if self.taker.is_idle() {
                self.place = None;
            }
        }
    }

    async fn request(&mut self, request: Request) -> Result<Vec<TakerOutput>, LinkError> {
        match request {
            Request::Standing => {
                let answer = match self.post.context().await {
                    Ok(context) => {
                        let version = self.post.version();
                        blocking(|| local_config::standing(&context, version))
                    }
                    Err(_) => return Err(LinkError::OutOfTurn),
                };
                self.link.say(&Answer::Standing(Box::new(answer))).await?;
                Ok(Vec::new())
            }
            Request::Fetch => {
                let current = self.post.with_store(|store| {
                    let current = store.history().current().cloned();
                    current.ok_or_else(|| "it has received nothing yet".to_owned())
                });
                match current {
                    Ok(record) => self.hand_over(record).await?,
                    Err(why) => self.refuse(why).await?,
                }
                Ok(Vec::new())
            }
            Request::Need(_) => Err(LinkError::OutOfTurn),
            Request::Offer(record) => self.offered(record).await,
            Request::Commit | Request::Abort => {
                let outputs = self.post.with_store(|store| {
                    Ok(self
                        .taker
                        .request(request, store.history(), &|piece| store.has(piece)))
                });
                outputs.unwrap_or(Err("")).map_err(|_| LinkError::OutOfTurn)
            }
        }
    }

    async fn offered(&mut self, record: Box<Record>) -> Result<Vec<TakerOutput>, LinkError> {
        if self.place.is_none() {
            let Ok(place) = Arc::clone(&self.post.busy).try_lock_owned() else {
                self.refuse("another push is under way there: try again".to_owned())
                    .await?;
                return Ok(Vec::new());
            };
            self.place = Some(place);
        }
        let outputs = self.post.with_store(|store| {
            let request = Request::Offer(record);
            Ok(self
                .taker
                .request(request, store.history(), &|piece| store.has(piece)))
        });
        match outputs {
            Ok(outputs) => outputs.map_err(|_| LinkError::OutOfTurn),
            Err(why) => {
                self.refuse(why).await?;
                Ok(Vec::new())
            }
        }
    }

    async fn refuse(&mut self, why: String) -> Result<(), LinkError> {
        let differences = Vec::new();
        self.link.say(&Answer::Refused { why, differences }).await
    }

    /// What this node was given last, for one that was away.
    async fn hand_over(&mut self, record: Record) -> Result<(), LinkError> {
        let pieces = record.content.pieces();
        self.link.say(&Answer::Latest(Box::new(record))).await?;
        let Request::Need(digests) = self.link.hear_message(PATIENCE).await? else {
            return Err(LinkError::OutOfTurn);
        };
        let is_asked = |piece: &&Piece| digests.contains(&piece.digest);
        let asked: Vec<Piece> = pieces.iter().filter(is_asked).copied().collect();
        if asked
            .iter()
            .map(|piece| piece.digest)
            .collect::<Vec<Digest>>()
            != digests
        {
            return Err(LinkError::OutOfTurn);
        }
        pieces::send(&self.post, &mut self.link, &asked).await
    }

    async fn perform(&mut self, outputs: Vec<TakerOutput>) -> Result<(), LinkError> {
        let mut outputs: std::collections::VecDeque<TakerOutput> = outputs.into();
        let mut result = Ok(());
        while let Some(output) = outputs.pop_front() {
            let more = match output {
                TakerOutput::Say(answer) => {
                    // Even when the caller is gone the rest is done.
                    result = result.and(self.link.say(&answer).await);
                    Vec::new()
                }
                TakerOutput::Store { piece, bytes, last } => self.store(piece, &bytes, last),
                TakerOutput::Lay(record) => self.lay(record).await,
                TakerOutput::Swap => self.swap().await,
                TakerOutput::Drop => {
                    self.drop_it();
                    Vec::new()
                }
            };
            outputs.extend(more);
        }
        result
    }

    fn store(&mut self, piece: Piece, bytes: &[u8], last: bool) -> Vec<TakerOutput> {
        let (post, writer) = (&self.post, &mut self.writer);
        let stored = blocking(|| {
            let mut open = match writer.take() {
                Some(open) => open,
                None => post.with_store(|store| store.writer(piece))?,
            };
            open.add(bytes)?;
            if last {
                open.finish()?;
            } else {
                *writer = Some(open);
            }
            Ok(())
        });
        if stored.is_err() || last {
            return self.taker.stored(stored);
        }
        Vec::new()
    }

    async fn lay(&mut self, record: Box<Record>) -> Vec<TakerOutput> {
        let context = match self.post.context().await {
            Ok(context) => context,
            Err(why) => return self.taker.laid(Err(why), Vec::new()),
        };
        let standing = blocking(|| local_config::standing(&context, self.post.version()));
        let (laid, differences) = self.post.lay(&record, &context);
        match laid {
            Ok(laid) => {
                self.laid = Some((laid.layout, record));
                self.taker.laid(Ok(standing), differences)
            }
            Err(why) => self.taker.laid(Err(why), differences),
        }
    }

    async fn swap(&mut self) -> Vec<TakerOutput> {
        let Some((layout, record)) = self.laid.take() else {
            return self.taker.swapped(Err("nothing is staged".to_owned()));
        };
        let what = TakeOver {
            version: record.version,
            changed: layout.changes,
            from: Some(self.peer.clone()),
        };
        let swapped = blocking(|| self.post.with_store(|store| layout.commit(store)));
        let swapped = match swapped {
            Ok(unfinished) => {
                info!(
                    "version {} of {} is in place",
                    what.version.number, what.version.on
                );
                Ok(self.post.take_over(what).await.or(unfinished))
            }
            Err(why) => Err(why),
        };
        self.taker.swapped(swapped)
    }

    fn drop_it(&mut self) {
        let (writer, laid) = (self.writer.take(), self.laid.take());
        blocking(|| {
            drop(writer);
            if let Some((layout, _)) = laid {
                layout.drop_it();
            }
            let _ = self.post.with_store(|store| {
                store.sweep();
                Ok(())
            });
        });
    }
}
