//! The side that pushes: offers to all peers at once, and tells them the decision.
use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use tokio::task::JoinSet;
use tracing::{info, warn};

use super::{
    PeerReport, Post, Progress, PushContext, PushOrigin, PushReport, PushRequest, TakeOver, ask,
    blocking,
    callers::{Callers, known, peers},
    layout::Layout,
    link::{Link, LinkError},
    local_config::{self, Laid},
    pieces,
    store::Store,
};
use crate::{
    daemon::clock,
    push::{
        Answer, Difference, PeerState, Piece, Pusher, PusherOutput, Record, Request, Standing,
        Version,
    },
};

/// For a peer to check a configuration with long lists, on a box that is busy with mail.
const CHECKED: Duration = Duration::from_secs(25);
/// For a peer to put it in place and take it over.
const SWAPPED: Duration = Duration::from_secs(20);
/// For a plain question.
const ANSWERED: Duration = Duration::from_secs(5);

/// Pushes, or tries to; or pulls. The error is a sentence: nothing was done at all.
pub(in crate::daemon) async fn push(
    post: &Arc<Post>,
    request: PushRequest,
    by: String,
) -> Result<PushReport, String> {
    let mut context = post.context().await?;
    let callers = Callers::of(&context)?;
    let Ok(_place) = Arc::clone(&post.busy).try_lock_owned() else {
        return Err("another push is under way: try again".to_owned());
    };
    let order = request.order.clone();
    if let PushOrigin::From(peer) = &order {
        return ask::pull(post, &context, &callers, peer, &request).await;
    }
    if let Some(why) = &context.not_master {
        return Err(why.clone());
    }
    let peers = peers(&context, &callers);
    let left_out = chosen(&peers, &request.without)?;
    let mut prepared = prepare(post, &context, &order, &by)?;
    if order == PushOrigin::Own && prepared.laid.config != context.running {
        // A very recent edit that was not noticed yet: it must take effect here as well.
        blocking(|| prepared.laid.layout.drop_it());
        if let Some(refused) = post.reload().await {
            return Err(format!(
                "the configuration on this node is itself refused:\n{refused}"
            ));
        }
        context = post.context().await?;
        prepared = prepare(post, &context, &order, &by)?;
    }
    let Prepared { record, laid, here } = prepared;
    if let Err(changed) = request.expects(&record.version) {
        blocking(|| laid.layout.drop_it());
        return Err(changed);
    }

    let mut offers = JoinSet::new();
    for (name, at) in &peers {
        if left_out.contains(name) {
            continue;
        }
        let (post, callers, record) = (Arc::clone(post), callers.clone(), record.clone());
        let (name, at) = (name.clone(), *at);
        offers.spawn(async move {
            let offered = offer(&post, &callers, &name, at, record).await;
            (name, offered)
        });
    }
    let asked = peers
        .keys()
        .filter(|name| !left_out.contains(name))
        .cloned();
    let mut push = Push {
        post,
        pusher: Pusher::new(asked, request.trial),
        version: record.version.clone(),
        layout: Some(laid.layout),
        offered: BTreeMap::new(),
        troubled: None,
    };
    let begun = push.pusher.begin();
    push.perform(begun).await;
    while let Some(offered) = offers.join_next().await {
        let Ok((name, offered)) = offered else {
            continue; // A task of ours that panicked: its peer stays unanswered, see `finish`.
        };
        let answer = offered.answer.clone();
        push.offered.insert(name.clone(), offered);
        let outputs = push.pusher.answered(&name, answer);
        push.perform(outputs).await;
    }
    Ok(push.finish(here, request.trial, left_out))
}

/// A push while it lasts.
struct Push<'a> {
    post: &'a Arc<Post>,
    pusher: Pusher,
    version: Version,
    /// This node's own, until it is put in place or dropped.
    layout: Option<Layout>,
    offered: BTreeMap<String, Offered>,
    /// Why this node does not run what it has put in place.
    troubled: Option<String>,
}

/// What came of an offer.
struct Offered {
    answer: Result<(), PeerState>,
    standing: Standing,
    differences: Vec<Difference>,
    link: Option<Link>,
}

