//! The body is `coalmine_fuzz::ticket`; tests run it over `corpus-seeds/ticket`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| coalmine_fuzz::ticket::check(data));
