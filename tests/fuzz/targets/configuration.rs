#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| jobber_reviewd::fuzz::configuration(bytes));