impl Push<'_> {
    async fn perform(&mut self, outputs: Vec<PusherOutput>) {
        let mut commits = JoinSet::new();
        let mut outputs: std::collections::VecDeque<PusherOutput> = outputs.into();
        while let Some(output) = outputs.pop_front() {
            match output {
                PusherOutput::Record => {
                    let recorded = self.record().await;
                    outputs.extend(self.pusher.recorded(recorded));
                }
                PusherOutput::Commit(peer) => {
                    let link = self.offered.get_mut(&peer).and_then(|it| it.link.take());
                    commits.spawn(async move {
                        let committed = commit(link).await;
                        (peer, committed)
                    });
                }
                // The end of the connection says the same; this waits until it is done.
                PusherOutput::Abort(peer) => {
                    let link = self.offered.get_mut(&peer).and_then(|it| it.link.take());
                    commits.spawn(async move {
                        abort(link).await;
                        (peer, Ok(None))
                    });
                }
            }
        }
        while let Some(ended) = commits.join_next().await {
            if let Ok((peer, committed)) = ended {
                self.pusher.committed(&peer, committed);
            }
        }
    }

    /// From here on the version counts.
    async fn record(&mut self) -> Result<(), String> {
        let layout = self.layout.take().ok_or("it is not staged")?;
        let what = TakeOver {
            version: self.version.clone(),
            changed: layout.changes,
            from: None,
        };
        let unfinished = blocking(|| self.post.with_store(|store| layout.commit(store)))?;
        self.troubled = self.post.take_over(what).await.or(unfinished);
        Ok(())
    }

    fn finish(mut self, here: Vec<Difference>, trial: bool, left_out: Vec<String>) -> PushReport {
        if let Some(layout) = self.layout.take() {
            blocking(|| layout.drop_it());
        }
        let mut peers: Vec<PeerReport> = Vec::new();
        for (name, state) in self.pusher.peers() {
            let (progress, why) = match state.clone() {
                PeerState::Committed { trouble: None } => (Progress::Pushed, None),
                PeerState::Committed { trouble } => (Progress::Troubled, trouble),
                PeerState::Accepted | PeerState::Dropped => (Progress::Accepted, None),
                PeerState::Refused(why) => (Progress::Refused, Some(why)),
                PeerState::Unreachable(why) => (Progress::Unreachable, Some(why)),
                PeerState::Missed(why) => (Progress::Behind, Some(why)),
                PeerState::Asked | PeerState::Committing => {
                    let why = "a bug in lbd ended the conversation with it";
                    (Progress::Unreachable, Some(why.to_owned()))
                }
            };
            let offered = self.offered.remove(name);
            let (standing, differences) =
                offered.map_or_else(Default::default, |it| (it.standing, it.differences));
            peers.push(PeerReport {
                name: name.clone(),
                progress,
                why,
                edited: standing.is_edited(),
                had: standing.version,
                differences,
            });
        }
        let out = left_out.into_iter().map(|name| PeerReport {
            name,
            progress: Progress::LeftOut,
            why: None,
            had: None,
            edited: false,
            differences: Vec::new(),
        });
        peers.extend(out);
        peers.sort_by(|a, b| a.name.cmp(&b.name));
        let pushed = self.pusher.is_recorded();
        let own = self.pusher.own_trouble().map(ToOwned::to_owned);
        log(&self.version, pushed, trial, &peers);
        PushReport {
            pushed,
            trial,
            version: self.version,
            trouble: own.or(self.troubled),
            here,
            peers,
        }
    }
}

fn log(version: &Version, pushed: bool, trial: bool, peers: &[PeerReport]) {
    let Version { number, by, .. } = version;
    if pushed {
        info!("version {number} of the configuration was pushed by {by}");
    } else if !trial {
        warn!("version {number} of the configuration was not pushed: nothing was changed");
    }
    if trial {
        return;
    }
    for peer in peers {
        if let (true, Some(why)) = (peer.progress != Progress::Pushed, &peer.why) {
            warn!("push to {}: {why}", peer.name);
        }
    }
}

/// The peers to leave out; a name that is none is a mistake.
fn chosen(peers: &BTreeMap<String, SocketAddr>, without: &[String]) -> Result<Vec<String>, String> {
    for name in without {
        known(peers, name)?;
    }
    Ok(without.to_vec())
}

/// What will be pushed, staged on this node.
struct Prepared {
    record: Record,
    laid: Laid,
    here: Vec<Difference>,
}

fn prepare(
    post: &Post,
    context: &PushContext,
    order: &PushOrigin,
    by: &str,
) -> Result<Prepared, String> {
    let record = blocking(|| {
        post.with_store(|store| match order {
            PushOrigin::Back(to) => backward(store, context, *to, by),
            PushOrigin::Own | PushOrigin::From(_) => own(store, context, by),
        })
    })?;
    let (laid, here) = post.lay(&record, context);
    let laid = laid.map_err(|why| format!("this node itself refuses it: {why}"))?;
    Ok(Prepared { record, laid, here })
}

