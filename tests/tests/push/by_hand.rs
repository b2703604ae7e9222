//! The pushing side of the protocol, a message at a time.
use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use lbd::{
    channel::SenderId,
    push::{
        Answer, Body, Piece, Record, Request, bytes, message, parse,
        secure::{Caller, Channel, REPLY_BYTES},
    },
};
use lbd_tests::cluster::PATIENCE;

use crate::world::World;

/// The pushing side, in the hand of the test.
pub(crate) struct ByHand {
    pub(crate) stream: TcpStream,
    channel: Channel,
}

impl ByHand {
    pub(crate) fn call(world: &World, from: usize, to: usize) -> Self {
        let mut key = [0; 32];
        for (index, byte) in key.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&world.secret[2 * index..2 * index + 2], 16).unwrap();
        }
        let (nodes, id) = (&world.lab.nodes, |node| SenderId::of(world.name(node)));
        let caller = Caller::new(&key, id(from), id(to));
        let at = (nodes[to].address4(), 9426);
        nodes[from]
            .inside(move || {
                let mut stream = TcpStream::connect(at).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                stream.write_all(caller.call()).unwrap();
                let mut reply = [0; REPLY_BYTES];
                stream.read_exact(&mut reply).unwrap();
                let (proof, channel) = caller.prove(&reply).unwrap();
                stream.write_all(&proof).unwrap();
                Self { stream, channel }
            })
            .unwrap()
    }

    pub(crate) fn send(&mut self, body: &[u8]) {
        let frame = self.channel.seal(body).unwrap();
        self.stream.write_all(&frame).unwrap();
    }

    pub(crate) fn hear(&mut self) -> Answer {
        let mut head = [0; 4];
        self.stream.read_exact(&mut head).unwrap();
        let mut rest = vec![0; Channel::bytes_after(head).unwrap()];
        self.stream.read_exact(&mut rest).unwrap();
        match parse(&self.channel.open(head, &rest).unwrap()).unwrap() {
            Body::Message(answer) => answer,
            Body::Bytes(_) => panic!("bytes"),
        }
    }

    pub(crate) fn offer(&mut self, record: &Record, texts: &[&[u8]]) -> Answer {
        self.send(&message(&Request::Offer(Box::new(record.clone()))));
        let Answer::Need(digests) = self.hear() else {
            panic!("it needs nothing");
        };
        for digest in digests {
            let text = texts.iter().find(|text| Piece::of(text).digest == digest);
            self.send(&bytes(text.unwrap()));
        }
        self.hear()
    }

    pub(crate) fn commit(&mut self) -> Answer {
        self.send(&message(&Request::Commit));
        self.hear()
    }
}
