//! Puts into words what was found out about nodes. Nothing is asked here.

use std::time::{Duration, SystemTime};

use cli::{CertificateFacts, Description, Examination, NodeAddress};
use thinking::{
    policy::Role,
    thinker::{Code, Load, ModelCard, ThoughtStart},
};

use super::Check;

/// A certificate that expires within this time should be renewed.
const SOON: Duration = Duration::from_secs(30 * 24 * 3600);
/// How far two clocks may differ, in seconds, before a note says so. Nodes report whole seconds.
const SAME_CLOCK_S: i64 = 5;
/// What a check of all nodes together is about.
const ALL: &str = "all nodes";

/// Returns the checks of a node, in order, up to the first step that failed.
pub(super) fn checks(about: &str, address: &NodeAddress, found: &Examination) -> Vec<Check> {
    let mut checks = Vec::new();
    match &found.addresses {
        Ok(addresses) => {
            let numbers: Vec<String> = addresses.iter().map(|it| it.ip().to_string()).collect();
            checks.push(Check::ok(about, "name", numbers.join(", ")));
        }
        Err(why) => {
            let says = format!("{} does not resolve ({why})", address.host());
            let remedy = "check the spelling, or write the machine's IP address";
            checks.push(Check::fail(about, "name", says).remedy(remedy));
        }
    }
    match &found.port {
        Some(Ok(time)) => {
            let says = format!("{} accepts connections, in {}", address.port(), shown(*time));
            checks.push(Check::ok(about, "port", says));
        }
        Some(Err(why)) => {
            let says = format!("cannot connect to {} ({why})", address.port());
            let remedy = "check that the node runs, that it listens on this port and not only on loopback, and that no \
                        firewall is in between";
            checks.push(Check::fail(about, "port", says).remedy(remedy));
        }
        None => {}
    }
    checks.extend(secured(about, address, found));
    match &found.description {
        Some(Ok(description)) => checks.extend(described(about, description)),
        Some(Err(failure)) => {
            let check = match failure.code {
                Code::Unauthenticated => "credential",
                Code::UnsupportedVersion => "version",
                _ => "answer",
            };
            checks.push(Check::fail(about, check, failure.to_string()));
        }
        None => {}
    }
    checks
}

/// Returns the checks of the certificates and of the connection.
fn secured(about: &str, address: &NodeAddress, found: &Examination) -> Vec<Check> {
    let mut checks = Vec::new();
    match &found.connection {
        Some(Ok(())) if address.tls() => checks.push(Check::ok(about, "TLS", "connected")),
        Some(Ok(())) => checks.push(Check::ok(about, "TLS", "none: plain text")),
        Some(Err(why)) if address.tls() => checks.push(Check::fail(about, "TLS", why.clone())),
        Some(Err(why)) => checks.push(Check::fail(about, "connection", why.clone())),
        None => {}
    }
    if let Some(facts) = &found.certificate {
        let names = match facts.names.as_slice() {
            [] => "no name".to_owned(),
            names => names.join(", "),
        };
        let says = format!("for {names}, valid until {}", facts.last_day());
        checks.push(lasting(about, "certificate", says, facts));
    }
    if let Some(facts) = &found.own_certificate {
        let says = format!("{}, valid until {}", facts.subject, facts.last_day());
        checks.push(lasting(about, "ours", says, facts));
    }
    checks
}

/// Returns the check of a certificate: whether it is valid, and for long enough.
fn lasting(about: &str, check: &'static str, says: String, facts: &CertificateFacts) -> Check {
    #[expect(clippy::disallowed_methods, reason = "whether a certificate is valid depends on it")]
    let now = SystemTime::now();
    let renew = "renew it, with `specthink certs --renew` if that made it";
    if !facts.is_valid_at(now) {
        return Check::fail(about, check, format!("{says}: it is not valid now")).remedy(renew);
    }
    if !facts.is_valid_at(now + SOON) {
        return Check::note(about, check, says).remedy(renew);
    }
    Check::ok(about, check, says)
}

