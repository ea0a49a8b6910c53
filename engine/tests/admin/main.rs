//! The admin server, its client and the command line over a real Unix socket.

mod command_line;
mod fake;
mod round_trip;
