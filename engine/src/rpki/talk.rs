//! What is said over one connection with a cache: which version is spoken, the one open query and its
//! answer (RFC 8210 §5, §7).
//!
//! Not here: connections, their timers and what outlives them, which is [`super::cache`]'s. Invariants:
//! at most one query is open; what is wrong ends the talk with the reason.

use std::sync::Arc;
use std::time::Duration;

use super::error::{ErrorCode, Fault};
use super::pdu::{self, Header, Intervals, Version};
use super::table::{Records, VrpTable};
use crate::time::Time;

/// How long a cache may be silent that owes an answer.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// How long a whole answer may take.
const ANSWER_TIME: Duration = Duration::from_secs(600);
/// Records of one answer. The whole RPKI of 2026 has fewer than a million.
const RECORDS_MAX: usize = 4_000_000;

/// What the last End of Data completed.
pub(super) struct Data {
    pub(super) table: Arc<VrpTable>,
    pub(super) version: Version,
    pub(super) session: u16,
    pub(super) serial: u32,
    pub(super) until: Time,
    pub(super) intervals: Intervals,
}

/// What is asked of whoever has the sockets.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Dial,
    Send(Vec<u8>),
    Close,
}

/// What is said over one connection.
pub(super) struct Talk {
    pub(super) version: Version,
    /// The cache has shown which version it speaks.
    pub(super) agreed: bool,
    /// A PDU that is not all there.
    pub(super) partial: Vec<u8>,
    pub(super) exchange: Exchange,
    /// The serial of a notification that came while a query was open.
    pub(super) notified: Option<u32>,
    /// A query was answered in full, and no later one in vain.
    pub(super) in_sync: bool,
}

pub(super) enum Exchange {
    /// The next query is due then.
    Idle { until: Time },
    /// A query is open.
    Asked { reset: bool, patience: Patience },
    /// The answer has begun.
    Answered {
        reset: bool,
        session: u16,
        records: Records,
        patience: Patience,
    },
}

impl Exchange {
    /// Whether what is answered is to be added to the data.
    pub(super) fn adds(&self) -> bool {
        matches!(
            self,
            Exchange::Asked { reset: false, .. } | Exchange::Answered { reset: false, .. }
        )
    }
}

#[derive(Clone, Copy)]
pub(super) struct Patience {
    with_silence: Time,
    at_all: Time,
}

impl Patience {
    pub(super) fn new(now: Time) -> Patience {
        Patience {
            with_silence: now + SILENCE_MAX,
            at_all: now + ANSWER_TIME,
        }
    }

    pub(super) fn until(self) -> Time {
        self.with_silence.min(self.at_all)
    }
}

/// Why a connection ends.
pub(super) enum End {
    /// By what is wrong, which the cache is told.
    Fault(Fault),
    /// The cache is another one than it was: what it said before must not be used.
    Another(Fault),
    /// The cache reported an error.
    Reported(String),
    /// The cache speaks the older version only.
    Downgrade,
}

impl From<Fault> for End {
    fn from(fault: Fault) -> End {
        End::Fault(fault)
    }
}

impl Talk {
    /// Asks for what is new since the data, or for everything.
    pub(super) fn ask(&mut self, now: Time, data: Option<&Data>, wishes: &mut Vec<Wish>) {
        let mut query = Vec::new();
        // A session id means something within one version only (RFC 8210 §5.1).
        let data = data.filter(|data| data.version == self.version);
        match data {
            Some(data) => pdu::serial_query(self.version, data.session, data.serial, &mut query),
            None => pdu::reset_query(self.version, &mut query),
        }
        wishes.push(Wish::Send(query));
        self.exchange = Exchange::Asked {
            reset: data.is_none(),
            patience: Patience::new(now),
        };
    }

    pub(super) fn hear(&mut self, now: Time) {
        if let Exchange::Asked { patience, .. } | Exchange::Answered { patience, .. } =
            &mut self.exchange
        {
            patience.with_silence = now + SILENCE_MAX;
        }
    }

    // RFC-DONE 8210 §7: the version is what the first answer carries, and stays; notifications before it
    // are passed over.
    /// Whether the PDU is to be read.
    pub(super) fn agree(&mut self, header: Header) -> Result<bool, End> {
        let ours = self.version.bits();
        if self.agreed {
            return match header.version == ours {
                true => Ok(true),
                false => Err(End::Fault(Fault::new(
                    ErrorCode::UnexpectedVersion,
                    format!(
                        "version {} on a connection of version {ours}",
                        header.version
                    ),
                ))),
            };
        }
        if header.kind == SERIAL_NOTIFY {
            return Ok(false);
        }
        match header.version {
            version if version == ours => {}
            // Whatever it is: a refusal of our version, or an answer in its own.
            0 => return Err(End::Downgrade),
            version => {
                return Err(End::Fault(Fault::new(
                    ErrorCode::UnsupportedVersion,
                    format!("version {version}; versions 0 and 1 are spoken here"),
                )));
            }
        }
        self.agreed = true;
        Ok(true)
    }

    pub(super) fn handle_notify(
        &mut self,
        now: Time,
        session: u16,
        serial: u32,
        data: Option<&Data>,
        wishes: &mut Vec<Wish>,
    ) -> Result<(), End> {
        let data = data.filter(|data| data.version == self.version);
        let Exchange::Idle { .. } = self.exchange else {
            self.notified = Some(serial);
            return Ok(());
        };
        match data {
            Some(data) if data.session != session => {
                return Err(End::Another(Fault::corrupt(format!(
                    "it notifies of session {session}, the data is of session {}",
                    data.session
                ))));
            }
            Some(data) if data.serial == serial && self.in_sync => {}
            _ => self.ask(now, data, wishes),
        }
        Ok(())
    }

    pub(super) fn begin(&mut self, session: u16, data: Option<&Data>) -> Result<(), End> {
        let Exchange::Asked { reset, patience } = self.exchange else {
            return Err(out_of_place("Cache Response").into());
        };
        // What was asked for is to be added to data that may have expired since.
        let known = data.map(|data| data.session);
        if !reset && known != Some(session) {
            return Err(End::Another(Fault::corrupt(format!(
                "it answers as session {session}, asked for another one"
            ))));
        }
        self.exchange = Exchange::Answered {
            reset,
            session,
            records: Records::default(),
            patience,
        };
        Ok(())
    }

    pub(super) fn records(&mut self) -> Result<&mut Records, End> {
        match &mut self.exchange {
            Exchange::Answered { records, .. } if records.len() < RECORDS_MAX => Ok(records),
            Exchange::Answered { .. } => Err(End::Fault(Fault::new(
                ErrorCode::InternalError,
                format!("more than {RECORDS_MAX} records in one answer"),
            ))),
            _ => Err(out_of_place("record").into()),
        }
    }

    pub(super) fn handle_reset(&mut self, now: Time, wishes: &mut Vec<Wish>) -> Result<(), End> {
        match self.exchange {
            Exchange::Asked { reset: false, .. } => {
                self.ask(now, None, wishes);
                Ok(())
            }
            _ => Err(out_of_place("Cache Reset").into()),
        }
    }
}

const SERIAL_NOTIFY: u8 = 0;

pub(super) fn out_of_place(what: &str) -> Fault {
    Fault::corrupt(format!("a {what} where none was asked for"))
}
