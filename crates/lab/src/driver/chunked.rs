//! The chunked transfer coding (RFC 9112, section 7.1), piece by piece as it arrives.

use bytes::{Buf as _, Bytes, BytesMut};

use super::Failure;

/// Longest line of a chunk's size with its extensions, or of a trailer.
const LINE_BYTES_MAX: usize = 8 << 10;
/// Lines of trailers.
const TRAILERS_MAX: usize = 128;

/// Where in the coding the reader is.
#[derive(Debug, Default)]
pub(super) struct Chunked {
    state: State,
    trailers: usize,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// Before the line with a chunk's size.
    #[default]
    Size,
    /// Within a chunk, with so many bytes to come.
    Data(u64),
    /// Before the line end after a chunk.
    DataEnd,
    /// Among the trailers.
    Trailer,
    End,
}

/// What could be taken from the bytes that have arrived.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Bytes of the body.
    Data(Bytes),
    /// Nothing; more has to arrive.
    Missing,
    /// Nothing; the body is over.
    End,
}

impl Chunked {
    /// Takes the next piece from the front of the bytes.
    pub(super) fn next(&mut self, buffer: &mut BytesMut) -> Result<Piece, Failure> {
        loop {
            match self.state {
                State::Data(left) => {
                    if buffer.is_empty() {
                        return Ok(Piece::Missing);
                    }
                    let length = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
                    let left = left - length as u64;
                    self.state = if left == 0 { State::DataEnd } else { State::Data(left) };
                    return Ok(Piece::Data(buffer.split_to(length).freeze()));
                }
                State::End => return Ok(Piece::End),
                State::Size | State::DataEnd | State::Trailer => {
                    let Some(length) = line_length(buffer)? else { return Ok(Piece::Missing) };
                    let line = buffer.get(..length).unwrap_or_default();
                    self.state = self.after_line(line.strip_suffix(b"\r").unwrap_or(line))?;
                    buffer.advance(length + 1);
                }
            }
        }
    }

    fn after_line(&mut self, line: &[u8]) -> Result<State, Failure> {
        match self.state {
            State::Size => match chunk_size(line)? {
                0 => Ok(State::Trailer),
                size => Ok(State::Data(size)),
            },
            State::DataEnd if line.is_empty() => Ok(State::Size),
            State::DataEnd => Err(invalid("a chunk is longer than it says")),
            State::Trailer if line.is_empty() => Ok(State::End),
            State::Trailer => {
                self.trailers += 1;
                if self.trailers > TRAILERS_MAX {
                    Err(invalid("too many trailers"))
                } else {
                    Ok(State::Trailer)
                }
            }
            state @ (State::Data(_) | State::End) => Ok(state),
        }
    }
}

/// Length of the line at the front, without its line feed; `None` if it is not whole yet.
fn line_length(buffer: &BytesMut) -> Result<Option<usize>, Failure> {
    let length = buffer.iter().take(LINE_BYTES_MAX).position(|byte| *byte == b'\n');
    if length.is_none() && buffer.len() >= LINE_BYTES_MAX {
        return Err(invalid("a line of the chunked coding is too long"));
    }
    Ok(length)
}

/// The size on a chunk's first line; extensions after `;` mean nothing here.
fn chunk_size(line: &[u8]) -> Result<u64, Failure> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
    let digits = std::str::from_utf8(digits).unwrap_or_default().trim();
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(invalid("the size of a chunk is not a number"));
    }
    u64::from_str_radix(digits, 16).map_err(|_| invalid("the size of a chunk is too large"))
}

fn invalid(detail: &str) -> Failure {
    Failure::new("protocol", detail)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Body and rest after it, from bytes that arrive in pieces.
    fn decode(pieces: &[&[u8]]) -> Result<(Vec<u8>, Vec<u8>), Failure> {
        let (mut chunked, mut buffer, mut body) = (Chunked::default(), BytesMut::new(), Vec::new());
        let mut pieces = pieces.iter();
        loop {
            match chunked.next(&mut buffer)? {
                Piece::Data(data) => body.extend_from_slice(&data),
                Piece::End => {
                    pieces.for_each(|piece| buffer.extend_from_slice(piece));
                    return Ok((body, buffer.to_vec()));
                }
                Piece::Missing => match pieces.next() {
                    Some(piece) => buffer.extend_from_slice(piece),
                    None => return Err(invalid("cut off")),
                },
            }
        }
    }

    #[test]
    fn chunks_extensions_and_trailers_are_told_apart() {
        let text = b"4;name=value\r\nWiki\r\n0A\r\n0123456789\r\n0\r\nx-sum: 7\r\n\r\nHTTP/1.1";
        assert_eq!(decode(&[text]).unwrap(), (b"Wiki0123456789".to_vec(), b"HTTP/1.1".to_vec()));
    }

    #[test]
    fn a_broken_coding_is_refused() {
        for text in [
            b"x\r\n".as_slice(),
            b"\r\n",
            b"-1\r\n",
            b"4\r\nWikipedia\r\n",
            b"fffffffffffffffff\r\n",
            &[b'1'; LINE_BYTES_MAX + 1],
        ] {
            assert!(decode(&[text]).is_err());
        }
    }

    proptest! {
        #[test]
        fn where_the_bytes_are_cut_makes_no_difference(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..8),
            cuts in proptest::collection::vec(1_usize..20, 0..60),
        ) {
            let mut coded = Vec::new();
            for chunk in &chunks {
                coded.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                coded.extend_from_slice(chunk);
                coded.extend_from_slice(b"\r\n");
            }
            coded.extend_from_slice(b"0\r\n\r\nrest");
            let mut pieces = Vec::new();
            let mut left = coded.as_slice();
            for cut in cuts {
                let (piece, after) = left.split_at(cut.min(left.len()));
                pieces.push(piece);
                left = after;
            }
            pieces.push(left);
            prop_assert_eq!(decode(&pieces).unwrap(), (chunks.concat(), b"rest".to_vec()));
        }
    }
}