/// What is in this node's files: as the version that it is already, or as the next one.
fn own(store: &mut Store, context: &PushContext, by: &str) -> Result<Record, String> {
    let content = local_config::Own::read(&context.path)?.keep(store)?;
    let history = store.history();
    if let Some(current) = history.current()
        && current.version.digest == content.digest()
    {
        return Ok(current.clone());
    }
    let version = Version {
        number: history.next_number(),
        digest: content.digest(),
        by: by.to_owned(),
        on: context.running.node.name.clone(),
        at_unix_s: clock::unix_s(),
        back_to: None,
    };
    Ok(Record { version, content })
}

/// A version of before, as the next one.
fn backward(
    store: &mut Store,
    context: &PushContext,
    to: Option<u64>,
    by: &str,
) -> Result<Record, String> {
    let history = store.history();
    let kept = || {
        let numbers = history
            .records()
            .iter()
            .map(|record| record.version.number.to_string());
        numbers.collect::<Vec<_>>().join(", ")
    };
    let earlier = if let Some(number) = to {
        history.get(number).ok_or_else(|| {
            format!(
                "version {number} is not kept here; the versions are {}",
                kept()
            )
        })?
    } else {
        let standing =
            local_config::standing(context, history.current().map(|it| it.version.clone()));
        if standing.is_edited() {
            return Err(format!(
                "{} or a list of it has edits that were never pushed and would be lost; push them, \
                 or name the version to go back to: --back=N, of {}",
                context.path.display(),
                kept()
            ));
        }
        history
            .before_current()
            .ok_or("there is no version before the last one to go back to")?
    };
    let version = Version {
        number: history.next_number(),
        digest: earlier.version.digest,
        by: by.to_owned(),
        on: context.running.node.name.clone(),
        at_unix_s: clock::unix_s(),
        back_to: Some(earlier.version.number),
    };
    Ok(Record {
        version,
        content: earlier.content.clone(),
    })
}

async fn offer(
    post: &Post,
    callers: &Callers,
    name: &str,
    at: SocketAddr,
    record: Record,
) -> Offered {
    let nothing = |answer| Offered {
        answer: Err(answer),
        standing: Standing::default(),
        differences: Vec::new(),
        link: None,
    };
    let unreachable = |error: &LinkError| PeerState::Unreachable(format!("{at}: {error}"));
    let mut link = match callers.call(name, at).await {
        Ok(link) => link,
        Err(error) => return nothing(unreachable(&error)),
    };
    match negotiate(post, &mut link, record).await {
        Ok(Answer::Accepted {
            standing,
            differences,
        }) => Offered {
            answer: Ok(()),
            standing: *standing,
            differences,
            link: Some(link),
        },
        Ok(Answer::Refused { why, differences }) => Offered {
            differences,
            ..nothing(PeerState::Refused(why))
        },
        Ok(_) => nothing(unreachable(&LinkError::OutOfTurn)),
        Err(error) => nothing(unreachable(&error)),
    }
}

async fn negotiate(post: &Post, link: &mut Link, record: Record) -> Result<Answer, LinkError> {
    let pieces = record.content.pieces();
    link.say(&Request::Offer(Box::new(record))).await?;
    let digests = match link.hear_message(CHECKED).await? {
        Answer::Need(digests) => digests,
        other => return Ok(other),
    };
    let needed: Option<Vec<Piece>> = digests
        .iter()
        .map(|digest| pieces.iter().find(|piece| piece.digest == *digest).copied())
        .collect();
    pieces::send(post, link, &needed.ok_or(LinkError::OutOfTurn)?).await?;
    link.hear_message(CHECKED).await
}

async fn commit(link: Option<Link>) -> Result<Option<String>, String> {
    let mut link = link.ok_or("the connection is gone")?;
    let committed = async {
        link.say(&Request::Commit).await?;
        link.hear_message(SWAPPED).await
    };
    match committed.await {
        Ok(Answer::Committed { trouble }) => Ok(trouble),
        Ok(Answer::Refused { why, .. }) => Err(why),
        Ok(_) => Err(LinkError::OutOfTurn.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

async fn abort(link: Option<Link>) {
    let Some(mut link) = link else { return };
    // Whether it is heard or not: the connection ends.
    if link.say(&Request::Abort).await.is_ok() {
        let _ = link.hear_message::<Answer>(ANSWERED).await;
    }
}
