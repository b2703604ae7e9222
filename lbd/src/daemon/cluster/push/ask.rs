//! Asking peers: for what they have, and for what this node missed while it was away.
use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::task::JoinSet;

use super::{
    PeerStanding, Post, PushContext, PushReport, PushRequest, StandingReport, TakeOver, blocking,
    callers::{Callers, known, peers},
    link::LinkError,
    local_config, pieces,
};
use crate::push::{Answer, Request, Standing, Version};

/// For a plain question.
const ANSWERED: Duration = Duration::from_secs(5);

/// Takes what a peer was given last, for this node alone, which was away.
pub(super) async fn pull(
    post: &Arc<Post>,
    context: &PushContext,
    callers: &Callers,
    peer: &str,
    request: &PushRequest,
) -> Result<PushReport, String> {
    let at = known(&peers(context, callers), peer)?;
    let failed = |error: LinkError| format!("{peer} at {at}: {error}");
    let mut link = callers.call(peer, at).await.map_err(failed)?;
    link.say(&Request::Fetch).await.map_err(failed)?;
    let record = match link.hear_message(ANSWERED).await.map_err(failed)? {
        Answer::Latest(record) => *record,
        Answer::Refused { why, .. } => return Err(format!("{peer}: {why}")),
        _ => return Err(failed(LinkError::OutOfTurn)),
    };
    request.expects(&record.version)?;
    let fetched = pieces::fetch(post, &mut link, &record).await;
    drop(link);
    let laid = fetched.and_then(|()| {
        post.with_store(|store| match store.history().refuses(&record.version) {
            Some(_) => Err(format!(
                "this node has version {} already, which is later than {peer}'s version {}",
                store.history().next_number().saturating_sub(1),
                record.version.number
            )),
            None => Ok(()),
        })
    });
    let (laid, here) = match laid {
        Ok(()) => post.lay(&record, context),
        Err(why) => (Err(why), Vec::new()),
    };
    let version = record.version;
    let what = TakeOver {
        version: version.clone(),
        changed: !here.is_empty(),
        from: Some(peer.to_owned()),
    };
    let (pushed, trouble) = match laid.map(|laid| laid.layout) {
        Ok(layout) if request.trial => {
            blocking(|| layout.drop_it());
            (false, None)
        }
        Ok(layout) => match blocking(|| post.with_store(|store| layout.commit(store))) {
            Ok(unfinished) => (true, post.take_over(what).await.or(unfinished)),
            Err(why) => (false, Some(why)),
        },
        Err(why) => (false, Some(why)),
    };
    if !pushed {
        blocking(|| {
            let _ = post.with_store(|store| {
                store.sweep();
                Ok(())
            });
        });
    }
    Ok(PushReport {
        pushed,
        trial: request.trial,
        version,
        trouble,
        here,
        peers: Vec::new(),
    })
}

/// What this node and every peer has.
pub(in crate::daemon) async fn standings(post: &Arc<Post>) -> Result<StandingReport, String> {
    let context = post.context().await?;
    let versions = post.with_store(|store| {
        let records = store.history().records().iter();
        Ok(records
            .map(|record| record.version.clone())
            .collect::<Vec<_>>())
    })?;
    let latest = versions.last().cloned();
    let own = blocking(|| local_config::standing(&context, latest.clone()));
    let mut asked = JoinSet::new();
    let callers = Callers::of(&context);
    if let Ok(callers) = &callers {
        for (name, at) in peers(&context, callers) {
            let callers = callers.clone();
            asked.spawn(async move {
                let standing = ask_standing(&callers, &name, at).await;
                (name, standing.map_err(|error| format!("{at}: {error}")))
            });
        }
    }
    let mut peers = Vec::new();
    while let Some(answered) = asked.join_next().await {
        let Ok((name, standing)) = answered else {
            continue;
        };
        let (standing, why) = match standing {
            Ok(standing) => (standing, None),
            Err(why) => (Standing::default(), Some(why)),
        };
        let number = |version: &Option<Version>| version.as_ref().map(|version| version.number);
        peers.push(PeerStanding {
            name,
            behind: why.is_none() && number(&standing.version) < number(&latest),
            edited: standing.is_edited(),
            version: standing.version,
            trouble: why.or(standing.trouble),
        });
    }
    peers.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(StandingReport {
        node: context.running.node.name.clone(),
        versions,
        edited: own.is_edited(),
        peers,
    })
}

async fn ask_standing(
    callers: &Callers,
    name: &str,
    at: SocketAddr,
) -> Result<Standing, LinkError> {
    let mut link = callers.call(name, at).await?;
    link.say(&Request::Standing).await?;
    match link.hear_message(ANSWERED).await? {
        Answer::Standing(standing) => Ok(*standing),
        _ => Err(LinkError::OutOfTurn),
    }
}
