//! A DNS server on loopback that knows TXT records and nothing else.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{net::UdpSocket, sync::oneshot};

type Zone = Arc<Mutex<HashMap<String, Vec<String>>>>;

const TXT: u16 = 16;
/// The answer to a question: a response, of a server that recurses.
const FLAGS: u16 = 0x8180;
const NO_SUCH_NAME: u16 = 3;
/// A character string of a TXT record is this long at most.
const STRING_MAX: usize = 255;

pub(crate) struct DnsServer {
    pub(crate) address: SocketAddr,
    zone: Zone,
    _stop: oneshot::Sender<()>,
}

impl DnsServer {
    pub(crate) async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let (address, zone) = (socket.local_addr().unwrap(), Zone::default());
        let (stop, mut stopped) = oneshot::channel::<()>();
        let known = Arc::clone(&zone);
        #[expect(clippy::disallowed_methods, reason = "lives as long as the test")]
        tokio::spawn(async move {
            let mut query = [0; 4096];
            loop {
                let (size, from) = tokio::select! {
                    received = socket.recv_from(&mut query) => received.unwrap(),
                    _ = &mut stopped => return,
                };
                if let Some(reply) = reply(&query[..size], &known) {
                    socket.send_to(&reply, from).await.unwrap();
                }
            }
        });
        Self { address, zone, _stop: stop }
    }

    /// Sets the TXT records of a domain.
    pub(crate) fn set(&self, domain: &str, texts: &[&str]) {
        let texts = texts.iter().map(ToString::to_string).collect();
        self.zone.lock().unwrap().insert(domain.to_owned(), texts);
    }
}

fn reply(query: &[u8], zone: &Zone) -> Option<Vec<u8>> {
    let (name, end) = name_of(query)?;
    let kind = u16::from_be_bytes(query.get(end..end + 2)?.try_into().ok()?);
    let texts = zone.lock().unwrap().get(&name).cloned();
    let flags = if texts.is_some() { FLAGS } else { FLAGS | NO_SUCH_NAME };
    let texts = texts.filter(|_| kind == TXT).unwrap_or_default();
    let mut reply = query.get(..2)?.to_vec();
    for number in [flags, 1, texts.len() as u16, 0, 0] {
        reply.extend(number.to_be_bytes());
    }
    reply.extend_from_slice(query.get(12..end + 4)?);
    for text in texts {
        let strings: Vec<&[u8]> = text.as_bytes().chunks(STRING_MAX).collect();
        let length = strings.iter().map(|string| string.len() + 1).sum::<usize>() as u16;
        // The name of the question; class IN; to be asked again at once.
        reply.extend([0xc0, 0x0c]);
        for number in [TXT, 1, 0, 0, length] {
            reply.extend(number.to_be_bytes());
        }
        for string in strings {
            reply.push(string.len() as u8);
            reply.extend_from_slice(string);
        }
    }
    Some(reply)
}

/// The name that is asked about, and where it ends.
fn name_of(query: &[u8]) -> Option<(String, usize)> {
    let (mut labels, mut at) = (Vec::new(), 12);
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        labels.push(String::from_utf8_lossy(query.get(at..at + length)?).to_ascii_lowercase());
        at += length;
    }
}