fn described(about: &str, description: &Description) -> Vec<Check> {
    let Description { version, card, load, clock_ahead_s, round_trip, bytes_per_second } =
        description;
    let context = match card.context_tokens {
        u32::MAX => "of unknown length".to_owned(),
        tokens => format!("{tokens} tokens"),
    };
    let mut checks = vec![
        Check::ok(about, "version", format!("protocol {version}")),
        Check::ok(about, "model", format!("{}, context {context}, on {}", card.name, card.device)),
    ];
    checks.push(match clock_ahead_s {
        None => Check::note(about, "clock", "it reports no time"),
        Some(ahead) if ahead.abs() <= SAME_CLOCK_S => {
            Check::ok(about, "clock", format!("within {SAME_CLOCK_S} s of ours"))
        }
        Some(ahead) => {
            let way = if *ahead > 0 { "ahead of" } else { "behind" };
            let says = format!("{} s {way} ours", ahead.abs());
            let remedy =
                "synchronise both clocks by NTP: the validity of certificates depends on them";
            Check::note(about, "clock", says).remedy(remedy)
        }
    });
    let rate = match bytes_per_second {
        Some(rate) => format!(", {} MB/s to it", (rate / 1e5).round() / 10.0),
        None => String::new(),
    };
    checks.push(Check::ok(about, "way", format!("round trip {}{rate}", shown(*round_trip))));
    checks.extend(load.as_ref().map(|load| busy(about, load)));
    checks
}

/// Returns the check of how busy a node is.
fn busy(about: &str, load: &Load) -> Check {
    let Load { sessions, max_sessions, waiting, writing, .. } = load;
    let mut says =
        format!("{sessions} of {max_sessions} sessions, {writing} writing, {waiting} waiting");
    if let Some(tokens) = load.free_cache_tokens {
        says += &format!(", room in the cache for {tokens} tokens");
    }
    for (rate, what) in
        [(load.prefill_tokens_per_s, "prefill"), (load.decode_tokens_per_s, "decode")]
    {
        if rate > 0.0 {
            says += &format!(", {what} {} tokens/s", rate.round());
        }
    }
    if load.is_full() {
        let remedy = "raise --max-sessions if memory allows, or add a node";
        return Check::note(about, "load", says).remedy(remedy);
    }
    Check::ok(about, "load", says)
}

/// Returns the checks of whether the nodes suit each other.
pub(super) fn agreement(cards: &[(Role, ModelCard)]) -> Vec<Check> {
    let of = |role: Role| cards.iter().filter(move |(part, _)| *part == role).map(|(_, card)| card);
    let mut checks = Vec::new();
    for role in [Role::Small, Role::Large] {
        let mut models: Vec<&str> = of(role).map(|card| card.name.as_str()).collect();
        models.dedup();
        if models.len() > 1 {
            let says = format!("the {role} nodes serve different models: {}", models.join(", "));
            let remedy = "the nodes of a pool must serve the same model: start all of them with it, or leave one out";
            checks.push(Check::fail(ALL, "models", says).remedy(remedy));
        }
    }
    let (Some(small), Some(large)) = (of(Role::Small).next(), of(Role::Large).next()) else {
        return checks;
    };
    checks.push(if small.tokenizer_fingerprint == large.tokenizer_fingerprint {
        Check::ok(ALL, "tokenizers", "the same: token ids are sent along with the text")
    } else {
        Check::ok(
            ALL,
            "tokenizers",
            "different: each node tokenizes the other's text, which costs a little time",
        )
    });
    checks.push(match (small.thought, large.thought) {
        (ThoughtStart::Unknown, _) | (_, ThoughtStart::Unknown) => Check::note(
            ALL,
            "thinking",
            "a node does not say what its template does about thoughts",
        )
        .remedy("update it if it is older than this program"),
        (small, large) if small == large => {
            Check::ok(ALL, "thinking", "both templates leave the thought in the same state")
        }
        _ => Check::ok(
            ALL,
            "thinking",
            "the templates differ: the large model's prompt is made to end as the small one's does",
        ),
    });
    checks.push(if large.can_review {
        Check::ok(ALL, "review", "the large node can review")
    } else {
        Check::note(ALL, "review", "the large node cannot review")
            .remedy("choose a policy without review, or a node that computes its model itself")
    });
    checks
}

