//! The program that tells of the box's own sessions, on the kernel that runs.
use std::{
    io::Read as _,
    net::{TcpListener, TcpStream},
    time::Duration,
};

use aya::{
    programs::loaded_programs,
    sys::{Stats, enable_stats},
};
use lbd::sockets::{Event, Session, Sockets};
use lbd_tests::root_or_skip;
use socket2::SockRef;

/// Sessions of the measurement.
const SESSIONS: u64 = 2000;

fn reset(stream: TcpStream) {
    SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(stream);
}

#[test]
fn the_kernel_tells_of_sessions_as_they_begin_and_end() {
    if !root_or_skip("the_kernel_tells_of_sessions_as_they_begin_and_end") {
        return;
    }
    let mut sockets = Sockets::attach().unwrap();
    let listener = TcpListener::bind("[::]:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    sockets.watch(&[port].into(), false).unwrap();
    let mut expected = Vec::new();
    for host in ["127.0.0.1", "::1"] {
        let unheard = TcpStream::connect(other.local_addr().unwrap()).unwrap();
        let client = TcpStream::connect((host, port)).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let session = Session {
            client: client.local_addr().unwrap(),
            local: client.peer_addr().unwrap(),
        };
        // The first by the client's reset, which the server only reads of; the second by its own FIN.
        if host == "::1" {
            drop(server);
            drop(client);
        } else {
            reset(client);
            server.read(&mut [0]).unwrap_err();
        }
        expected.extend([Event::Opened(session), Event::Ended(session)]);
        drop(unheard);
    }
    drop(listener);
    expected.push(Event::Listener(port));
    let told: Vec<Event> = sockets.by_ref().collect();
    assert_eq!((told, sockets.lost()), (expected, 0));

    // Every other port as well: only what is no listener, and no session's other end.
    sockets.watch(&[].into(), true).unwrap();
    let client = TcpStream::connect(other.local_addr().unwrap()).unwrap();
    let session = Session {
        client: client.local_addr().unwrap(),
        local: client.peer_addr().unwrap(),
    };
    reset(client);
    let told: Vec<Event> = sockets
        .by_ref()
        .filter(|event| matches!(event, Event::Opened(it) | Event::Ended(it) if it.local == session.local))
        .collect();
    assert_eq!(told, [Event::Opened(session), Event::Ended(session)]);
}

#[test]
fn what_it_costs_is_told() {
    if !root_or_skip("what_it_costs_is_told") {
        return;
    }
    let mut sockets = Sockets::attach().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap();
    let _stats = enable_stats(Stats::RunTime).unwrap();
    let run = || {
        let programs = loaded_programs().filter_map(Result::ok);
        let ours = programs.filter(|program| program.name_as_str() == Some("lbd_sock"));
        // Other daemons' programs run too; the last one is the youngest.
        let last = ours.max_by_key(aya::programs::ProgramInfo::id).unwrap();
        (last.run_time(), last.run_count())
    };
    let mut measure = |watched: &[u16]| {
        let watched = watched.iter().copied().collect();
        sockets.watch(&watched, false).unwrap();
        let (mut told, before) = (0, run());
        for _ in 0..SESSIONS {
            let client = TcpStream::connect(port).unwrap();
            let (server, _) = listener.accept().unwrap();
            reset(client);
            drop(server);
            told += sockets.by_ref().count() as u64;
        }
        let after = run();
        let ns = after.0.saturating_sub(before.0).as_nanos() / u128::from(SESSIONS);
        (told, ns, after.1 - before.1)
    };
    // Six changes of state: three of the client's socket, which are this box's only here, and three of the
    // server's, two of which are told. What the kernel's own measuring costs is in all of them.
    let (nothing, untold_ns, _) = measure(&[]);
    let (told, ns, count) = measure(&[port.port()]);
    println!(
        "{ns} ns a session of {} changes of state, {untold_ns} ns where nothing is told: {} ns to tell of its \
         beginning and its end",
        count / SESSIONS,
        ns.saturating_sub(untold_ns),
    );
    assert_eq!(nothing, 0);
    assert_eq!(told, 2 * SESSIONS, "each began and ended");
}
