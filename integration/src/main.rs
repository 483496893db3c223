//! The VM suite: derived and injected customizations boot to the same state.

fn main() {}