/// Formats a time for people.
fn shown(time: Duration) -> String {
    match time.as_micros() {
        us @ 0..1_000 => format!("{us} µs"),
        us @ 1_000..10_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        us => format!("{:.1} s", us as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use thinking::thinker::Failure;

    use super::{super::State, *};

    fn unreached() -> Examination {
        Examination {
            addresses: Ok(vec!["10.0.0.7:7102".parse().unwrap()]),
            port: None,
            certificate: None,
            own_certificate: None,
            connection: None,
            description: None,
        }
    }

    fn card(fingerprint: &str, thought: ThoughtStart, can_review: bool) -> ModelCard {
        let tokenizer_fingerprint = fingerprint.to_owned();
        ModelCard { tokenizer_fingerprint, thought, can_review, ..ModelCard::default() }
    }

    /// Returns the check that failed, with what it says and what to do.
    fn fault(found: &Examination) -> (&'static str, String) {
        let checks = checks("node", &"https://gpu:7102".parse().unwrap(), found);
        let last = checks.last().unwrap();
        assert_eq!(last.state, State::Fail, "{checks:?}");
        assert_eq!(checks.iter().filter(|check| check.state == State::Fail).count(), 1);
        (last.check, format!("{}: {}", last.says, last.remedy.unwrap_or_default()))
    }

    #[test]
    fn the_step_that_failed_is_the_last_one_and_says_what_to_do() {
        let port = Some(Ok(Duration::from_micros(90)));
        let failure = |code, text: &str| Some(Err(Failure::new(code, text)));
        for (found, check, words) in [
            (
                Examination { addresses: Err("unknown".to_owned()), ..unreached() },
                "name",
                "gpu does not resolve (unknown): check the spelling",
            ),
            (
                Examination { port: Some(Err("refused".to_owned())), ..unreached() },
                "port",
                "cannot connect to 7102 (refused): check that the node runs",
            ),
            (
                Examination {
                    port: port.clone(),
                    connection: Some(Err("the certificate expired: renew it".to_owned())),
                    ..unreached()
                },
                "TLS",
                "the certificate expired: renew it",
            ),
            (
                Examination {
                    port: port.clone(),
                    connection: Some(Ok(())),
                    description: failure(Code::Unauthenticated, "it wants a token"),
                    ..unreached()
                },
                "credential",
                "it wants a token",
            ),
            (
                Examination {
                    port,
                    connection: Some(Ok(())),
                    description: failure(Code::UnsupportedVersion, "it speaks 2"),
                    ..unreached()
                },
                "version",
                "it speaks 2",
            ),
        ] {
            let (failed, line) = fault(&found);
            assert_eq!(failed, check);
            assert!(line.contains(words), "{line}");
        }
    }

    #[test]
    fn a_wrong_clock_is_reported_with_its_offset() {
        for (ahead, state, words) in [
            (Some(3), State::Ok, "within"),
            (Some(90), State::Note, "90 s ahead of ours"),
            (Some(-7), State::Note, "7 s behind ours"),
            (None, State::Note, "no time"),
        ] {
            let description = Description {
                version: 1,
                card: ModelCard::default(),
                clock_ahead_s: ahead,
                load: None,
                round_trip: Duration::from_millis(12),
                bytes_per_second: Some(12_340_000.0),
            };
            let checks = described("node", &description);
            let clock = checks.iter().find(|check| check.check == "clock").unwrap();
            assert_eq!(clock.state, state);
            assert!(clock.says.contains(words), "{clock:?}");
            let way = checks.iter().find(|check| check.check == "way").unwrap();
            assert_eq!(way.says, "round trip 12.0 ms, 12.3 MB/s to it");
        }
    }

    #[test]
    fn nodes_that_suit_each_other_and_that_do_not() {
        use ThoughtStart::{Open, Unknown, Unopened};
        let states = |small, large| {
            let checks = agreement(&[(Role::Small, small), (Role::Large, large)]);
            checks.iter().map(|check| check.state).collect::<Vec<_>>()
        };
        let small = || card("a", Open, true);
        assert_eq!(states(small(), small()), [State::Ok; 3]);
        assert_eq!(states(small(), card("b", Unopened, true)), [State::Ok; 3]);
        assert_eq!(
            states(small(), card("a", Unknown, false)),
            [State::Ok, State::Note, State::Note]
        );
        let named =
            |name: &str| (Role::Large, ModelCard { name: name.to_owned(), ..ModelCard::default() });
        let checks = agreement(&[named("one"), named("two")]);
        assert!(checks[0].says.contains("different models: one, two"), "{checks:?}");
        assert!(agreement(&[(Role::Small, small())]).is_empty());
    }
}
