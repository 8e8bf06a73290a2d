//! An HTTP/1.1 connection (RFC 9112) that costs the generator as little as possible.
//!
//! Whatever the generator spends on a request is taken from a target on the same machine. A general client allocates a
//! dozen times per request and wakes a second task; this one writes prepared bytes, parses the head of the answer in
//! place, and skips a body that no check wants to see. It is used by one operation at a time.

use bytes::{Buf as _, Bytes, BytesMut};
use http::Method;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{
    Failure,
    chunked::{Chunked, Piece},
    connect::io_failure,
};

/// Largest head of an answer.
const HEAD_BYTES_MAX: usize = 64 << 10;
const HEADERS_MAX: usize = 128;
const READ_BYTES: usize = 16 << 10;
/// Interim answers (1xx) before the final one.
const INTERIM_MAX: usize = 16;

/// A kept connection and what was read ahead from it.
#[derive(Debug)]
pub(crate) struct Http1 {
    stream: TcpStream,
    buffer: BytesMut,
    authority: String,
}

/// How an answer's body ends (RFC 9112, section 6.3).
#[derive(Debug)]
pub(super) enum Framing {
    /// After so many further bytes.
    Length(u64),
    /// With the last chunk.
    Chunked(Chunked),
    /// With the connection.
    Close,
}

/// The head of an answer.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) framing: Framing,
    /// Whether another request may follow on the connection.
    pub(super) keep: bool,
}

impl Http1 {
    pub(super) fn new(stream: TcpStream, authority: &str) -> Self {
        Self { stream, buffer: BytesMut::with_capacity(READ_BYTES), authority: authority.to_owned() }
    }

    /// Whether the connection can carry a request: the server has neither closed it nor said something unasked.
    pub(super) fn is_usable(&self) -> bool {
        // Costs no system call: the event loop knows whether there is anything to read.
        let mut byte = [0];
        self.buffer.is_empty()
            && matches!(self.stream.try_read(&mut byte), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    }

    /// Whether not a byte of an answer has come since the last one was read.
    pub(super) fn has_received_nothing(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Sends a whole request and reads the head of its answer.
    pub(super) async fn request(&mut self, request: &[u8], method: &Method) -> Result<Head, Failure> {
        self.stream.write_all(request).await.map_err(|error| self.io("io", &error))?;
        for _ in 0..INTERIM_MAX {
            if let Some(head) = self.head(method).await? {
                return Ok(head);
            }
        }
        Err(Failure::new("protocol", "nothing but interim answers"))
    }

    /// The head that comes next; `None` if it was that of an interim answer.
    async fn head(&mut self, method: &Method) -> Result<Option<Head>, Failure> {
        loop {
            if !self.buffer.is_empty()
                && let Some((head, length)) = parse_head(&self.buffer, method)?
            {
                self.buffer.advance(length);
                return Ok((head.status >= 200).then_some(head));
            }
            if self.buffer.len() >= HEAD_BYTES_MAX {
                return Err(Failure::new("protocol", "the head of the answer is larger than 64 KiB"));
            }
            if !self.fill().await? {
                let when = if self.buffer.is_empty() {
                    "without an answer"
                } else {
                    "within the head of its answer"
                };
                return Err(Failure::new(
                    "closed",
                    format!("{} closed the connection {when}", self.authority),
                ));
            }
        }
    }

    /// Reads what there is; `false` at the end of the stream.
    async fn fill(&mut self) -> Result<bool, Failure> {
        self.buffer.reserve(READ_BYTES);
        let count = self.stream.read_buf(&mut self.buffer).await.map_err(|error| self.io("io", &error))?;
        Ok(count > 0)
    }

    /// The next piece of the body; `None` at its end.
    pub(super) async fn body(&mut self, framing: &mut Framing) -> Result<Option<Bytes>, Failure> {
        loop {
            match framing {
                Framing::Length(0) => return Ok(None),
                Framing::Length(left) if !self.buffer.is_empty() => {
                    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(self.buffer.len());
                    *left -= length as u64;
                    return Ok(Some(self.buffer.split_to(length).freeze()));
                }
                Framing::Chunked(chunked) => match chunked.next(&mut self.buffer)? {
                    Piece::Data(data) => return Ok(Some(data)),
                    Piece::End => return Ok(None),
                    Piece::Missing => {}
                },
                Framing::Close if !self.buffer.is_empty() => return Ok(Some(self.buffer.split().freeze())),
                Framing::Length(_) | Framing::Close => {}
            }
            if !self.fill().await? {
                return match framing {
                    Framing::Close => Ok(None),
                    _ => Err(Failure::new(
                        "closed",
                        format!("{} closed the connection within the body of its answer", self.authority),
                    )),
                };
            }
        }
    }

    /// Reads a body of known length without keeping it.
    pub(super) async fn skip(&mut self, left: &mut u64) -> Result<(), Failure> {
        loop {
            let length = usize::try_from(*left).unwrap_or(usize::MAX).min(self.buffer.len());
            self.buffer.advance(length);
            *left -= length as u64;
            if *left == 0 {
                return Ok(());
            }
            if !self.fill().await? {
                let detail = format!(
                    "{} closed the connection {left} bytes before the end of its answer",
                    self.authority
                );
                return Err(Failure::new("closed", detail));
            }
        }
    }

    fn io(&self, otherwise: &'static str, error: &std::io::Error) -> Failure {
        io_failure(otherwise, &self.authority, error)
    }
}

/// Parses the head at the beginning of the bytes, with its length; `None` if it is not whole yet.
fn parse_head(bytes: &[u8], method: &Method) -> Result<Option<(Head, usize)>, Failure> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response
        .parse(bytes)
        .map_err(|error| Failure::new("protocol", format!("the answer is not HTTP/1: {error}")))?;
    let httparse::Status::Complete(length) = parsed else { return Ok(None) };
    let status = response.code.unwrap_or_default();
    let mut head = Head { status, framing: Framing::Close, keep: response.version == Some(1) };
    let mut content_length = None;
    let mut is_chunked = false;
    for header in response.headers.iter() {
        let value = std::str::from_utf8(header.value).unwrap_or_default().trim();
        if header.name.eq_ignore_ascii_case("content-length") {
            content_length = Some(length_of(value, content_length)?);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            is_chunked = last_token_is(value, "chunked");
        } else if header.name.eq_ignore_ascii_case("connection") {
            if has_token(value, "close") {
                head.keep = false;
            } else if has_token(value, "keep-alive") {
                head.keep = true;
            }
        }
    }
    if status == 101 {
        return Err(Failure::new("protocol", "the server switched to another protocol unasked"));
    }
    head.framing = if *method == Method::HEAD || status < 200 || status == 204 || status == 304 {
        Framing::Length(0)
    } else if is_chunked {
        Framing::Chunked(Chunked::default())
    } else if let Some(length) = content_length {
        Framing::Length(length)
    } else {
        head.keep = false;
        Framing::Close
    };
    Ok(Some((head, length)))
}

/// A length that contradicts one before it is an error (RFC 9112, section 6.3): the end of the body is not certain.
fn length_of(value: &str, before: Option<u64>) -> Result<u64, Failure> {
    let invalid = || Failure::new("protocol", format!("`{value}` is not the length of a body"));
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(invalid());
    }
    let length = value.parse().map_err(|_| invalid())?;
    if before.is_some_and(|before| before != length) {
        return Err(invalid());
    }
    Ok(length)
}

