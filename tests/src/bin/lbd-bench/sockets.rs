//! What it costs that the kernel tells of the box's own sessions.
//!
//! The kernel itself times the program at `sock:inet_sock_set_state` (`BPF_ENABLE_STATS`): so many sessions
//! over the loopback, in turn on a port that is told of and on one that is not. Its timing is in both, and
//! what is between them is the price of a session's beginning and end. A session has six changes of state,
//! of which three are its client's socket's; on a mail server those are another box's.
use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use aya::{
    programs::{ProgramInfo, loaded_programs},
    sys::{Stats, enable_stats},
};
use lbd::sockets::Sockets;
use socket2::SockRef;

use crate::{
    Pace,
    packet::pin_to_one_cpu,
    report::{Bound, Goal, Line, Section, Spread, Table},
};

const ROUNDS: usize = 9;
const SESSIONS: u32 = 2000;

pub(crate) fn run(pace: Pace) -> Result<Section> {
    pin_to_one_cpu()?;
    let mut sockets = Sockets::attach()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?;
    let _stats = enable_stats(Stats::RunTime)?;
    let [mut untold, mut told, mut between] = [const { Vec::new() }; 3];
    for _ in 0..pace.rounds(ROUNDS) {
        sockets.watch(&[].into(), false)?;
        let (events, without) = session_ns(&mut sockets, &listener, port)?;
        ensure!(events == 0, "{events} events of a port that is not told of");
        sockets.watch(&[port.port()].into(), false)?;
        let (events, with) = session_ns(&mut sockets, &listener, port)?;
        ensure!(
            events == 2 * SESSIONS,
            "{events} events of {SESSIONS} sessions"
        );
        untold.push(without);
        told.push(with);
        between.push(with - without);
    }
    let lines = [
        ("not told", untold),
        ("told", told),
        ("its beginning and its end", between),
    ];
    let lines = lines.map(|(name, samples)| Line {
        name: name.to_owned(),
        cells: vec![Spread::of(samples)],
    });
    let table = Table {
        title: "ns a session".to_owned(),
        columns: vec!["all of its changes".to_owned()],
        lines: lines.into(),
        reference: Some(0),
    };
    let column = "all of its changes";
    let both = table.median("its beginning and its end", column);
    let ratio = table
        .median("told", column)
        .zip(table.median("not told", column));
    let goals = [
        both.map(|ns| Goal {
            what: "ns to tell of a session's beginning and end".to_owned(),
            ratio: ns,
            bound: Bound::AtMost(200.0),
        }),
        ratio.map(|(told, untold)| Goal {
            what: "a session that is told of / one that is not".to_owned(),
            ratio: told / untold,
            bound: Bound::AtMost(2.0),
        }),
    ];
    Ok(Section {
        name: "sockets",
        method: format!(
            "The kernel's own timing of the program at `sock:inet_sock_set_state`, which it adds to every call: \
             {SESSIONS} sessions over the loopback that their clients reset, in turn told and not told, {} \
             rounds. A session has six changes of state here, of its two sockets; two are told.",
            pace.rounds(ROUNDS)
        ),
        tables: vec![table],
        goals: goals.into_iter().flatten().collect(),
    })
}

/// Events, and nanoseconds of the program a session.
fn session_ns(
    sockets: &mut Sockets,
    listener: &TcpListener,
    port: SocketAddr,
) -> Result<(u32, f64)> {
    let mut events = 0;
    let before = run_time()?;
    for _ in 0..SESSIONS {
        let client = TcpStream::connect(port)?;
        let (server, _) = listener.accept()?;
        SockRef::from(&client).set_linger(Some(Duration::ZERO))?;
        drop(client);
        drop(server);
        events += u32::try_from(sockets.by_ref().count())?;
    }
    let took = run_time()?.saturating_sub(before);
    Ok((events, took.as_secs_f64() * 1e9 / f64::from(SESSIONS)))
}

/// How long the program has run so far. Other daemons' programs run too; the youngest is ours.
fn run_time() -> Result<Duration> {
    let programs = loaded_programs().filter_map(Result::ok);
    let named = programs.filter(|program| program.name_as_str() == Some("lbd_sock"));
    let ours = named
        .max_by_key(ProgramInfo::id)
        .context("no lbd_sock is loaded")?;
    Ok(ours.run_time())
}
