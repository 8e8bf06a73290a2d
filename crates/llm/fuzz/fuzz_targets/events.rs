//! How events are split.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| paddock_llm::internals::split_events(input));
