//! The verbs in which io_uring and epoll differ; all else is written once above them.
//!
//! Everything here runs on the one thread of a shard. Invariant: the futures are awaited to their
//! end and never raced against anything, since a ring operation that is dropped may have taken
//! bytes with it.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use bytes::{Buf, Bytes};
use socket2::Socket;

/// Slices in one write.
pub(super) const MAX_SLICES: usize = super::core::SLICES_AT_ONCE;

/// One way to do I/O.
pub(super) trait Io: Sized + 'static {
    /// A TCP socket under this driver's care. Closed when dropped, which must only happen when no
    /// operation is in flight.
    type Stream: AsFd + 'static;

    /// What runs tasks on the current thread.
    type Runtime;

    /// Makes the runtime.
    fn runtime() -> io::Result<Self::Runtime>;

    /// Runs `future` and the local tasks it spawns until it ends.
    fn run<F: Future>(runtime: &Self::Runtime, future: F) -> F::Output;

    /// Takes an established connection.
    fn adopt(socket: OwnedFd) -> io::Result<Self::Stream>;

    /// Takes an unconnected socket that `connected` will connect.
    fn begin_connect(socket: Socket, remote: SocketAddr) -> io::Result<Self::Stream>;

    /// Waits until the connection stands or has failed.
    fn connected(stream: &Self::Stream, remote: SocketAddr)
    -> impl Future<Output = io::Result<()>>;

    /// Makes a pending `connected` fail soon.
    fn cancel_connect(stream: &Self::Stream) -> impl Future<Output = ()>;

    /// Waits until there is something to read, the end or an error included.
    fn readable(stream: &Self::Stream) -> impl Future<Output = io::Result<()>>;

    /// Reads without waiting.
    fn receive(stream: &Self::Stream, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes some of the batch, waiting until at least one octet is taken. The batch comes back
    /// as it was.
    fn write(
        stream: &Self::Stream,
        batch: Batch,
    ) -> impl Future<Output = (io::Result<usize>, Batch)>;

    /// Lets I/O and other tasks proceed between two quanta of work.
    fn breathe() -> impl Future<Output = ()>;
}

/// Slices on their way into a socket, with what of them the kernel has already taken.
#[derive(Debug, Default)]
pub(super) struct Batch {
    slices: Vec<Bytes>,
    /// The first slice that is not yet written whole.
    next: usize,
}

impl Batch {
    /// Where to append slices; only while the batch is empty.
    pub(super) fn refill(&mut self) -> &mut Vec<Bytes> {
        debug_assert!(self.is_empty());
        &mut self.slices
    }

    /// Nothing is left to write.
    pub(super) fn is_empty(&self) -> bool {
        self.next == self.slices.len()
    }

    /// What is left, at most [`MAX_SLICES`] slices of it.
    pub(super) fn front(&self) -> impl Iterator<Item = &Bytes> {
        self.slices.iter().skip(self.next).take(MAX_SLICES)
    }

    /// The kernel took `octets` from the front.
    pub(super) fn advance(&mut self, mut octets: usize) {
        while let Some(slice) = self.slices.get_mut(self.next) {
            if octets < slice.len() {
                slice.advance(octets);
                return;
            }
            octets -= slice.len();
            *slice = Bytes::new();
            self.next += 1;
        }
        self.slices.clear();
        self.next = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_write_leaves_the_remainder() {
        let mut batch = Batch::default();
        batch
            .refill()
            .extend(["abc", "", "defg", "h"].map(Bytes::from));
        batch.advance(5);
        let left: Vec<&[u8]> = batch.front().map(|slice| &slice[..]).collect();
        assert_eq!(left, [&b"fg"[..], b"h"]);
        batch.advance(3);
        assert!(batch.is_empty());
        assert_eq!(batch.refill().len(), 0);
    }

    #[test]
    fn one_write_takes_a_bounded_number_of_slices() {
        let mut batch = Batch::default();
        batch
            .refill()
            .extend((0..MAX_SLICES + 3).map(|_| Bytes::from_static(b"x")));
        assert_eq!(batch.front().count(), MAX_SLICES);
        batch.advance(MAX_SLICES);
        assert_eq!(batch.front().count(), 3);
    }
}
