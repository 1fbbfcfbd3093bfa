//! The body is `coalmine_fuzz::yaml_edit`; tests run it over `corpus-seeds/yaml_edit`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| coalmine_fuzz::yaml_edit::check(data));
