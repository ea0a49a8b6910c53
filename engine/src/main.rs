//! The `ringbgp` binary: an allocator and a call.

use std::ffi::{c_int, c_long};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of mimalloc 3; the binding does not name it.
const PURGE_DELAY: c_int = 15;

/// Milliseconds until memory that nobody uses goes back to the system, 1,000 unless said. What
/// reading a configuration of 5,000 neighbors took is gone before they connect, and a table's peak
/// is 6 % lower; the processor time is the same (perf/README.md).
const PURGE_DELAY_MS: c_long = 10;

fn main() -> ExitCode {
    if std::env::var_os("MIMALLOC_PURGE_DELAY").is_none() {
        // SAFETY: sets one number of the allocator, for which any value is valid; no other thread
        // runs yet that could read it meanwhile.
        #[allow(unsafe_code)]
        unsafe {
            libmimalloc_sys::mi_option_set(PURGE_DELAY, PURGE_DELAY_MS);
        }
    }
    engine::cli::main()
}

#[cfg(test)]
mod tests {
    /// The number of the option is the allocator's own affair: it is the one whose default is this.
    #[test]
    #[allow(unsafe_code)]
    fn the_option_is_the_purge_delay() {
        // SAFETY: reads one number, which nobody writes in this process.
        let default = unsafe { libmimalloc_sys::mi_option_get(super::PURGE_DELAY) };
        let said = std::env::var("MIMALLOC_PURGE_DELAY");
        assert!(default == 1000 || said.is_ok(), "{default}");
    }
}
