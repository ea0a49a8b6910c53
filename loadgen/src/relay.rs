//! The null relay: a "target" with no routing table.
//!
//! It forwards the UPDATEs of each router to all others, undecoded. That is the limit of loopback
//! TCP and of the routers themselves, to measure speakers against. All that was ever said stands in
//! one log of octets; a router has a place in it and is written everything between there and the
//! end but its own messages, in large pieces. So a message costs nothing per router but the copies
//! of the kernel, and who comes late hears it all. The log goes when the last router leaves.
//!
//! Invariants: the log ends with a whole message; a router's own ranges are in ascending order and
//! behind its place.

use std::collections::{HashMap, VecDeque};
use std::io::{self, IoSlice, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::time::{Duration, Instant};

use codec::FamilySet;

use crate::clock;
use crate::network::listen;
use crate::output::remark;
use crate::poll::{Poller, Readiness};
use crate::speaker::{Event, Over, Speaker, SpeakerConfig};

/// All sessions and the log.
pub(crate) struct Relay {
    poller: Poller,
    listener: TcpListener,
    asn: u32,
    router_id: Ipv4Addr,
    sessions: HashMap<u64, Session>,
    next_token: u64,
    log: Log,
    buffer: Vec<u8>,
}

struct Session {
    socket: TcpStream,
    speaker: Speaker,
    partial: Vec<u8>,
    /// How much of the log it has been written.
    place: u64,
    own: VecDeque<Range<u64>>,
    /// A message of the speaker's own has been written in part.
    speaking: bool,
    /// The socket is full; it is watched for writing.
    full: bool,
}

impl Relay {
    /// Listens.
    pub(crate) fn new(address: SocketAddr, asn: u32) -> io::Result<Relay> {
        let poller = Poller::new()?;
        let listener = listen(address)?;
        poller.add(&listener, LISTENER, false)?;
        Ok(Relay {
            poller,
            listener,
            asn,
            router_id: match address {
                SocketAddr::V4(address) if !address.ip().is_unspecified() => *address.ip(),
                _ => Ipv4Addr::LOCALHOST,
            },
            sessions: HashMap::new(),
            next_token: LISTENER + 1,
            log: Log::default(),
            buffer: vec![0; READ_OCTETS],
        })
    }

    /// Relays until the process is killed.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        let mut ready = Vec::new();
        let mut timers_at = clock::now();
        loop {
            let now = clock::now();
            if now >= timers_at {
                self.handle_time(now);
                timers_at = now + TICK;
            }
            ready.clear();
            self.poller
                .wait(timers_at.saturating_duration_since(now), &mut ready)?;
            let end = self.log.end;
            for readiness in &ready {
                self.handle_ready(*readiness);
            }
            // All that is ready is read first, so that the others are written large pieces.
            if self.log.end > end {
                self.write_to_all();
            }
        }
    }

    fn handle_ready(&mut self, ready: Readiness) {
        if ready.token == LISTENER {
            return self.accept();
        }
        let Some(session) = self.sessions.get_mut(&ready.token) else {
            return;
        };
        let mut outcome = Ok(());
        if ready.readable {
            outcome = session.read(&mut self.buffer, &mut self.log);
        }
        if outcome.is_ok() && (ready.writable || session.speaker.next_write().is_some()) {
            outcome = session.write(&self.log, &self.poller, ready.token);
        }
        if let Err(over) = outcome {
            self.close(ready.token, &over);
        }
    }

    fn accept(&mut self) {
        while let Ok((socket, _)) = self.listener.accept() {
            if let Err(error) = self.add(socket) {
                remark!("a connection could not be taken: {error}");
            }
        }
    }

    fn add(&mut self, socket: TcpStream) -> io::Result<()> {
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        let token = self.next_token;
        self.next_token += 1;
        self.poller.add(&socket, token, true)?;
        let config = SpeakerConfig {
            asn: self.asn,
            peer_asn: None,
            router_id: self.router_id,
            families: FamilySet::ALL,
            hold_time: HOLD_TIME,
        };
        self.sessions.insert(
            token,
            Session {
                socket,
                speaker: Speaker::new(config, clock::now()),
                partial: Vec::new(),
                place: 0,
                own: VecDeque::new(),
                speaking: false,
                full: true,
            },
        );
        Ok(())
    }

    fn write_to_all(&mut self) {
        let mut broken = Vec::new();
        for (token, session) in &mut self.sessions {
            if !session.full
                && let Err(over) = session.write(&self.log, &self.poller, *token)
            {
                broken.push((*token, over));
            }
        }
        for (token, over) in broken {
            self.close(token, &over);
        }
    }

    fn handle_time(&mut self, now: Instant) {
        let mut broken = Vec::new();
        for (token, session) in &mut self.sessions {
            let outcome = session.speaker.handle_time(now);
            if let Err(over) = outcome.and_then(|()| session.write(&self.log, &self.poller, *token))
            {
                broken.push((*token, over));
            }
        }
        for (token, over) in broken {
            self.close(token, &over);
        }
    }

    fn close(&mut self, token: u64, over: &Over) {
        if self.sessions.remove(&token).is_some() && over.is_refusal {
            remark!("a router gets no session: {}", over.words);
        }
        if self.sessions.is_empty() {
            self.log = Log::default();
        }
    }
}

