//! The io_uring driver: one ring a shard, by tokio-uring.
//!
//! What is particular to it: operations reach the kernel only when the thread parks, so a pause in
//! long work is an operation of the ring itself; flags are `SINGLE_ISSUER` and `COOP_TASKRUN`, and
//! never `DEFER_TASKRUN`, with which tokio-uring 0.5 hangs. Reading is a poll on the ring and then
//! a plain `recv` into the shard's one buffer, so that a silent peer owns none.

mod ops;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use socket2::{SockAddr, Socket};

use super::io::{Batch, Io};
use super::socket;

/// Submissions that fit before the ring is flushed early; bounds how long a batch can sit.
const ENTRIES: u32 = 256;

/// Completions that fit: thousands of peers may become readable at once.
const COMPLETIONS: u32 = 4096;

fn ring_builder() -> io_uring::Builder {
    let mut builder = tokio_uring::uring_builder();
    builder
        .setup_single_issuer()
        .setup_coop_taskrun()
        // One bad operation must not leave the rest of its batch unsubmitted.
        .setup_submit_all()
        .setup_cqsize(COMPLETIONS);
    builder
}

/// Makes a ring as the shards would, and drops it. On a thread of its own: the kernel takes a ring
/// apart later, and then interrupts whatever system call the thread that made it waits in.
///
/// # Errors
/// The kernel's answer.
pub(super) fn try_ring() -> io::Result<()> {
    let probe = std::thread::Builder::new()
        .name("bgp-probe".to_owned())
        .spawn(|| ring_builder().build(ENTRIES).map(drop))?;
    probe
        .join()
        .unwrap_or_else(|_| Err(io::Error::other("the probe panicked")))
}

/// io_uring.
pub(super) struct Uring;

impl Io for Uring {
    type Stream = Rc<OwnedFd>;
    type Runtime = tokio_uring::Runtime;

    fn runtime() -> io::Result<tokio_uring::Runtime> {
        let mut builder = tokio_uring::builder();
        builder.entries(ENTRIES).uring_builder(&ring_builder());
        tokio_uring::Runtime::new(&builder)
    }

    fn run<F: Future>(runtime: &tokio_uring::Runtime, future: F) -> F::Output {
        runtime.block_on(future)
    }

    fn adopt(socket: OwnedFd) -> io::Result<Rc<OwnedFd>> {
        // The ring waits by itself; on a non-blocking socket some kernels answer EAGAIN instead.
        socket2::SockRef::from(&socket).set_nonblocking(false)?;
        Ok(Rc::new(socket))
    }

    fn begin_connect(socket: Socket, _: SocketAddr) -> io::Result<Rc<OwnedFd>> {
        Ok(Rc::new(OwnedFd::from(socket)))
    }

    async fn connected(stream: &Rc<OwnedFd>, remote: SocketAddr) -> io::Result<()> {
        ops::connect(Rc::clone(stream), SockAddr::from(remote)).await
    }

    async fn cancel_connect(stream: &Rc<OwnedFd>) {
        // Nothing to cancel is an answer too: the connection came about meanwhile.
        let _ = ops::cancel_all(Rc::clone(stream)).await;
    }

    async fn readable(stream: &Rc<OwnedFd>) -> io::Result<()> {
        ops::poll_readable(Rc::clone(stream)).await
    }

    fn receive(stream: &Rc<OwnedFd>, buffer: &mut [u8]) -> io::Result<usize> {
        socket::receive(stream, buffer)
    }

    async fn write(stream: &Rc<OwnedFd>, batch: Batch) -> (io::Result<usize>, Batch) {
        ops::send(Rc::clone(stream), batch).await
    }

    async fn breathe() {
        // Fails only if the ring does, and then the next real operation says so.
        let _ = tokio_uring::no_op().await;
    }
}
