//! What requests and answers become.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| paddock_llm::internals::translate_bodies(input));
