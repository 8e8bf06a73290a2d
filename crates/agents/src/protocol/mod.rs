//! Protocols that are run on behalf of a caller: the contract net, auctions, proposals.
//!
//! Each is a state that is told what comes in and says what follows. It sends nothing and knows no clock.

mod auction;
mod contract_net;
mod proposal;

pub(crate) use self::{
    auction::{AUCTION, Bidding, Step},
    contract_net::{CONTRACT_NET, Tender},
    proposal::{Ballot, PROPOSE},
};
pub use self::{
    auction::{Auction, AuctionInput, AuctionKind, AuctionRound},
    contract_net::{Bid, ContractNet, ContractNetInput, Prefer},
    proposal::{Proposal, ProposalInput},
};
