//! The pipe's framing, whatever the chunks.

use bytes::Bytes;
use paddock_cdp::{Frame, FrameDecoder};
use proptest::prelude::*;

const SIZE_MAX: usize = 200;

/// Feeds a stream in chunks of the given sizes (repeated as needed).
fn decode(stream: &[u8], chunk_sizes: &[usize]) -> Vec<Frame> {
    let mut decoder = FrameDecoder::new(SIZE_MAX);
    let mut frames = Vec::new();
    let mut rest = stream;
    for size in chunk_sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (chunk, after) = rest.split_at((*size).min(rest.len()));
        decoder.buffer_mut().extend_from_slice(chunk);
        while let Some(frame) = decoder.next_frame() {
            frames.push(frame);
        }
        rest = after;
    }
    frames
}

fn expected(message: &[u8]) -> Frame {
    if message.len() > SIZE_MAX {
        Frame::Oversized {
            head: Bytes::copy_from_slice(&message[..64]),
            tail: Bytes::copy_from_slice(&message[message.len() - 64..]),
            size: message.len(),
        }
    } else {
        Frame::Message(Bytes::copy_from_slice(message))
    }
}

proptest! {
    #[test]
    fn messages_survive_any_chunking(
        messages in prop::collection::vec(prop::collection::vec(1_u8..=255, 0..400), 0..12),
        chunk_sizes in prop::collection::vec(1_usize..300, 1..8),
    ) {
        let mut stream = Vec::new();
        for message in &messages {
            stream.extend_from_slice(message);
            stream.push(0);
        }
        let frames = decode(&stream, &chunk_sizes);
        // The head of an oversized message may be cut short by a chunk, but never by less than what had arrived.
        for (frame, message) in frames.iter().zip(&messages) {
            match (frame, expected(message)) {
                (
                    Frame::Oversized { head, tail, size },
                    Frame::Oversized { head: whole, tail: end, size: size_whole },
                ) => {
                    prop_assert_eq!(head, &whole);
                    prop_assert_eq!(tail, &end);
                    prop_assert_eq!(*size, size_whole);
                }
                (frame, whole) => prop_assert_eq!(frame, &whole),
            }
        }
        prop_assert_eq!(frames.len(), messages.len());
    }

    #[test]
    fn an_unfinished_message_is_not_delivered(message in prop::collection::vec(1_u8..=255, 0..400)) {
        prop_assert!(decode(&message, &[7]).is_empty());
    }
}

#[test]
fn memory_stays_bounded_while_an_oversized_message_arrives() {
    let mut decoder = FrameDecoder::new(SIZE_MAX);
    for _ in 0..10_000 {
        decoder.buffer_mut().extend_from_slice(&[b'x'; 100]);
        assert!(decoder.next_frame().is_none());
        assert!(decoder.buffer_mut().len() <= SIZE_MAX);
    }
    decoder.buffer_mut().extend_from_slice(b"\0{}\0");
    assert!(matches!(decoder.next_frame(), Some(Frame::Oversized { size: 1_000_000, .. })));
    assert_eq!(decoder.next_frame(), Some(Frame::Message(Bytes::from_static(b"{}"))));
}
