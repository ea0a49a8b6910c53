//! The `ringbgp` binary.

fn main() {}