fn has_token(value: &str, token: &str) -> bool {
    value.split(',').any(|part| part.trim().eq_ignore_ascii_case(token))
}

fn last_token_is(value: &str, token: &str) -> bool {
    value.rsplit(',').next().is_some_and(|part| part.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str, method: &Method) -> Option<(Head, usize)> {
        parse_head(text.as_bytes(), method).unwrap()
    }

    #[test]
    fn the_end_of_a_body_is_told_by_method_status_coding_and_length_in_that_order() {
        let both = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: gzip, chunked\r\n\r\n";
        assert!(matches!(head(both, &Method::GET).unwrap().0.framing, Framing::Chunked(_)));
        assert!(matches!(head(both, &Method::HEAD).unwrap().0.framing, Framing::Length(0)));
        let plain = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\nhello";
        let (parsed, length) = head(plain, &Method::GET).unwrap();
        assert!(matches!(parsed.framing, Framing::Length(5)) && parsed.keep);
        assert_eq!(length, plain.len() - 5);
        let empty = "HTTP/1.1 204 No Content\r\n\r\n";
        assert!(matches!(head(empty, &Method::GET).unwrap().0.framing, Framing::Length(0)));
        let open = head("HTTP/1.1 200 OK\r\n\r\n", &Method::GET).unwrap().0;
        assert!(matches!(open.framing, Framing::Close) && !open.keep);
        assert!(head("HTTP/1.1 200 OK\r\ncontent-", &Method::GET).is_none());
    }

    #[test]
    fn a_connection_is_kept_unless_either_side_says_otherwise() {
        let keep = |text: &str| head(text, &Method::GET).unwrap().0.keep;
        assert!(keep("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"));
        assert!(!keep("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nConnection: Close\r\n\r\n"));
        assert!(!keep("HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n"));
        assert!(keep("HTTP/1.0 200 OK\r\ncontent-length: 0\r\nconnection: Keep-Alive\r\n\r\n"));
    }

    #[test]
    fn a_head_that_leaves_the_end_of_the_body_in_doubt_is_refused() {
        for text in [
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            "SSH-2.0-OpenSSH_9.2\r\n",
        ] {
            assert_eq!(parse_head(text.as_bytes(), &Method::GET).unwrap_err().kind, "protocol", "{text}");
        }
    }
}
