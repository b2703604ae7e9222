//! Any text as a configuration, and as a list of networks. What is understood is presented as a file
//! that means the same; every mistake can be told.
#![no_main]
use lbd::config::{Config, is_list};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = is_list(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match Config::parse(text, "lbd.yaml") {
        Ok(config) => {
            let presented = config.present();
            let again = Config::parse(&presented, "lbd.yaml").expect("what is presented is read");
            assert!(again == config, "{presented}");
        }
        Err(mistakes) => {
            assert!(!mistakes.is_empty());
            for mistake in mistakes {
                assert!(!mistake.to_string().is_empty());
            }
        }
    }
});