impl Session {
    fn read(&mut self, buffer: &mut [u8], log: &mut Log) -> Result<(), Over> {
        let kept = self.partial.len();
        let (begin, rest) = buffer.split_at_mut(kept);
        let octets = match self.socket.read(rest) {
            Ok(0) => return Err(Over::new("it hung up")),
            Ok(octets) => octets,
            Err(error) if is_passing(&error) => return Ok(()),
            Err(error) => return Err(Over::new(error.to_string())),
        };
        begin.copy_from_slice(&self.partial);
        let octets = &buffer[..kept + octets];
        let own = &mut self.own;
        let mut report = |event: Event<'_>| {
            if let Event::Update(_, body, _) = event {
                let range = log.append_update(body);
                match own.back_mut() {
                    Some(last) if last.end == range.start => last.end = range.end,
                    _ => own.push_back(range),
                }
            }
        };
        let taken = self
            .speaker
            .receive_messages(octets, clock::now(), &mut report)?;
        self.partial.clear();
        self.partial.extend_from_slice(&octets[taken..]);
        Ok(())
    }

    /// Writes what it has not been written, until its socket is full.
    fn write(&mut self, log: &Log, poller: &Poller, token: u64) -> Result<(), Over> {
        let full = self.write_until_full(log)?;
        if full != self.full {
            self.full = full;
            poller
                .watch_writes(&self.socket, token, full)
                .map_err(|error| Over::new(error.to_string()))?;
        }
        Ok(())
    }

    fn write_until_full(&mut self, log: &Log) -> Result<bool, Over> {
        loop {
            // The speaker's own messages go where a message has just ended.
            let may_speak = self.speaking || self.place == log.end || self.place == 0;
            let outcome = if may_speak && let Some(octets) = self.speaker.next_write() {
                let length = octets.len();
                self.socket.write(octets).map(|written| {
                    self.speaking = written < length;
                    self.speaker.written(written);
                })
            } else {
                if self.speaker.agreed().is_none() {
                    return Ok(false);
                }
                self.skip_own();
                if self.place == log.end {
                    return Ok(false);
                }
                self.write_log(log)
            };
            match outcome {
                Ok(()) => {}
                Err(error) if is_passing(&error) => return Ok(true),
                Err(error) => return Err(Over::new(error.to_string())),
            }
        }
    }

    fn skip_own(&mut self) {
        while let Some(range) = self.own.pop_front_if(|range| range.start == self.place) {
            self.place = range.end;
        }
    }

    fn write_log(&mut self, log: &Log) -> io::Result<()> {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut count = 0;
        let mut octets = 0;
        let mut at = self.place;
        let mut own = self.own.iter();
        let mut next_own = own.next();
        while count < SLICES && octets < WRITE_OCTETS && at < log.end {
            if let Some(range) = next_own
                && range.start == at
            {
                at = range.end;
                next_own = own.next();
                continue;
            }
            let slice = log.slice(at, next_own.map_or(log.end, |range| range.start));
            at += slice.len() as u64;
            octets += slice.len();
            slices[count] = IoSlice::new(slice);
            count += 1;
        }
        let mut written = self.socket.write_vectored(&slices[..count])? as u64;
        self.speaker.said(clock::now());
        // The place moves over what was written, and over the own messages between.
        loop {
            self.skip_own();
            let until = self.own.front().map_or(log.end, |range| range.start);
            let step = written.min(until - self.place);
            self.place += step;
            written -= step;
            if written == 0 {
                return Ok(());
            }
        }
    }
}

