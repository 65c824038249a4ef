//! The pure model of one direction of a link: when do bytes that are sent now arrive?
//!
//! It models what a program sees above TCP: bytes arrive in order and none is missing, and everything that the network
//! does to packets shows as time. docs/links.md describes the model in full, with its sources and its limits. There is
//! no clock, no socket and no queue here (see `pump`), and no memory beyond a few numbers.

use std::time::Duration;

use thinking::draw::{splitmix64, uniform};

use super::{LinkProfile, Outage, Rate, Way};

/// The payload of one TCP segment on Ethernet, with timestamps.
pub const SEGMENT_BYTES: usize = 1448;

/// Delay varies with the queues on the path, and queues need time to change: bytes sent within this time meet the same
/// delay. So it does not matter in how many pieces a program's bytes are sent.
const JITTER_HOLDS: Duration = Duration::from_millis(10);
/// The average number of consecutive segments lost in a burst.
const BURST_SEGMENTS: f64 = 4.0;
/// The shortest retransmission timeout (RFC 6298 asks for 1 s, systems use this).
const MIN_TIMEOUT: Duration = Duration::from_millis(200);
/// The timeout before any round trip was measured (RFC 6298, 2.1).
const FIRST_TIMEOUT: Duration = Duration::from_secs(1);
/// Timeouts double up to this (RFC 6298, 2.5).
const MAX_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a segment is sent again at most.
const ATTEMPTS: u32 = 15;

/// One direction of one connection over a link.
///
/// Times count from the link's start. The same seed, calls and times give the same arrivals on every machine.
#[derive(Debug, Clone)]
pub struct Direction {
    propagation: Duration,
    rtt: Duration,
    /// How long the sender waits for an acknowledgement before it retransmits.
    timeout: Duration,
    rate: Option<Rate>,
    outages: Option<Outages>,
    losses: Losses,
    jitter: Jitter,
    /// When the last byte has left, and the fraction of a nanosecond by which it leaves later.
    free_at: Duration,
    rest: u64,
    /// When the last byte arrives.
    arrived: Duration,
    passed: Passed,
}

/// The totals of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Passed {
    /// Pieces sent.
    pub pieces: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Segments that they were split into.
    pub segments: u64,
    /// Segments that were lost at the first attempt.
    pub lost: u64,
    /// Pieces that waited for a retransmission or the end of an outage.
    pub stalls: u64,
    /// How long they waited in total.
    pub stalled: Duration,
}

impl Direction {
    /// Creates one direction of a link's `connection`-th connection.
    ///
    /// The seed is the link's: all its connections, in both directions, share the times of its outages, and nothing
    /// else. Jitter and losses are drawn separately, so that profiles of equal loss lose the same segments.
    pub fn new(profile: &LinkProfile, way: Way, seed: u64, connection: u64) -> Self {
        let own = splitmix64(splitmix64(seed, 1), connection);
        let draws = |purpose: u64| Draws::new(splitmix64(own, way as u64 * 8 + purpose));
        Direction {
            propagation: profile.delay(way),
            rtt: profile.rtt,
            timeout: MIN_TIMEOUT.max(profile.rtt.saturating_mul(2)),
            rate: profile.rate(way),
            outages: Outages::of(profile, seed),
            losses: Losses::new(profile.loss, draws(1), draws(2)),
            jitter: Jitter::new(profile.jitter_one_way(), draws(3)),
            free_at: Duration::ZERO,
            rest: 0,
            arrived: Duration::ZERO,
            passed: Passed::default(),
        }
    }

    /// Sends a piece of the stream at `now`, which must not be before earlier calls; returns when its last byte
    /// arrives. Takes constant time, except for the losses of its segments, and does not allocate.
    pub fn send(&mut self, now: Duration, bytes: usize) -> Duration {
        self.pass(now, bytes, self.timeout)
    }

    /// Returns the totals so far.
    pub fn passed(&self) -> Passed {
        self.passed
    }

