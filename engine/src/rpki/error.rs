//! Errors of the protocol, as they go over the wire in Error Reports (RFC 8210 §12).

use std::fmt;

/// The code of an Error Report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorCode {
    CorruptData,
    InternalError,
    NoDataAvailable,
    InvalidRequest,
    UnsupportedVersion,
    UnsupportedType,
    UnknownWithdrawal,
    DuplicateAnnouncement,
    UnexpectedVersion,
    /// One that this speaker does not know.
    Other(u16),
}

impl ErrorCode {
    pub(super) fn from_bits(bits: u16) -> ErrorCode {
        match bits {
            0 => ErrorCode::CorruptData,
            1 => ErrorCode::InternalError,
            2 => ErrorCode::NoDataAvailable,
            3 => ErrorCode::InvalidRequest,
            4 => ErrorCode::UnsupportedVersion,
            5 => ErrorCode::UnsupportedType,
            6 => ErrorCode::UnknownWithdrawal,
            7 => ErrorCode::DuplicateAnnouncement,
            8 => ErrorCode::UnexpectedVersion,
            other => ErrorCode::Other(other),
        }
    }

    pub(super) fn bits(self) -> u16 {
        match self {
            ErrorCode::CorruptData => 0,
            ErrorCode::InternalError => 1,
            ErrorCode::NoDataAvailable => 2,
            ErrorCode::InvalidRequest => 3,
            ErrorCode::UnsupportedVersion => 4,
            ErrorCode::UnsupportedType => 5,
            ErrorCode::UnknownWithdrawal => 6,
            ErrorCode::DuplicateAnnouncement => 7,
            ErrorCode::UnexpectedVersion => 8,
            ErrorCode::Other(bits) => bits,
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ErrorCode::CorruptData => "Corrupt Data",
            ErrorCode::InternalError => "Internal Error",
            ErrorCode::NoDataAvailable => "No Data Available",
            ErrorCode::InvalidRequest => "Invalid Request",
            ErrorCode::UnsupportedVersion => "Unsupported Protocol Version",
            ErrorCode::UnsupportedType => "Unsupported PDU Type",
            ErrorCode::UnknownWithdrawal => "Withdrawal of Unknown Record",
            ErrorCode::DuplicateAnnouncement => "Duplicate Announcement Received",
            ErrorCode::UnexpectedVersion => "Unexpected Protocol Version",
            ErrorCode::Other(code) => return write!(f, "error {code}"),
        })
    }
}

/// What a cache said wrongly: the code that it is told, and why, for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{words} ({code})")]
pub(super) struct Fault {
    pub(super) code: ErrorCode,
    pub(super) words: String,
}

impl Fault {
    pub(super) fn new(code: ErrorCode, words: impl Into<String>) -> Fault {
        Fault {
            code,
            words: words.into(),
        }
    }

    pub(super) fn corrupt(words: impl Into<String>) -> Fault {
        Fault::new(ErrorCode::CorruptData, words)
    }
}
