//! The nodes that can play one part of an answer: what is known of each, which one an answer begins with, and which
//! ones stand in for it, in what order.
//!
//! A [`Roster`] is notified of what its members report ([`Roster::heard`]) and of how sessions with them go
//! ([`Roster::begun`], [`Roster::wrote`], [`Roster::ended`]). It chooses among those that take sessions by the power of
//! two choices (Mitzenmacher, 2001): of two drawn at random, the one with the shorter expected time to first text. A
//! member whose sessions fail is set aside for a while (`breaker`).
//!
//! The crate is pure: time is an argument, counted from any starting point, and draws are seeded. The crate `pool` runs
//! it over real nodes, `simulator` over simulated ones.

mod breaker;
mod member;
mod roster;

pub use self::{
    member::{MemberState, MemberTerms},
    roster::{MemberId, Roster},
};
