//! The admin server, its client and the command line over a real Unix socket.

mod command_line;
mod daemon;
mod fake;
mod round_trip;
