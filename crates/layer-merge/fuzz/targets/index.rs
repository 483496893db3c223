#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| pleach_layer_merge_fuzz::run("index", data));
