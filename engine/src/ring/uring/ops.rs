//! The ring operations that tokio-uring does not offer, each as one safe function.
//!
//! `UnsubmittedOneshot` is safe to call and unsound to misuse: the kernel keeps the pointers in
//! the entry until the completion. The rule here: every pointer of an entry leads to the heap, and
//! the owner of that memory, and of the descriptor, is the operation's stored data, which
//! tokio-uring keeps until the completion even if the future is dropped. All are one-shot: none
//! ever completes with `F_MORE`. Guarded by the driver's tests, which run every one of them.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;

use io_uring::types::{CancelBuilder, Fd};
use io_uring::{cqueue, opcode, squeue};
use socket2::SockAddr;
use tokio_uring::{OneshotOutputTransform, UnsubmittedOneshot};

use crate::ring::io::{Batch, MAX_SLICES};

/// Hands back the result together with what the operation borrowed.
struct WithData<D>(PhantomData<D>);

impl<D> OneshotOutputTransform for WithData<D> {
    type Output = (io::Result<u32>, D);
    type StoredData = D;

    fn transform_oneshot_output(self, data: D, completion: cqueue::Entry) -> Self::Output {
        let result = completion.result();
        // A negative result is an errno.
        let result = u32::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result));
        (result, data)
    }
}

/// Submits `entry`, whose pointers all lead into memory that `data` owns on the heap.
async fn run<D: Unpin + 'static>(data: D, entry: squeue::Entry) -> (io::Result<u32>, D) {
    UnsubmittedOneshot::new(data, WithData(PhantomData), entry)
        .submit()
        .await
}

fn fd(socket: &Rc<OwnedFd>) -> Fd {
    Fd(socket.as_raw_fd())
}

/// Connects a socket.
pub(super) async fn connect(socket: Rc<OwnedFd>, remote: SockAddr) -> io::Result<()> {
    let remote = Box::new(remote);
    // The address is boxed, so it stays where it is when the box moves into the operation.
    let entry = opcode::Connect::new(fd(&socket), remote.as_ptr().cast(), remote.len()).build();
    run((socket, remote), entry).await.0.map(drop)
}

/// Waits until the socket has something to read, its end or an error.
pub(super) async fn poll_readable(socket: Rc<OwnedFd>) -> io::Result<()> {
    let entry = opcode::PollAdd::new(fd(&socket), libc::POLLIN as u32).build();
    run(socket, entry).await.0.map(drop)
}

/// Cancels whatever is in flight on the socket.
pub(super) async fn cancel_all(socket: Rc<OwnedFd>) -> io::Result<()> {
    let entry = opcode::AsyncCancel2::new(CancelBuilder::fd(fd(&socket)).all()).build();
    run(socket, entry).await.0.map(drop)
}

/// What a `sendmsg` refers to, at one place in memory.
struct Send {
    header: libc::msghdr,
    slices: [libc::iovec; MAX_SLICES],
    batch: Batch,
    _socket: Rc<OwnedFd>,
}

/// Sends some of the batch's first slices.
pub(super) async fn send(socket: Rc<OwnedFd>, batch: Batch) -> (io::Result<usize>, Batch) {
    let target = fd(&socket);
    const EMPTY: libc::iovec = libc::iovec {
        iov_base: std::ptr::null_mut(),
        iov_len: 0,
    };
    let mut send = Box::new(Send {
        // SAFETY: `msghdr` is a plain C struct for which all zeros mean "none of it".
        header: unsafe { std::mem::zeroed() },
        slices: [EMPTY; MAX_SLICES],
        batch,
        _socket: socket,
    });
    let Send {
        header,
        slices,
        batch,
        ..
    } = &mut *send;
    let mut count = 0;
    for (slot, slice) in slices.iter_mut().zip(batch.front()) {
        // The kernel only reads from it.
        slot.iov_base = slice.as_ptr().cast_mut().cast();
        slot.iov_len = slice.len();
        count += 1;
    }
    header.msg_iov = slices.as_mut_ptr();
    header.msg_iovlen = count;
    let entry = opcode::SendMsg::new(target, header)
        .flags(libc::MSG_NOSIGNAL as u32)
        .build();
    let (result, send) = run(send, entry).await;
    (result.map(|octets| octets as usize), send.batch)
}
