//! Several nodes that can play one part of an answer.
//!
//! A [`Pool`] is a [`Roster`](roster::Roster) over real nodes. It has each of them watched, gives every answer its
//! candidates ([`Pool::candidates`]), is notified of how their sessions go, and tells answers in progress which nodes
//! come and go. The roster decides which node is chosen and which is set aside.
//!
//! How a node is watched is up to the caller ([`Watched`]): this crate knows neither gRPC nor HTTP.

mod pool;

pub use roster::{MemberState, MemberTerms};

pub use self::pool::{Hedging, MemberReport, Pool, Teller, Watched, WeakPool};
