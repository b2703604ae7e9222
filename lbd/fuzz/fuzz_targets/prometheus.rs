//! Any text as what an exporter says, and its first line as what an operator selects from it.
#![no_main]
use lbd::stats::{Figure, Figures, MAX_FIGURE, prometheus};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let end = input.iter().position(|byte| *byte == b'\n');
    let (first, answer) = input.split_at(end.unwrap_or(0));
    let written = std::str::from_utf8(first).ok();
    let written = written.and_then(|text| text.parse::<prometheus::Selector>().ok());
    let selector = written.unwrap_or_else(|| "queue".parse().expect("a metric's name"));
    let selectors = Figures::new([(Figure::Queued, selector)]);
    if let Ok(sample) = prometheus::parse(answer, &selectors) {
        assert!(sample.queued.is_none_or(|queued| queued <= MAX_FIGURE));
    }
});