    fn pass(&mut self, now: Duration, bytes: usize, timeout: Duration) -> Duration {
        let idle = (self.passed.pieces > 0).then(|| now.saturating_sub(self.free_at));
        let left = self.serialise(now, bytes);
        let on_time = (left + self.propagation + self.jitter.late(left)).max(self.arrived);
        // A sender that did not wait for an answer is assumed to continue at that pace, so its next segment reveals a
        // loss.
        let flow = idle.filter(|idle| *idle < self.rtt);
        let told_after = flow.map_or(timeout, |idle| timeout.min(self.rtt + idle));
        let segments = bytes.div_ceil(SEGMENT_BYTES).max(1) as u64;
        let (lost, wait) = self.losses.wait(segments, self.rtt, told_after, timeout);
        let mut arrival = on_time.max(left + self.propagation + wait);
        if let Some(outages) = &self.outages {
            let after = outages.after(arrival, timeout);
            if after > arrival {
                // Later pieces queue behind it, so the link is not faster after an outage.
                self.free_at = after.saturating_sub(self.propagation);
                self.rest = 0;
                arrival = after;
            }
        }
        self.arrived = arrival;
        self.passed.pieces += 1;
        self.passed.bytes += bytes as u64;
        self.passed.segments += segments;
        self.passed.lost += lost;
        if arrival > on_time {
            self.passed.stalls += 1;
            self.passed.stalled += arrival - on_time;
        }
        arrival
    }

    /// Returns when the last of these bytes has left.
    fn serialise(&mut self, now: Duration, bytes: usize) -> Duration {
        if now > self.free_at {
            self.free_at = now;
            self.rest = 0;
        }
        if let Some(rate) = self.rate {
            let work = bytes as u128 * 8_000_000_000 + u128::from(self.rest);
            let (ns, rest) = divided(work, rate.bits_per_second());
            self.free_at = self.free_at.saturating_add(Duration::from_nanos(ns));
            self.rest = rest;
        }
        self.free_at
    }
}

/// Returns when a connection begun at `now` is established: one round trip later, or more if a handshake's segment is
/// lost or the link is down. Must be called before anything is sent.
pub fn connect(up: &mut Direction, down: &mut Direction, now: Duration) -> Duration {
    let there = up.pass(now, 0, FIRST_TIMEOUT);
    down.pass(there, 0, FIRST_TIMEOUT)
}

/// Returns the quotient, saturated at 64 bits, and the remainder. Nearly all values fit in 64 bits, and a 128-bit
/// division takes several times as long.
fn divided(work: u128, by: u64) -> (u64, u64) {
    match u64::try_from(work) {
        Ok(work) => (work / by, work % by),
        Err(_) => {
            let by = u128::from(by);
            (u64::try_from(work / by).unwrap_or(u64::MAX), (work % by) as u64)
        }
    }
}

fn nanoseconds(nanoseconds: u128) -> Duration {
    let seconds = u64::try_from(nanoseconds / 1_000_000_000).unwrap_or(u64::MAX);
    Duration::new(seconds, (nanoseconds % 1_000_000_000) as u32)
}

/// An independent sequence of random draws.
#[derive(Debug, Clone)]
pub(super) struct Draws {
    seed: u64,
    drawn: u64,
}

impl Draws {
    pub(super) fn new(seed: u64) -> Self {
        Draws { seed, drawn: 0 }
    }

    fn next(&mut self) -> u64 {
        self.drawn += 1;
        splitmix64(self.seed, self.drawn)
    }

    /// Returns a draw from 0 to below 1.
    fn share(&mut self) -> f64 {
        uniform(self.next())
    }
}

/// How late pieces are: normally distributed, and never early.
#[derive(Debug, Clone)]
pub(super) struct Jitter {
    deviation: Duration,
    draws: Draws,
    late: Duration,
    /// Until when `late` applies.
    until: Duration,
}

impl Jitter {
    pub(super) fn new(deviation: Duration, draws: Draws) -> Self {
        Jitter { deviation, draws, late: Duration::ZERO, until: Duration::ZERO }
    }

    /// Returns how late a piece is that leaves at `left`.
    fn late(&mut self, left: Duration) -> Duration {
        if left >= self.until && !self.deviation.is_zero() {
            self.late = self.draw();
            self.until = left + JITTER_HOLDS;
        }
        self.late
    }

    /// Draws a lateness. Twelve uniform draws of 16 bits add up to a normal one with a deviation of 65536, cut off at
    /// six deviations. Only whole numbers are used, so that every machine gets the same result.
    pub(super) fn draw(&mut self) -> Duration {
        let draws = [self.draws.next(), self.draws.next(), self.draws.next()];
        let sum: i64 = draws
            .iter()
            .flat_map(|draw| [draw & 0xffff, draw >> 16 & 0xffff, draw >> 32 & 0xffff, draw >> 48])
            .map(|draw| draw as i64)
            .sum();
        let late = u128::try_from(sum - 6 * 0xffff).unwrap_or(0);
        nanoseconds(self.deviation.as_nanos() * late / 65536)
    }
}

