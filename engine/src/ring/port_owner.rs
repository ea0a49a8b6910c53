//! Who holds a TCP port, as far as `/proc` tells.
//!
//! Only for error messages: whatever cannot be read is left out.

use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A process that listens.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Owner {
    name: String,
    pid: u32,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.name.escape_debug(), self.pid)
    }
}

/// The process that listens where `wanted` cannot be bound. None: it is not visible from here.
pub(super) fn find(wanted: SocketAddr) -> Option<Owner> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let inode = tables.iter().find_map(|table| {
        let text = fs::read_to_string(table).ok()?;
        text.lines().find_map(|line| {
            let (address, inode) = parse_listener(line)?;
            collides(address, wanted).then_some(inode)
        })
    })?;
    owner_of(&format!("socket:[{inode}]"))
}

/// Whether both cannot be bound at once: one port, and one address or any.
fn collides(taken: SocketAddr, wanted: SocketAddr) -> bool {
    taken.port() == wanted.port()
        && (taken.ip() == wanted.ip()
            || taken.ip().is_unspecified()
            || wanted.ip().is_unspecified())
}

/// Address and inode, if a line of `/proc/net/tcp` or `tcp6` is a listening socket.
fn parse_listener(line: &str) -> Option<(SocketAddr, u64)> {
    const LISTEN: &str = "0A";
    let mut fields = line.split_ascii_whitespace();
    let local = fields.nth(1)?;
    if fields.nth(1)? != LISTEN {
        return None;
    }
    let inode = fields.nth(5)?.parse().ok()?;
    let (address, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    Some((SocketAddr::new(parse_address(address)?, port), inode))
}

/// The kernel prints 32-bit words in the machine's byte order.
fn parse_address(hex: &str) -> Option<IpAddr> {
    let word = |index: usize| {
        let digits = hex.get(index * 8..index * 8 + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let mut octets = [0; 16];
            for (index, chunk) in octets.chunks_mut(4).enumerate() {
                chunk.copy_from_slice(&word(index)?);
            }
            Some(Ipv6Addr::from(octets).into())
        }
        _ => None,
    }
}

fn owner_of(link: &str) -> Option<Owner> {
    let processes = fs::read_dir("/proc").ok()?;
    for process in processes.flatten() {
        let Some(pid) = process
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        let holds = descriptors.flatten().any(|descriptor| {
            fs::read_link(descriptor.path()).is_ok_and(|to| to.as_os_str() == link)
        });
        if holds {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            let name = name.trim().to_owned();
            return Some(Owner { name, pid });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listening_sockets_count() {
        let line = "   0: 0100007F:00B3 00000000:0000 0A 00000000:00000000 00:00000000 \
                    00000000     0        0 4711 1 0000000000000000 100 0 0 10 0";
        let address = "127.0.0.1:179".parse().unwrap();
        assert_eq!(parse_listener(line), Some((address, 4711)));
        assert_eq!(parse_listener(&line.replace(" 0A ", " 01 ")), None);
        assert_eq!(parse_listener("  sl  local_address rem_address   st"), None);
    }

    #[test]
    fn any_address_collides_with_each() {
        let taken = "0.0.0.0:179".parse().unwrap();
        assert!(collides(taken, "10.0.0.1:179".parse().unwrap()));
        assert!(!collides(taken, "10.0.0.1:1790".parse().unwrap()));
        let one = "10.0.0.2:179".parse().unwrap();
        assert!(!collides(one, "10.0.0.1:179".parse().unwrap()));
    }
}
