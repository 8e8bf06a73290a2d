//! The server's half of SOCKS5 (RFC 1928), as far as Chrome speaks it: no authentication, `CONNECT`.
//!
//! Pure functions over the bytes read so far: `None` asks for more, `Some` is the message and its length.

use std::net::{Ipv4Addr, Ipv6Addr};

use paddock_platform::egress::Host;

use super::failure::EgressFailure;

const VERSION: u8 = 5;
const METHOD_NONE: u8 = 0;
const COMMAND_CONNECT: u8 = 1;
const ADDRESS_V4: u8 = 1;
const ADDRESS_NAME: u8 = 3;
const ADDRESS_V6: u8 = 4;
/// Version, command, reserved byte, type of address.
const REQUEST_HEADER_LEN: usize = 4;
const PORT_LEN: usize = 2;

/// Longest message that the parsers accept: a request for a name of 255 bytes.
pub(super) const MESSAGE_LEN_MAX: usize = REQUEST_HEADER_LEN + 1 + u8::MAX as usize + PORT_LEN;

/// Answer to a greeting that offers to go without authentication.
pub(super) const METHOD_ACCEPTED: [u8; 2] = [VERSION, METHOD_NONE];

/// Where a client wants to be connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) host: Host,
    pub(super) port: u16,
}

/// A client that does not speak the protocol, or wants what is not offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SocksError {
    #[error("version {0} of SOCKS is not spoken here")]
    Version(u8),
    #[error("the client insists on authentication")]
    Method,
    #[error("command {0} is not offered")]
    Command(u8),
    #[error("addresses of type {0} are unknown")]
    AddressType(u8),
    #[error("the host's name is not one")]
    Name,
}

impl SocksError {
    /// The answer that the protocol has for it; none for a client that speaks another protocol.
    pub(super) fn reply(self) -> Option<Vec<u8>> {
        match self {
            Self::Version(_) => None,
            Self::Method => Some(vec![VERSION, 0xff]),
            Self::Command(_) => Some(reply(0x07).to_vec()),
            Self::AddressType(_) => Some(reply(0x08).to_vec()),
            Self::Name => Some(reply(0x01).to_vec()),
        }
    }
}

/// Reads the greeting: which methods of authentication the client offers. Yields its length.
pub(super) fn greeting(bytes: &[u8]) -> Result<Option<usize>, SocksError> {
    check_version(bytes)?;
    let Some(&count) = bytes.get(1) else { return Ok(None) };
    let len = 2 + usize::from(count);
    match bytes.get(2..len) {
        None => Ok(None),
        Some(methods) if methods.contains(&METHOD_NONE) => Ok(Some(len)),
        Some(_) => Err(SocksError::Method),
    }
}

/// Reads the request: the target and the length of the message.
pub(super) fn request(bytes: &[u8]) -> Result<Option<(Target, usize)>, SocksError> {
    check_version(bytes)?;
    match bytes.get(1) {
        Some(&COMMAND_CONNECT) | None => {}
        Some(&command) => return Err(SocksError::Command(command)),
    }
    let (host, len) = match bytes.get(3) {
        None => return Ok(None),
        Some(&ADDRESS_V4) => {
            let Some(octets) = array::<4>(bytes, REQUEST_HEADER_LEN) else { return Ok(None) };
            (Host::Address(Ipv4Addr::from(octets).into()), REQUEST_HEADER_LEN + 4)
        }
        Some(&ADDRESS_V6) => {
            let Some(octets) = array::<16>(bytes, REQUEST_HEADER_LEN) else { return Ok(None) };
            (Host::Address(Ipv6Addr::from(octets).into()), REQUEST_HEADER_LEN + 16)
        }
        Some(&ADDRESS_NAME) => {
            let Some(&name_len) = bytes.get(REQUEST_HEADER_LEN) else { return Ok(None) };
            let start = REQUEST_HEADER_LEN + 1;
            let end = start + usize::from(name_len);
            let Some(name) = bytes.get(start..end) else { return Ok(None) };
            (host_of(name)?, end)
        }
        Some(&other) => return Err(SocksError::AddressType(other)),
    };
    let Some(port) = array::<PORT_LEN>(bytes, len) else { return Ok(None) };
    Ok(Some((Target { host, port: u16::from_be_bytes(port) }, len + PORT_LEN)))
}

/// The answer to a request whose target was reached.
pub(super) fn connected() -> [u8; 10] {
    reply(0x00)
}

/// The answer to a request whose target was not reached.
pub(super) fn failed(failure: &EgressFailure) -> [u8; 10] {
    reply(match failure {
        EgressFailure::Overloaded => 0x01,
        EgressFailure::Refused { .. } | EgressFailure::Denied { .. } | EgressFailure::Unlisted { .. } => 0x02,
        EgressFailure::Unreachable => 0x03,
        EgressFailure::NotFound => 0x04,
        EgressFailure::ConnectionRefused => 0x05,
        EgressFailure::TimedOut => 0x06,
    })
}

/// A reply without a bound address: clients of `CONNECT` have no use for it.
fn reply(code: u8) -> [u8; 10] {
    [VERSION, code, 0, ADDRESS_V4, 0, 0, 0, 0, 0, 0]
}

