//! An answer on its way: in pieces, with what may befall it.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use futures_util::stream;

use super::Sim;
use crate::{dialect::usage::Usage, upstream::UpstreamBody};

/// What happens to an answer on its way.
pub(super) struct Faults {
    pub(super) latency: Duration,
    pub(super) break_at: Option<usize>,
    pub(super) stall_at: Option<usize>,
    pub(super) fail_at: Option<usize>,
}

/// Something that is sent after a while; an error breaks the connection.
pub(super) struct Piece(Duration, Result<Bytes, std::io::Error>);

impl Piece {
    pub(super) const fn say(bytes: Bytes) -> Self {
        Self(Duration::ZERO, Ok(bytes))
    }

    pub(super) fn after(wait: Duration, bytes: Vec<u8>) -> Self {
        Self(wait, Ok(Bytes::from(bytes)))
    }

    pub(super) fn broken() -> Self {
        Self(Duration::ZERO, Err(std::io::Error::other("the simulated provider breaks off")))
    }
}

/// An answer in pieces; the bill goes out with the last of them.
pub(super) fn pieces(said: VecDeque<Piece>, bill: Option<Bill>) -> UpstreamBody {
    UpstreamBody::Stream(Box::pin(stream::unfold((said, bill), |(mut said, mut bill)| async move {
        let Piece(wait, bytes) = said.pop_front()?;
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        if said.is_empty()
            && let Some(bill) = bill.take()
        {
            bill.send();
        }
        Some((bytes, (said, bill)))
    })))
}

/// What an answer costs its caller, once it is said.
pub(super) struct Bill {
    pub(super) sim: Sim,
    pub(super) usage: Usage,
}

impl Bill {
    pub(super) fn send(self) {
        self.sim.bill(&self.usage);
    }
}
