//! Simulated BGP routers. Built on `codec` alone, so that a fault of the engine cannot hide itself.

fn main() {}
