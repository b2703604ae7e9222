//! What a caller says in a push: frames in the clear after both have proved the key, since whoever has
//! the key signs what it likes; and any bytes in the handshake.
//!
//! The input is frames' bodies, each behind two bytes of its length.
#![no_main]
use lbd::{
    channel::SenderId,
    push::{
        Answer, Body, Versions, Request, Standing, Taker, TakerOutput, parse,
        secure::{CALL_BYTES, Called, Caller, PROOF_BYTES, REPLY_BYTES},
    },
};
use libfuzzer_sys::fuzz_target;

const KEY: [u8; 32] = [7; 32];

fn handshake(input: &[u8]) {
    let caller = Caller::new(&KEY, SenderId(1), SenderId(2));
    if let Some(reply) = input.first_chunk::<REPLY_BYTES>() {
        assert!(caller.prove(reply).is_err(), "nothing was signed");
    }
    if let Some(call) = input.first_chunk::<CALL_BYTES>()
        && let Ok(called) = Called::answer(call, &[KEY], SenderId(2))
        && let Some(proof) = input[CALL_BYTES..].first_chunk::<PROOF_BYTES>()
    {
        assert!(called.admit(proof).is_err(), "nothing was signed");
    }
}

fuzz_target!(|input: &[u8]| {
    handshake(input);
    let mut taker = Taker::default();
    let history = Versions::default();
    let mut rest = input;
    while let [high, low, more @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(more.len());
        let (body, after) = more.split_at(length);
        rest = after;
        let _ = parse::<Answer>(body);
        let outputs = match parse::<Request>(body) {
            Ok(Body::Message(request)) => taker.request(request, &history, &|_| false),
            Ok(Body::Bytes(bytes)) => taker.bytes(bytes.to_vec()),
            Err(_) => break,
        };
        let Ok(outputs) = outputs else { break };
        for output in outputs {
            let _ = match output {
                TakerOutput::Store { last: true, .. } => taker.stored(Ok(())),
                TakerOutput::Lay(_) => taker.laid(Ok(Standing::default()), Vec::new()),
                TakerOutput::Swap => taker.swapped(Ok(None)),
                TakerOutput::Store { .. } | TakerOutput::Say(_) | TakerOutput::Drop => continue,
            };
        }
    }
    let _ = taker.lost();
});
