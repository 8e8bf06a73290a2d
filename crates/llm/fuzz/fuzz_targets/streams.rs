//! What streams become.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| paddock_llm::internals::relay_stream(input));
