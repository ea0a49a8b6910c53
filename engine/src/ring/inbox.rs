//! The way into a shard's thread from any other thread.
//!
//! A bounded crossbeam channel, a flag that says whether the shard is parked, and two ways to wake
//! it: a tokio `Notify` for a shard with a ring, `unpark` for one that has none yet. No descriptor
//! and no system call unless the shard sleeps. Invariant: whatever is sent or asked before the
//! shard parks is seen before it sleeps (store the flag, then look; send, then swap the flag).

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;

use crossbeam_channel::{Receiver, Sender, TrySendError};
use tokio::sync::Notify;

use crate::config::InstanceId;

/// Messages that may wait; a sender beyond that blocks or is told so.
const CAPACITY: usize = 4096;

/// What a shard's thread is sent.
#[derive(Debug)]
pub enum Message<C> {
    /// For the core.
    Command(C),
    /// A connection that a peer opened, not yet touched by any operation.
    Accepted {
        /// The instance that listens where it arrived.
        instance: InstanceId,
        /// The socket.
        socket: OwnedFd,
    },
    /// Close everything, then end.
    Shutdown,
}

/// The inbox is full, or its shard is gone.
#[derive(Debug, thiserror::Error)]
#[error("the shard does not take messages at the moment")]
pub struct InboxFull;

#[derive(Default)]
struct Wake {
    /// The shard sleeps or is about to; who clears it wakes it.
    parked: AtomicBool,
    /// Something is to be done though no message says so.
    asked: AtomicBool,
    notify: Notify,
    thread: OnceLock<Thread>,
}

/// Makes an inbox and its sending side.
pub fn inbox<C>() -> (InboxSender<C>, Inbox<C>) {
    let (sender, receiver) = crossbeam_channel::bounded(CAPACITY);
    let wake = Arc::new(Wake::default());
    let sender = InboxSender {
        sender,
        wake: Arc::clone(&wake),
    };
    (sender, Inbox { receiver, wake })
}

/// Sends to one shard. Cheap to clone.
pub struct InboxSender<C> {
    sender: Sender<Message<C>>,
    wake: Arc<Wake>,
}

impl<C> Clone for InboxSender<C> {
    fn clone(&self) -> Self {
        InboxSender {
            sender: self.sender.clone(),
            wake: Arc::clone(&self.wake),
        }
    }
}

impl<C> InboxSender<C> {
    /// Sends, and waits while the inbox is full. Only for threads that may block.
    ///
    /// # Errors
    /// The shard is gone.
    pub fn send(&self, message: Message<C>) -> Result<(), InboxFull> {
        // A full inbox of a sleeping shard cannot be: whoever filled it woke the shard.
        self.sender.send(message).map_err(|_| InboxFull)?;
        self.wake.wake_if_parked();
        Ok(())
    }

    /// Sends if there is room.
    ///
    /// # Errors
    /// No room, or the shard is gone; the message is dropped (and with it a socket is closed).
    pub fn try_send(&self, message: Message<C>) -> Result<(), InboxFull> {
        match self.sender.try_send(message) {
            Ok(()) => {
                self.wake.wake_if_parked();
                Ok(())
            }
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(InboxFull),
        }
    }

    /// Has the shard do a turn, without a message. Never blocks; calls before the turn coalesce.
    pub fn wake(&self) {
        if !self.wake.asked.swap(true, SeqCst) {
            self.wake.wake_if_parked();
        }
    }
}

impl Wake {
    fn wake_if_parked(&self) {
        if self.parked.swap(false, SeqCst) {
            self.notify.notify_one();
            if let Some(thread) = self.thread.get() {
                thread.unpark();
            }
        }
    }
}

/// The receiving side, owned by the shard's thread.
pub struct Inbox<C> {
    receiver: Receiver<Message<C>>,
    wake: Arc<Wake>,
}

impl<C> Inbox<C> {
    /// Names the thread that is to be unparked: the current one.
    pub(super) fn attach(&self) {
        // A second attach would be a second consumer; the first one stays.
        let _ = self.wake.thread.set(std::thread::current());
    }

    /// The next message, if one waits.
    pub(super) fn try_recv(&self) -> Option<Message<C>> {
        self.receiver.try_recv().ok()
    }

    /// Forgets earlier calls of `wake`: a turn begins.
    pub(super) fn begin_turn(&self) {
        self.wake.parked.store(false, SeqCst);
        self.wake.asked.store(false, SeqCst);
    }

    /// Says that the shard is about to sleep. False: it must not, there is something to do.
    pub(super) fn may_park(&self) -> bool {
        self.wake.parked.store(true, SeqCst);
        if self.receiver.is_empty() && !self.wake.asked.load(SeqCst) {
            return true;
        }
        self.wake.parked.store(false, SeqCst);
        false
    }

    /// What a parked shard with a runtime waits for, and what its own tasks use to ask for a turn.
    pub(super) fn notify(&self) -> &Notify {
        &self.wake.notify
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_or_asked_forbids_parking() {
        let (sender, inbox) = inbox::<u32>();
        inbox.begin_turn();
        assert!(inbox.may_park());
        sender.wake();
        assert!(!inbox.may_park());
        inbox.begin_turn();
        sender.send(Message::Command(7)).unwrap();
        assert!(!inbox.may_park());
        assert!(matches!(inbox.try_recv(), Some(Message::Command(7))));
        assert!(inbox.may_park());
    }

    #[test]
    fn a_full_inbox_says_so_and_a_gone_shard_too() {
        let (sender, inbox) = inbox::<usize>();
        for number in 0..CAPACITY {
            sender.try_send(Message::Command(number)).unwrap();
        }
        assert!(sender.try_send(Message::Command(0)).is_err());
        drop(inbox);
        assert!(sender.send(Message::Command(0)).is_err());
    }

    #[test]
    fn no_wake_up_is_lost_between_threads() {
        let (sender, inbox) = inbox::<u32>();
        const COUNT: u32 = 20_000;
        let producer = std::thread::spawn(move || {
            for number in 0..COUNT {
                sender.send(Message::Command(number)).unwrap();
            }
        });
        inbox.attach();
        let mut next = 0;
        while next < COUNT {
            inbox.begin_turn();
            while let Some(Message::Command(number)) = inbox.try_recv() {
                assert_eq!(number, next);
                next += 1;
            }
            if next < COUNT && inbox.may_park() {
                std::thread::park();
            }
        }
        producer.join().unwrap();
    }
}
