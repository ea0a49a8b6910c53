//! What the contract names and is not built yet: known by name, so that nobody takes it for something
//! that is nobody's. Nothing is ignored.

/// Whether this is a kind of the contract that is not read yet.
pub(super) fn is_kind(group: &str, kind: &str) -> bool {
    match group {
        "cilium.io" => kind.starts_with("CiliumBGP"),
        _ => false,
    }
}
