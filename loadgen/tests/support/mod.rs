//! What the tests of the program share: running it, reading what it prints, a relay that ends with
//! its test.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

/// The program with these arguments; its standard output is kept.
pub(crate) fn loadgen(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringbgp-loadgen"));
    command
        .args(arguments.split_whitespace())
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command
}

/// Runs the program to its end.
pub(crate) fn run(arguments: &str) -> Output {
    loadgen(arguments)
        .stderr(Stdio::piped())
        .output()
        .expect("loadgen runs")
}

/// The last line on standard output.
pub(crate) fn json(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|error| panic!("{error} in {text:?}"))
}

/// A program that ends with its test.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port on which nobody listens.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// A null relay.
pub(crate) struct Relay {
    running: Running,
    pub(crate) address: String,
}

impl Relay {
    /// Starts one and waits until it listens.
    pub(crate) fn start() -> Relay {
        let address = format!("127.0.0.1:{}", free_port());
        let child = loadgen(&format!("relay --listen {address}")).spawn();
        let running = Running(child.expect("the relay starts"));
        for _ in 0..1000 {
            if TcpStream::connect(&address).is_ok() {
                return Relay { running, address };
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("the relay does not listen on {address}");
    }

    pub(crate) fn pid(&self) -> u32 {
        self.running.0.id()
    }

    /// Waits until the relay holds so many octets of what its routers said.
    pub(crate) fn wait_until_it_is_given(&self, octets: u64) {
        let begin = self.rss();
        for _ in 0..2000 {
            if self.rss() >= begin + octets {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("the relay is given nothing");
    }

    fn rss(&self) -> u64 {
        let path = format!("/proc/{}/statm", self.pid());
        let statm = std::fs::read_to_string(path).expect("it runs");
        let pages = statm.split_whitespace().nth(1).expect("resident pages");
        pages.parse::<u64>().expect("a number") * 4096
    }
}