fn check_version(bytes: &[u8]) -> Result<(), SocksError> {
    match bytes.first() {
        Some(&VERSION) | None => Ok(()),
        Some(&other) => Err(SocksError::Version(other)),
    }
}

/// Names are printable ASCII: Chrome sends international ones as punycode. An address sent as a name is an address.
fn host_of(name: &[u8]) -> Result<Host, SocksError> {
    let text = std::str::from_utf8(name).map_err(|_| SocksError::Name)?;
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(SocksError::Name);
    }
    Ok(Host::parse(text))
}

fn array<const N: usize>(bytes: &[u8], start: usize) -> Option<[u8; N]> {
    bytes.get(start..start + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn named(name: &[u8], port: u16) -> Vec<u8> {
        let mut bytes = vec![5, 1, 0, 3, u8::try_from(name.len()).unwrap()];
        bytes.extend_from_slice(name);
        bytes.extend_from_slice(&port.to_be_bytes());
        bytes
    }

    fn target(host: Host, port: u16) -> Target {
        Target { host, port }
    }

    #[test]
    fn a_greeting_must_offer_to_go_without_authentication() {
        assert_eq!(greeting(&[5, 1, 0]), Ok(Some(3)));
        assert_eq!(greeting(&[5, 2, 2, 0, 9]), Ok(Some(4)));
        assert_eq!(greeting(&[5, 1, 2]), Err(SocksError::Method));
        assert_eq!(greeting(&[5, 0]), Err(SocksError::Method));
        assert_eq!(greeting(b"GET / HTTP/1.1"), Err(SocksError::Version(b'G')));
        assert_eq!(greeting(&[4, 1]), Err(SocksError::Version(4)));
    }

    #[test]
    fn a_request_names_its_target_in_three_ways() {
        let v4 = [5, 1, 0, 1, 127, 0, 0, 1, 0x1f, 0x90];
        assert_eq!(request(&v4), Ok(Some((target(Host::Address([127, 0, 0, 1].into()), 8080), 10))));
        let mut v6 = vec![5, 1, 0, 4];
        v6.extend_from_slice(&Ipv6Addr::LOCALHOST.octets());
        v6.extend_from_slice(&[0, 80]);
        assert_eq!(request(&v6), Ok(Some((target(Host::Address(Ipv6Addr::LOCALHOST.into()), 80), 22))));
        let name = named(b"Shop.Example.", 443);
        assert_eq!(request(&name), Ok(Some((target(Host::Name("shop.example".into()), 443), name.len()))));
    }

    #[test]
    fn an_address_that_is_sent_as_a_name_is_an_address() {
        for (name, address) in [
            ("127.0.0.1", "127.0.0.1"),
            ("::1", "::1"),
            ("[::1]", "::1"),
            ("[::ffff:a00:1]", "::ffff:10.0.0.1"),
        ] {
            let (target, _) = request(&named(name.as_bytes(), 80)).unwrap().unwrap();
            assert_eq!(target.host, Host::Address(address.parse().unwrap()), "{name}");
        }
    }

    #[test]
    fn what_is_not_offered_is_answered_as_the_protocol_says() {
        for (bytes, error, code) in [
            (vec![5, 2, 0, 1], SocksError::Command(2), 7),
            (vec![5, 3, 0, 1], SocksError::Command(3), 7),
            (vec![5, 1, 0, 2], SocksError::AddressType(2), 8),
            (named(b"", 80), SocksError::Name, 1),
            (named(b"a\0b", 80), SocksError::Name, 1),
            (named("käse.example".as_bytes(), 80), SocksError::Name, 1),
        ] {
            assert_eq!(request(&bytes), Err(error));
            assert_eq!(error.reply().unwrap()[1], code);
        }
        assert_eq!(SocksError::Version(71).reply(), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parsers_panic_or_read_past_the_end(bytes: Vec<u8>) {
            if let Ok(Some(len)) = greeting(&bytes) {
                prop_assert!(len <= bytes.len() && len <= MESSAGE_LEN_MAX);
            }
            if let Ok(Some((_, len))) = request(&bytes) {
                prop_assert!(len <= bytes.len() && len <= MESSAGE_LEN_MAX);
            }
        }

        #[test]
        fn a_complete_buffer_is_never_incomplete(bytes in proptest::collection::vec(any::<u8>(), MESSAGE_LEN_MAX)) {
            prop_assert_ne!(greeting(&bytes), Ok(None));
            prop_assert_ne!(request(&bytes), Ok(None));
        }

        #[test]
        fn a_message_reads_the_same_however_it_is_cut(
            name in "[a-z0-9.-]{1,255}", port: u16, rest in proptest::collection::vec(any::<u8>(), 0..32)
        ) {
            let message = named(name.as_bytes(), port);
            let whole = request(&message).unwrap();
            prop_assert!(whole.is_some());
            for cut in 0..message.len() {
                prop_assert_eq!(request(&message[..cut]), Ok(None));
            }
            let followed = [message, rest].concat();
            prop_assert_eq!(request(&followed).unwrap(), whole);
        }
    }
}
