//! Framing of the pipe: JSON texts, each ended by a NUL byte.

use std::ffi::CStr;

use bytes::{Buf, Bytes, BytesMut};

/// How much of an oversized message is kept: enough to read the `id` that Chrome writes first.
const HEAD_SIZE: usize = 64;
/// How much of its end is kept: enough to read the `sessionId` that Chrome writes last.
const TAIL_SIZE: usize = 64;

/// One message of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A message, without its NUL.
    Message(Bytes),
    /// A message over the maximum; its bytes were discarded as they came.
    Oversized {
        /// Its first bytes (at most 64).
        head: Bytes,
        /// Its last bytes (at most 64).
        tail: Bytes,
        /// Its size in bytes.
        size: usize,
    },
}

/// Cuts a byte stream into messages, whatever the chunks that it arrives in.
#[derive(Debug)]
pub struct FrameDecoder {
    buffer: BytesMut,
    /// Bytes of `buffer` known to hold no NUL.
    scanned: usize,
    size_max: usize,
    discarding: Option<Discarding>,
}

#[derive(Debug)]
struct Discarding {
    head: Bytes,
    tail: Vec<u8>,
    size: usize,
}

impl FrameDecoder {
    /// A decoder that keeps messages of up to `size_max` bytes.
    pub fn new(size_max: usize) -> Self {
        Self { buffer: BytesMut::new(), scanned: 0, size_max, discarding: None }
    }

    /// Where the next bytes of the stream are to be appended.
    pub fn buffer_mut(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next whole message, if the stream holds one.
    pub fn next_frame(&mut self) -> Option<Frame> {
        let Some(end) = nul_position(&self.buffer[self.scanned..]).map(|at| self.scanned + at) else {
            self.scanned = self.buffer.len();
            if self.discarding.is_some() || self.buffer.len() > self.size_max {
                self.discard(self.buffer.len());
            }
            return None;
        };
        self.scanned = 0;
        if self.discarding.is_some() || end > self.size_max {
            self.discard(end);
            self.buffer.advance(1);
            let discarded = self.discarding.take();
            return discarded.map(|Discarding { head, tail, size }| Frame::Oversized {
                head,
                tail: tail.into(),
                size,
            });
        }
        let message = self.buffer.split_to(end).freeze();
        self.buffer.advance(1);
        Some(Frame::Message(message))
    }

    fn discard(&mut self, count: usize) {
        let head = || Bytes::copy_from_slice(&self.buffer[..count.min(HEAD_SIZE)]);
        let discarding =
            self.discarding.get_or_insert_with(|| Discarding { head: head(), tail: Vec::new(), size: 0 });
        discarding.size += count;
        discarding.tail.extend_from_slice(&self.buffer[count.saturating_sub(TAIL_SIZE)..count]);
        let surplus = discarding.tail.len().saturating_sub(TAIL_SIZE);
        discarding.tail.drain(..surplus);
        self.buffer.advance(count);
        self.scanned = 0;
    }
}

/// The standard library's `CStr` searches words at a time, also in a debug build; an iterator does not.
fn nul_position(bytes: &[u8]) -> Option<usize> {
    CStr::from_bytes_until_nul(bytes).ok().map(CStr::count_bytes)
}
