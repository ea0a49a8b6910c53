//! Readiness of sockets: a thin, safe cover over epoll. No BGP lives here.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{Timespec, epoll};

/// Waits for many sockets at once, level-triggered: what is not read or written now is told again.
pub(crate) struct Poller {
    epoll: OwnedFd,
    buffer: Vec<epoll::Event>,
}

/// What a socket is ready for. A socket in error is ready for both, so that the next call on it
/// tells the error.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Readiness {
    /// The token that the socket was added with.
    pub(crate) token: u64,
    /// A read (or an accept) would not block.
    pub(crate) readable: bool,
    /// A write (or the end of a connect) would not block.
    pub(crate) writable: bool,
}

impl Poller {
    /// An empty set.
    pub(crate) fn new() -> io::Result<Poller> {
        Ok(Poller {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            buffer: Vec::with_capacity(EVENTS_PER_WAIT),
        })
    }

    /// Adds a socket; it is always watched for reading. Dropping the socket takes it out.
    pub(crate) fn add(&self, socket: impl AsFd, token: u64, write: bool) -> io::Result<()> {
        let data = epoll::EventData::new_u64(token);
        Ok(epoll::add(&self.epoll, socket, data, interest(write))?)
    }

    /// Says whether a socket is watched for writing too.
    pub(crate) fn watch_writes(
        &self,
        socket: impl AsFd,
        token: u64,
        write: bool,
    ) -> io::Result<()> {
        let data = epoll::EventData::new_u64(token);
        Ok(epoll::modify(&self.epoll, socket, data, interest(write))?)
    }

    /// Waits at most `timeout` and appends what is ready to `ready`.
    pub(crate) fn wait(&mut self, timeout: Duration, ready: &mut Vec<Readiness>) -> io::Result<()> {
        let timeout = Timespec::try_from(timeout).map_err(io::Error::other)?;
        self.buffer.clear();
        let spare = rustix::buffer::spare_capacity(&mut self.buffer);
        match epoll::wait(&self.epoll, spare, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let failed = epoll::EventFlags::ERR | epoll::EventFlags::HUP;
        ready.extend(self.buffer.iter().map(|event| {
            // The event is packed: its fields are copied, never borrowed.
            let (flags, data) = (event.flags, event.data);
            Readiness {
                token: data.u64(),
                readable: flags.intersects(epoll::EventFlags::IN | failed),
                writable: flags.intersects(epoll::EventFlags::OUT | failed),
            }
        }));
        Ok(())
    }
}

fn interest(write: bool) -> epoll::EventFlags {
    if write {
        epoll::EventFlags::IN | epoll::EventFlags::OUT
    } else {
        epoll::EventFlags::IN
    }
}

/// Events taken in one turn; the rest is told in the next.
const EVENTS_PER_WAIT: usize = 1024;
