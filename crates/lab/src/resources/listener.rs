//! Who listens on a port of this machine: a target that was not started here is watched too.

use std::{collections::BTreeMap, fs};

use super::process;

/// State of a socket in `/proc/net/tcp`, by its number there.
const STATES: [&str; 12] = [
    "unknown",
    "established",
    "syn_sent",
    "syn_recv",
    "fin_wait1",
    "fin_wait2",
    "time_wait",
    "close",
    "close_wait",
    "last_ack",
    "listen",
    "closing",
];
const LISTEN: &str = "listen";

/// One TCP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Socket {
    port: u16,
    state: &'static str,
    inode: u64,
}

/// The process that listens on the port, if it can be seen.
pub(crate) fn listener(port: u16) -> Option<i32> {
    let inodes: Vec<u64> = sockets()
        .into_iter()
        .filter(|socket| socket.port == port && socket.state == LISTEN)
        .map(|socket| socket.inode)
        .collect();
    process::all()
        .into_iter()
        .filter(|pid| process::descriptors(*pid).1.iter().any(|inode| inodes.contains(inode)))
        // A server's workers inherit its socket; the oldest is the one that has the others as children.
        .min_by_key(|pid| process::stat(*pid).map(|stat| stat.id.started_ticks))
}

/// State of every TCP socket, by inode.
pub(crate) fn socket_states() -> BTreeMap<u64, &'static str> {
    sockets().into_iter().map(|socket| (socket.inode, socket.state)).collect()
}

fn sockets() -> Vec<Socket> {
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|text| text.lines().skip(1).filter_map(parse).collect::<Vec<_>>())
        .collect()
}

/// A line such as `0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 12345 1 …`.
fn parse(line: &str) -> Option<Socket> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (_, port) = fields.get(1)?.rsplit_once(':')?;
    let state = usize::from_str_radix(fields.get(3)?, 16).ok()?;
    Some(Socket {
        port: u16::from_str_radix(port, 16).ok()?,
        state: STATES.get(state).copied().unwrap_or("unknown"),
        inode: fields.get(9)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_that_listens_is_found() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        assert_eq!(listener(port), i32::try_from(std::process::id()).ok());
        drop(socket);
        assert_eq!(listener(port), None);
    }

    #[test]
    fn a_line_of_the_kernel_is_read() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12345 1 0";
        assert_eq!(parse(line), Some(Socket { port: 8080, state: "listen", inode: 12345 }));
        assert_eq!(parse("sl local_address"), None);
    }
}
