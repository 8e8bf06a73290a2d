//! Server-sent events, as providers send them: split without being decoded, so that what passes stays as it was.
//!
//! The parser works on bytes. A character that is cut in two between reads is whole again when its event is complete;
//! lines end with LF, CRLF or CR; comments count as events without data. An event that grows beyond a bound fails.

use bytes::{Bytes, BytesMut};

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// As it came, with the empty line that ends it.
    pub(crate) raw: Bytes,
    /// The field `event`; empty if there is none.
    pub(crate) name: Bytes,
    /// The fields `data`, joined by line breaks; empty if there is none.
    pub(crate) data: Bytes,
}

/// An event is longer than the bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the provider sends an event of more than {size_max} bytes")]
pub(crate) struct EventTooLongError {
    size_max: usize,
}

/// Splits a stream of bytes into events.
#[derive(Debug)]
pub(crate) struct SseParser {
    buffer: BytesMut,
    /// Up to here the buffer was looked through; a line begins there or before.
    scanned: usize,
    line_start: usize,
    size_max: usize,
    /// The last event ended with CR: a LF that follows belongs to it.
    swallow_lf: bool,
}

impl SseParser {
    pub(crate) fn new(size_max: usize) -> Self {
        Self { buffer: BytesMut::new(), scanned: 0, line_start: 0, size_max, swallow_lf: false }
    }

    /// Takes in what was read.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// What was read and is not a whole event yet.
    #[cfg(test)]
    pub(crate) fn rest(&self) -> &[u8] {
        &self.buffer
    }

    /// The next whole event, if there is one.
    pub(crate) fn next(&mut self) -> Result<Option<Event>, EventTooLongError> {
        if self.swallow_lf && !self.buffer.is_empty() {
            self.swallow_lf = false;
            if self.buffer.first() == Some(&b'\n') {
                let _ = self.buffer.split_to(1);
            }
        }
        while let Some(found) = memchr::memchr2(b'\n', b'\r', &self.buffer[self.scanned..]) {
            let at = self.scanned + found;
            let mut after = at + 1;
            if self.buffer[at] == b'\r' {
                match self.buffer.get(after) {
                    Some(b'\n') => after += 1,
                    Some(_) => {}
                    None if at == self.line_start => self.swallow_lf = true,
                    // Within an event there is time to see what follows.
                    None => break,
                }
            }
            let is_blank = at == self.line_start;
            (self.scanned, self.line_start) = (after, after);
            if is_blank {
                let raw = self.buffer.split_to(after).freeze();
                (self.scanned, self.line_start) = (0, 0);
                return Ok(Some(Event::read(raw)));
            }
        }
        if self.buffer.len() > self.size_max {
            return Err(EventTooLongError { size_max: self.size_max });
        }
        // A CR at the end stays to be looked at again.
        self.scanned = self.buffer.len() - usize::from(self.buffer.last() == Some(&b'\r'));
        Ok(None)
    }
}

impl Event {
    fn read(raw: Bytes) -> Self {
        let (mut name, mut data) = (Bytes::new(), Bytes::new());
        let mut joined: Option<BytesMut> = None;
        let text = raw.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&raw);
        for line in text.split(|byte| matches!(byte, b'\n' | b'\r')) {
            let (field, value) = match memchr::memchr(b':', line) {
                Some(colon) => (&line[..colon], &line[colon + 1..]),
                None => (line, &line[line.len()..]),
            };
            let value = raw.slice_ref(value.strip_prefix(b" ").unwrap_or(value));
            match field {
                b"event" => name = value,
                b"data" if joined.is_none() && data.is_empty() => data = value,
                b"data" => {
                    let joined = joined.get_or_insert_with(|| BytesMut::from(&data[..]));
                    joined.extend_from_slice(b"\n");
                    joined.extend_from_slice(&value);
                }
                _ => {}
            }
        }
        if let Some(joined) = joined {
            data = joined.freeze();
        }
        Self { raw, name, data }
    }

    /// Whether it ends a stream of OpenAI's.
    pub(crate) fn is_done(&self) -> bool {
        &self.data[..] == b"[DONE]"
    }
}

/// Writes an event.
pub(crate) fn write_event(out: &mut Vec<u8>, name: Option<&str>, data: &[u8]) {
    if let Some(name) = name {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(name.as_bytes());
        out.push(b'\n');
    }
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(data);
    out.extend_from_slice(b"\n\n");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn events(chunks: &[&[u8]]) -> Vec<(String, String)> {
        let mut parser = SseParser::new(1 << 16);
        let mut found = Vec::new();
        for chunk in chunks {
            parser.push(chunk);
            while let Some(event) = parser.next().unwrap() {
                let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
                found.push((text(&event.name), text(&event.data)));
            }
        }
        found
    }

    fn pair(name: &str, data: &str) -> (String, String) {
        (name.to_owned(), data.to_owned())
    }

    #[test]
    fn every_line_ending_ends_a_line() {
        for text in ["event: a\ndata: 1\n\n", "event: a\r\ndata: 1\r\n\r\n", "event: a\rdata: 1\r\r"] {
            assert_eq!(events(&[text.as_bytes()]), [pair("a", "1")], "{text:?}");
        }
    }

    #[test]
    fn comments_and_unknown_fields_carry_nothing() {
        assert_eq!(events(&[b": ping\n\nid: 3\nretry: 5\ndata:x\n\n"]), [pair("", ""), pair("", "x")]);
    }

    #[test]
    fn data_of_many_lines_is_joined() {
        assert_eq!(events(&[b"data: {\ndata: \"a\":1}\n\n"]), [pair("", "{\n\"a\":1}")]);
    }

    #[test]
    fn a_character_cut_in_two_is_whole_in_its_event() {
        let text = "data: \u{e9}\u{1f600}\n\n".as_bytes();
        for cut in 1..text.len() {
            assert_eq!(events(&[&text[..cut], &text[cut..]]), [pair("", "\u{e9}\u{1f600}")], "{cut}");
        }
    }

    #[test]
    fn a_line_that_does_not_end_fails_at_the_bound() {
        let mut parser = SseParser::new(100);
        parser.push(&[b'x'; 100]);
        assert_eq!(parser.next(), Ok(None));
        parser.push(b"x");
        assert!(parser.next().is_err());
    }

    proptest! {
        #[test]
        fn how_the_bytes_are_cut_does_not_matter(
            text in prop::collection::vec(prop::sample::select(vec![
                &b"data: a"[..], b"event:b", b"\n", b"\r\n", b"\r", b"\n\n", b":c", "data: \u{e9}".as_bytes(), b"data", b"\xff",
            ]), 0..40),
            cuts in prop::collection::vec(0_usize..300, 0..8),
        ) {
            let bytes: Vec<u8> = text.concat();
            let whole = events(&[&bytes]);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert_eq!(events(&pieces), whole);
        }

        #[test]
        fn what_passes_stays_as_it_was(chunks in prop::collection::vec("[a-z: \n]{0,20}", 0..8)) {
            let mut parser = SseParser::new(1 << 16);
            let mut passed = Vec::new();
            for chunk in &chunks {
                parser.push(chunk.as_bytes());
                while let Some(event) = parser.next().unwrap() {
                    passed.extend_from_slice(&event.raw);
                }
            }
            passed.extend_from_slice(parser.rest());
            prop_assert_eq!(passed, chunks.concat().into_bytes());
        }
    }
}
