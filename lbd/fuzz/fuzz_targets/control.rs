//! Any body as each request of the control socket. What is read is written as the same again.
#![no_main]
use std::fmt::Debug;

use lbd::daemon::{operator::{access::AccessRequest, control::OperatorRequest, flow_query::FlowQuery}, cluster::push::PushRequest};
use libfuzzer_sys::fuzz_target;
use serde_json::{from_slice, to_vec};

macro_rules! read_and_written {
    ($type:ty, $body:expr) => {
        if let Ok(request) = from_slice::<$type>($body) {
            let written = to_vec(&request).expect("plain data");
            let again: $type = from_slice(&written).expect("what was written is read");
            same(&request, &again);
        }
    };
}

fn same(one: &impl Debug, other: &impl Debug) {
    assert_eq!(format!("{one:?}"), format!("{other:?}"));
}

fuzz_target!(|body: &[u8]| {
    read_and_written!(OperatorRequest, body);
    read_and_written!(AccessRequest, body);
    read_and_written!(FlowQuery, body);
    read_and_written!(PushRequest, body);
});
