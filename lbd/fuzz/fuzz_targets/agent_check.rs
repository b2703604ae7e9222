//! Any answer as HAProxy's agent-check line, and as a command's output. What a line came to is told
//! again as a line that is read.
#![no_main]
use lbd::stats::{agent_check, command};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|answer: &[u8]| {
    let mut memory = agent_check::Memory::default();
    for line in answer.split_inclusive(|byte| *byte == b'\n') {
        let Ok(parsed) = agent_check::parse(line) else {
            continue;
        };
        let sample = memory.apply(parsed);
        let emitted = agent_check::emit(&sample, 100);
        assert!(
            emitted.ends_with('\n') && emitted.lines().count() == 1,
            "{emitted:?}"
        );
        agent_check::parse(emitted.as_bytes()).expect("what is told is read");
    }
    let _ = command::parse(answer, &mut memory);
});
