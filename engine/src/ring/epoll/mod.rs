//! The epoll driver: the same verbs on a tokio current-thread runtime, for kernels and containers
//! that forbid io_uring, and as the measure that io_uring has to beat.

use std::future::Future;
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr, TcpStream as StdTcpStream};
use std::os::fd::OwnedFd;

use socket2::{SockAddr, SockRef, Socket};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::LocalSet;

use super::io::{Batch, Io, MAX_SLICES};

/// epoll.
pub(super) struct Epoll;

/// A runtime with its local tasks, which go first.
pub(super) struct LocalRuntime {
    local: LocalSet,
    runtime: Runtime,
}

impl Io for Epoll {
    type Stream = TcpStream;
    type Runtime = LocalRuntime;

    fn runtime() -> io::Result<LocalRuntime> {
        Ok(LocalRuntime {
            local: LocalSet::new(),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_io()
                .enable_time()
                .build()?,
        })
    }

    fn run<F: Future>(runtime: &LocalRuntime, future: F) -> F::Output {
        runtime.local.block_on(&runtime.runtime, future)
    }

    fn adopt(socket: OwnedFd) -> io::Result<TcpStream> {
        let socket = StdTcpStream::from(socket);
        socket.set_nonblocking(true)?;
        TcpStream::from_std(socket)
    }

    fn begin_connect(socket: Socket, remote: SocketAddr) -> io::Result<TcpStream> {
        socket.set_nonblocking(true)?;
        match socket.connect(&SockAddr::from(remote)) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
            _ => TcpStream::from_std(StdTcpStream::from(socket)),
        }
    }

    async fn connected(stream: &TcpStream, _: SocketAddr) -> io::Result<()> {
        stream.writable().await?;
        match stream.take_error()? {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    async fn cancel_connect(stream: &TcpStream) {
        // On a connection that is not yet one, this drops the attempt and wakes who waits.
        let _ = SockRef::from(stream).shutdown(Shutdown::Both);
    }

    async fn readable(stream: &TcpStream) -> io::Result<()> {
        stream.readable().await
    }

    fn receive(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
        stream.try_read(buffer)
    }

    async fn write(stream: &TcpStream, batch: Batch) -> (io::Result<usize>, Batch) {
        loop {
            match try_write(stream, &batch) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return (result, batch),
            }
            if let Err(error) = stream.writable().await {
                return (Err(error), batch);
            }
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "no ring on this thread: epoll is polled whether or not a task is runnable"
    )]
    async fn breathe() {
        tokio::task::yield_now().await;
    }
}

fn try_write(stream: &TcpStream, batch: &Batch) -> io::Result<usize> {
    let mut slices = [IoSlice::new(&[]); MAX_SLICES];
    let mut count = 0;
    for (slot, slice) in slices.iter_mut().zip(batch.front()) {
        *slot = IoSlice::new(slice);
        count += 1;
    }
    stream.try_write_vectored(&slices[..count])
}
