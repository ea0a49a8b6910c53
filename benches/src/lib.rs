//! Benches over the public surface of the other crates; see `benches/`.