/// Octets in segments of one size, never moved.
#[derive(Default)]
struct Log {
    segments: Vec<Vec<u8>>,
    end: u64,
}

impl Log {
    /// Appends an UPDATE with this body; the range that it takes.
    fn append_update(&mut self, body: &[u8]) -> Range<u64> {
        let start = self.end;
        let length = (codec::HEADER_LEN + body.len()) as u16;
        let mut header = [0xff; codec::HEADER_LEN];
        header[16..18].copy_from_slice(&length.to_be_bytes());
        header[18] = 2;
        self.append(&header);
        self.append(body);
        start..self.end
    }

    fn append(&mut self, mut octets: &[u8]) {
        while !octets.is_empty() {
            let last = match self.segments.last_mut() {
                Some(last) if last.len() < SEGMENT_OCTETS => last,
                _ => {
                    self.segments.push(Vec::with_capacity(SEGMENT_OCTETS));
                    continue;
                }
            };
            let fits = octets.len().min(SEGMENT_OCTETS - last.len());
            last.extend_from_slice(&octets[..fits]);
            octets = &octets[fits..];
            self.end += fits as u64;
        }
    }

    /// The octets from `from` up to `to`, or to the end of a segment before.
    fn slice(&self, from: u64, to: u64) -> &[u8] {
        let segment = (from / SEGMENT_OCTETS as u64) as usize;
        let start = (from % SEGMENT_OCTETS as u64) as usize;
        let octets = &self.segments[segment][start..];
        &octets[..octets.len().min((to - from) as usize)]
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

/// The listener's token; sessions have those behind it.
const LISTENER: u64 = 0;
/// Octets read at once.
const READ_OCTETS: usize = 256 * 1024;
/// Octets that one write offers at most, and the pieces that they may be in.
const WRITE_OCTETS: usize = 1024 * 1024;
const SLICES: usize = 64;
/// Octets in a segment of the log.
const SEGMENT_OCTETS: usize = 1024 * 1024;
/// Offered in OPEN, in seconds.
const HOLD_TIME: u16 = 180;
/// How often timers are looked at.
const TICK: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_gives_back_what_was_put_in_over_the_ends_of_segments() {
        let mut log = Log::default();
        let mut expected = Vec::new();
        let mut ranges = Vec::new();
        for number in 0..3000u32 {
            let body = vec![number as u8; 4 + (number as usize * 37) % 4000];
            ranges.push(log.append_update(&body));
            expected.extend_from_slice(&[0xff; 16]);
            expected.extend_from_slice(&((19 + body.len()) as u16).to_be_bytes());
            expected.push(2);
            expected.extend_from_slice(&body);
        }
        assert!(log.segments.len() > 4);
        assert_eq!(log.end, expected.len() as u64);
        for range in [
            0..log.end,
            ranges[7].clone(),
            ranges[2999].clone(),
            5..log.end - 5,
        ] {
            let mut read = Vec::new();
            let mut at = range.start;
            while at < range.end {
                let slice = log.slice(at, range.end);
                read.extend_from_slice(slice);
                at += slice.len() as u64;
            }
            let bounds = range.start as usize..range.end as usize;
            assert!(read == expected[bounds]);
        }
    }
}
