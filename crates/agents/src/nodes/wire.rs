//! Messages on their way over the bus: many together, each as a header in JSON and its content as it is.

use std::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};
use paddock_platform::identity::Tenant;
use serde::{Deserialize, Serialize};

use crate::{
    envelope,
    message::{Address, Delivery, Message},
};

/// What a frame has beside header and content.
const FRAME: usize = 8;

#[derive(Serialize, Deserialize)]
struct Header<'a> {
    #[serde(borrow)]
    tenant: Cow<'a, str>,
    #[serde(borrow)]
    to: Cow<'a, str>,
    #[serde(borrow)]
    envelope: Cow<'a, str>,
}

/// A message from another server.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) tenant: Tenant,
    /// Whom it is for here.
    pub(super) to: Address,
    pub(super) message: Message,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Outcome {
    /// It is in the mailbox.
    Taken,
    /// The mailbox is full.
    Full,
    /// The agent takes no messages.
    Stopped,
    /// The agent is not run there.
    Moved,
    /// There is no such agent, or nobody waits for the answer.
    Nobody,
}

/// What became of a frame, and how much waits for its agent now.
pub(super) type Told = (Outcome, usize);

/// A message's frame.
pub(super) fn write(tenant: &Tenant, to: &str, message: &Message) -> BytesMut {
    let header =
        Header { tenant: tenant.as_str().into(), to: to.into(), envelope: envelope::write(message).into() };
    let header = serde_json::to_vec(&header).unwrap_or_default();
    let body = &message.content.body;
    let mut frame = BytesMut::with_capacity(FRAME + header.len() + body.len());
    for part in [&header[..], body] {
        frame.put_u32(u32::try_from(part.len()).unwrap_or(u32::MAX));
        frame.put_slice(part);
    }
    frame
}

fn part(bytes: &mut Bytes) -> Option<Bytes> {
    if bytes.len() < 4 {
        return None;
    }
    let length = bytes.split_to(4);
    let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]) as usize;
    (length <= bytes.len()).then(|| bytes.split_to(length))
}

/// Reads the frames of a body; `None` if it is none.
pub(super) fn read(mut bytes: Bytes) -> Option<Vec<Frame>> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let (header, body) = (part(&mut bytes)?, part(&mut bytes)?);
        let header: Header<'_> = serde_json::from_slice(&header).ok()?;
        // What is passed on is in memory: durable messages go through the store.
        let message = envelope::read(&header.envelope, body)?;
        let message = Message { delivery: Delivery::Memory, ..message };
        frames.push(Frame { tenant: header.tenant.parse().ok()?, to: header.to.parse().ok()?, message });
    }
    Some(frames)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::{Draft, MessageView, Performative};

    #[test]
    fn messages_are_read_as_they_were_written() {
        let mut bytes = BytesMut::new();
        for number in 0..3 {
            let draft = Draft::new(Performative::Inform, "capability:sum?all".parse::<Address>().unwrap());
            let message = draft.json(&number).from("me".parse().unwrap());
            bytes.unsplit(write(&Tenant::local(), &format!("agent-{number}"), &message));
        }
        let frames = read(bytes.freeze()).unwrap();
        let seen: Vec<(String, u64)> = frames
            .iter()
            .map(|frame| (frame.to.to_string(), frame.message.content.read().unwrap()))
            .collect();
        let expected: Vec<(String, u64)> = (0..3).map(|number| (format!("agent-{number}"), number)).collect();
        assert_eq!(seen, expected);
        assert_eq!(MessageView::from(&frames[0].message).sender, "me".parse().unwrap());
        assert!(read(Bytes::new()).unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes: Vec<u8>) {
            let _ = read(bytes.into());
        }
    }
}
