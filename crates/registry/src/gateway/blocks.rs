//! Event streams (WHATWG HTML, section 9.2.6), taken apart into events without looking into them.

use bytes::{Bytes, BytesMut};

/// An event is larger than a message may be.
#[derive(Debug, thiserror::Error)]
#[error("an event has over {0} bytes")]
pub(super) struct EventTooLarge(usize);

/// Gives the events of a stream, each with the empty line that ends it.
#[derive(Debug)]
pub(super) struct Blocks {
    buffer: BytesMut,
    /// So far was looked for an end.
    seen: usize,
    size_max: usize,
}

impl Blocks {
    pub(super) fn new(size_max: usize) -> Self {
        Self { buffer: BytesMut::new(), seen: 0, size_max }
    }

    pub(super) fn push(&mut self, chunk: &[u8]) {
        self.buffer.extend_from_slice(chunk);
    }

    /// The next whole event.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, EventTooLarge> {
        // The end may have begun in what was seen.
        let from = self.seen.saturating_sub(3);
        if let Some(end) = end_of_block(&self.buffer[from..]) {
            self.seen = 0;
            return Ok(Some(self.buffer.split_to(from + end).freeze()));
        }
        self.seen = self.buffer.len();
        if self.seen > self.size_max { Err(EventTooLarge(self.size_max)) } else { Ok(None) }
    }
}

/// Behind the first empty line.
fn end_of_block(bytes: &[u8]) -> Option<usize> {
    memchr::memchr_iter(b'\n', bytes).find_map(|at| match &bytes[at + 1..] {
        [b'\n', ..] => Some(at + 2),
        [b'\r', b'\n', ..] => Some(at + 3),
        _ => None,
    })
}

/// A field of an event, its lines joined.
pub(super) fn field(block: &[u8], name: &str) -> Option<Vec<u8>> {
    let mut found: Option<Vec<u8>> = None;
    for line in block.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Some(value) = line.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b":")) else {
            continue;
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match &mut found {
            Some(text) => {
                text.push(b'\n');
                text.extend_from_slice(value);
            }
            None => found = Some(value.to_vec()),
        }
    }
    found
}

/// The same event with other data.
pub(super) fn with_data(block: &[u8], data: &[u8]) -> Bytes {
    let mut text = Vec::with_capacity(data.len() + 64);
    for line in block.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if !line.is_empty() && !line.starts_with(b"data:") {
            text.extend_from_slice(line);
            text.push(b'\n');
        }
    }
    text.extend_from_slice(b"data: ");
    text.extend_from_slice(data);
    text.extend_from_slice(b"\n\n");
    text.into()
}

/// A message as an event.
pub(super) fn event(message: &[u8]) -> Bytes {
    with_data(b"event: message", message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_are_read_whatever_ends_the_lines() {
        let block = b"event: endpoint\r\ndata: /messages?id=1\r\n: note\r\n\r\n";
        assert_eq!(field(block, "event").unwrap(), b"endpoint");
        assert_eq!(field(block, "data").unwrap(), b"/messages?id=1");
        assert_eq!(field(b"data:a\ndata: b\n\n", "data").unwrap(), b"a\nb");
        assert!(field(b": keep-alive\n\n", "data").is_none());
    }

    #[test]
    fn data_is_replaced_and_all_else_kept() {
        assert_eq!(with_data(b"id: 7\ndata: {}\n\n", b"[1]"), Bytes::from_static(b"id: 7\ndata: [1]\n\n"));
    }

    #[test]
    fn an_event_without_end_is_not_collected_for_ever() {
        let mut blocks = Blocks::new(16);
        blocks.push(&[b'x'; 32]);
        assert!(blocks.next().is_err());
    }

    proptest! {
        #[test]
        fn events_are_the_same_however_the_stream_is_cut(
            texts in prop::collection::vec("[a-z]{1,12}", 1..6),
            ends in prop::collection::vec(any::<bool>(), 6),
            cut in 1_usize..9,
        ) {
            let mut stream = Vec::new();
            for (text, end) in texts.iter().zip(&ends) {
                stream.extend(format!("data: {text}").bytes());
                stream.extend(if *end { "\r\n\r\n".bytes() } else { "\n\n".bytes() });
            }
            let mut blocks = Blocks::new(1000);
            let mut found = Vec::new();
            for chunk in stream.chunks(cut) {
                blocks.push(chunk);
                while let Some(block) = blocks.next().unwrap() {
                    found.push(String::from_utf8(field(&block, "data").unwrap()).unwrap());
                }
            }
            prop_assert_eq!(found, texts);
        }
    }
}
