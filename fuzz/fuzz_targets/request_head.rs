//! The body is `coalmine_fuzz::request_head`; tests run it over `corpus-seeds/request_head`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| coalmine_fuzz::request_head::check(data));
