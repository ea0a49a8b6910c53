//! The atomics that the lock-free structures are built from.
//!
//! Under `--cfg loom` they are the model checker's, so that the very code that runs in production
//! is what its models explore. Nothing else in the crate names an atomic type's origin.

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering, fence,
};
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering, fence,
};
