//! Several nodes that can play one part of an answer.
//!
//! A [`Pool`] is a [`Roster`](roster::Roster) over real nodes: it has each of them watched, hands every answer those
//! that it may be given by ([`Pool::candidates`]), hears how its sessions go, and lets answers that are on their way
//! know which nodes come and go. Which node is chosen and which is set aside is the roster's matter.
//!
//! How a node is watched is its caller's ([`Watched`]): this crate knows neither gRPC nor HTTP.

mod pool;

pub use roster::{MemberState, MemberTerms};

pub use self::pool::{Hedging, MemberReport, Pool, Teller, Watched, WeakPool};