/// Losses in bursts: two states, one of which loses every segment (Gilbert 1960).
#[derive(Debug, Clone)]
struct Losses {
    loss: f64,
    begins: f64,
    in_burst: bool,
    first: Draws,
    again: Draws,
}

impl Losses {
    fn new(loss: f64, first: Draws, again: Draws) -> Self {
        // A profile built by hand may hold anything; with NaN no comparison below is true, and nothing is lost.
        let loss = loss.clamp(0.0, 1.0);
        // So that a fraction of `loss` is lost in the long run.
        let begins = loss / (BURST_SEGMENTS * (1.0 - loss));
        Losses { loss, begins, in_burst: false, first, again }
    }

    /// Sends segments. Returns how many were lost, and how long the last of them then waits.
    ///
    /// If a segment after the lost ones arrives, the sender learns of the loss within a round trip (RFC 8985). If the
    /// lost ones are the last, it learns from its next segment or by its timeout. A retransmission may be lost too;
    /// then timeouts follow, each twice as long (RFC 6298).
    fn wait(
        &mut self,
        segments: u64,
        rtt: Duration,
        told_after: Duration,
        timeout: Duration,
    ) -> (u64, Duration) {
        if self.loss == 0.0 {
            return (0, Duration::ZERO);
        }
        let mut lost = 0;
        for _ in 0..segments {
            let draw = self.first.share();
            self.in_burst =
                if self.in_burst { draw >= 1.0 / BURST_SEGMENTS } else { draw < self.begins };
            lost += u64::from(self.in_burst);
        }
        if lost == 0 {
            return (0, Duration::ZERO);
        }
        let mut wait = if self.in_burst { told_after } else { rtt };
        let mut next = timeout;
        for _ in 0..ATTEMPTS {
            if self.again.share() >= self.loss {
                break;
            }
            wait += next;
            next = (next * 2).min(MAX_TIMEOUT);
        }
        (lost, wait)
    }
}

/// When the link is down.
#[derive(Debug, Clone)]
pub(super) struct Outages {
    every: u128,
    up: u128,
    /// How far into its period the link starts.
    phase: u128,
}

impl Outages {
    /// Returns the outages of a link, which all its connections share.
    pub(super) fn of(profile: &LinkProfile, seed: u64) -> Option<Self> {
        profile.outage.map(|outage| Outages::new(outage, splitmix64(seed, 2)))
    }

    /// The link starts anywhere in the period; otherwise a short run would never meet an outage.
    fn new(outage: Outage, draw: u64) -> Self {
        let every = outage.every.as_nanos().max(1);
        let up = outage.every.saturating_sub(outage.lasts).as_nanos();
        Outages { every, up, phase: u128::from(draw) % every }
    }

    /// Returns how far into its period the link is.
    fn position(&self, at: Duration) -> u128 {
        (at.as_nanos() + self.phase) % self.every
    }

    /// Returns whether the link is up, and until when that stays so.
    #[cfg(target_os = "linux")]
    pub(super) fn phase(&self, at: Duration) -> (bool, Duration) {
        let position = self.position(at);
        let (up, end) = if position < self.up { (true, self.up) } else { (false, self.every) };
        (up, at + nanoseconds(end - position))
    }

    /// Returns when something arrives that would arrive at `at`: then, or with the first retransmission that finds the
    /// link up.
    fn after(&self, at: Duration, timeout: Duration) -> Duration {
        let (mut at, mut wait) = (at, timeout);
        for _ in 0..ATTEMPTS {
            if self.position(at) < self.up {
                return at;
            }
            at += wait;
            wait = (wait * 2).min(MAX_TIMEOUT);
        }
        match self.position(at) {
            position if position < self.up => at,
            position => at + nanoseconds(self.every - position),
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn an_outage_says_until_when_it_is_as_it_is() {
        let s = Duration::from_secs;
        let outages = Outages::new(Outage { every: s(10), lasts: s(3) }, 0);
        let phase = |at| outages.phase(at);
        assert_eq!(phase(s(0)), (true, s(7)));
        assert_eq!(phase(s(6)), (true, s(7)));
        assert_eq!(phase(s(7)), (false, s(10)));
        assert_eq!(phase(s(25)), (true, s(27)));
        let later = Outages::new(Outage { every: s(10), lasts: s(3) }, 8_000_000_000);
        assert_eq!(later.phase(s(0)), (false, s(2)));
        assert_eq!(later.phase(s(2)), (true, s(9)));
    }
}
