//! Profiles: the built-in ones, descriptions, a user's files, and the message for each mistake.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use lab::link::{LinkError, LinkProfile, Links, Outage, Rate};
use proptest::prelude::*;

fn links() -> Links {
    Links::shipped().unwrap()
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn mbit(mbit: u64) -> Option<Rate> {
    Rate::new(mbit * 1_000_000).ok()
}

/// The message for a user who requests this link.
fn told(link: &str) -> String {
    let told = links().link(link).unwrap_err().to_string();
    assert!(!told.contains('\n'), "one line: {told}");
    told
}

#[test]
fn the_links_that_ship_are_there_and_each_says_where_it_comes_from() {
    let links = links();
    let names: Vec<&str> = links.iter().map(|profile| profile.name.as_str()).collect();
    let all = "loopback datacentre lan wifi-good fibre-metro wifi-mobile-median 5g 4g-good 4g-median \
               3g-median leo geo regional transatlantic antipodal flaky";
    assert_eq!(names.join(" "), all);
    assert!(links.iter().all(|profile| !profile.basis.is_empty()));
    let flaky = links.link("flaky").unwrap();
    assert_eq!((flaky.rtt, flaky.jitter, flaky.loss), (ms(60), ms(30), 0.02));
    assert_eq!((flaky.down, flaky.up), (mbit(10), mbit(5)));
    assert_eq!(flaky.outage, Some(Outage { every: ms(60_000), lasts: ms(5_000) }));
    let loopback = links.link("loopback").unwrap();
    let nothing = LinkProfile {
        name: loopback.name.clone(),
        basis: loopback.basis.clone(),
        ..LinkProfile::default()
    };
    assert_eq!(loopback, nothing);
}

#[test]
fn a_link_can_be_described() {
    let text = "rtt=90ms,jitter=3ms,down=100mbit,up=20mbit,loss=0.5%,outage=5s/1m,reset=45s";
    let link = links().link(text).unwrap();
    assert_eq!((link.rtt, link.jitter, link.loss), (ms(90), ms(3), 0.005));
    assert_eq!((link.down, link.up), (mbit(100), mbit(20)));
    assert_eq!(link.outage, Some(Outage { every: ms(60_000), lasts: ms(5_000) }));
    assert_eq!((link.reset, link.name.as_str()), (Some(ms(45_000)), text));
    assert_eq!(link.to_string(), text);
}

#[test]
fn a_description_may_begin_with_the_profile_that_it_changes() {
    let good = links().link("4g-good").unwrap();
    let worse = links().link("4g-good, loss=2%, down=unlimited").unwrap();
    assert_eq!((worse.loss, worse.down, worse.up), (0.02, None, good.up));
    assert_eq!((worse.rtt, worse.jitter), (good.rtt, good.jitter));
    assert_eq!(links().link("flaky,outage=none").unwrap().outage, None);
}

#[test]
fn an_unknown_name_is_told_the_nearest_ones() {
    let text = "no link is called \"4g-god\"; the nearest: 4g-good, or describe one, \
                such as rtt=90ms,down=100mbit,loss=0.5%";
    assert_eq!(told("4g-god"), text);
    assert!(told("4g").contains("the nearest: 4g-good, 4g-median, "), "{}", told("4g"));
    assert!(told("FLAKY").contains("the nearest: flaky"));
    assert!(told("carrier-pigeon").contains("there are loopback, datacentre, lan, "));
}

#[test]
fn each_mistake_is_told_in_one_line_with_its_mend() {
    for (link, part) in [
        ("", "an element is empty"),
        ("rtt=9ms,,loss=1%", "an element is empty; remove the extra comma"),
        ("rtt=9ms,lan", "\"lan\" has no value; write rtt=90ms"),
        ("lan,rate=9mbit", "a link has no \"rate\"; did you mean rtt?"),
        ("jiter=9ms", "a link has no \"jiter\"; did you mean jitter?"),
        ("rtt=9ms,rtt=8ms", "rtt is given twice; keep one"),
        ("rtt=-5ms", "rtt=-5ms is not valid; give a time from 0s to 1m"),
        ("rtt=90", "rtt=90 is not valid"),
        ("rtt=", "rtt= is not valid"),
        ("rtt=2h", "rtt=2h is not valid"),
        ("rtt=NaN", "rtt=NaN is not valid"),
        ("loss=100%", "loss=100% is not valid; give at most 50%"),
        ("loss=-1%", "loss=-1% is not valid; give a percentage"),
        ("loss=NaN%", "loss=NaN% is not valid; give a percentage"),
        ("loss=inf%", "loss=inf% is not valid"),
        ("loss=0.5", "loss=0.5 is not valid; give a percentage from 0% to 50%, such as 0.5%"),
        ("down=0mbit", "down=0mbit is not valid; give a number with kbit, mbit or gbit"),
        ("up=-1mbit", "up=-1mbit is not valid"),
        ("up=20", "up=20 is not valid"),
        ("rtt=20ms,jitter=30ms", "jitter=30ms is more than rtt=20ms; rtt is the least"),
        ("wifi-good,rtt=1ms", "jitter=3ms is more than rtt=1ms"),
        ("outage=60s/5s", "outage=60s/5s leaves no time between outages"),
        ("outage=5s/5s", "leaves no time between outages"),
        ("outage=0s/5s", "outage=0s/5s is not valid; give how long it lasts"),
        ("outage=5s", "outage=5s is not valid; give how long it lasts"),
        ("outage=1s/2days", "is not valid"),
        ("reset=0s", "reset=0s is not valid; give the age"),
    ] {
        assert!(told(link).contains(part), "{link}: {}", told(link));
    }
}

#[test]
fn a_user_has_a_file_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mine.toml");
    let text = "[[link]]\nname = \"home\"\nrtt = \"12ms\"\ndown = \"50mbit\"\nbasis = \"ping\"\n\n\
                [[link]]\nname = \"lan\"\nrtt = \"2ms\"\n";
    std::fs::write(&path, text).unwrap();
    let links = links().and(Links::read(&path).unwrap());
    assert_eq!(links.link("home").unwrap().down, mbit(50));
    assert_eq!(links.link("lan").unwrap().rtt, ms(2));
    assert_eq!(links.iter().filter(|profile| profile.name == "lan").count(), 1);
    assert_eq!(links.link("home,up=1mbit").unwrap().up, mbit(1));
}

#[test]
fn each_mistake_in_a_file_says_where_it_is() {
    let told = |text: &str| Links::parse("mine.toml", text).unwrap_err().to_string();
    for (text, part) in [
        ("", "mine.toml has no link: write [[link]]"),
        ("[[link]]\nname = 3\n", "mine.toml, line 2: invalid type: integer `3`, expected a string"),
        ("[[link]]\nname = \"a\"\nrtt = \n", "mine.toml, line 3: "),
        ("[[links]]\nname = \"a\"\n", "mine.toml, line 1: unknown field `links`, expected `link`"),
        ("[[link]]\nrtt = \"1ms\"\n", "mine.toml, link 1: \"\" is not a valid name"),
        ("[[link]]\nname = \"a,b\"\n", "mine.toml, link a,b: \"a,b\" is not a valid name"),
        ("[[link]]\nname = \"a\"\nrtt = \"x\"\n", "mine.toml, link a: rtt=x is not valid"),
        (
            "[[link]]\nname = \"a\"\nrrt = \"x\"\n",
            "link a: a link has no \"rrt\"; did you mean rtt?",
        ),
        ("[[link]]\nname=\"a\"\n[[link]]\nname=\"a\"\n", "link a: an earlier link has this name"),
    ] {
        assert!(told(text).contains(part), "{text}: {}", told(text));
        assert!(!told(text).contains('\n'), "one line: {}", told(text));
    }
    let missing = Links::read(std::path::Path::new("/nowhere/links.toml")).unwrap_err();
    assert_eq!(missing, LinkError::Missing { path: "/nowhere/links.toml".to_owned() });
}

fn any_profile() -> impl Strategy<Value = LinkProfile> {
    let rate =
        proptest::option::of((1_000u64..=1_000_000_000_000).prop_map(|bits| Rate::new(bits).ok()));
    let time = |most: u64| (0..=most).prop_map(Duration::from_micros);
    let outage =
        proptest::option::of((1u64..1_000_000, 1u64..1_000_000).prop_map(|(lasts, up)| Outage {
            lasts: Duration::from_micros(lasts),
            every: Duration::from_micros(lasts + up),
        }));
    let reset = proptest::option::of((1u64..=86_400).prop_map(Duration::from_secs));
    let loss = (0u32..=500_000).prop_map(|millionths| f64::from(millionths) / 10_000.0 / 100.0);
    (time(60_000_000), 0.0..=1.0f64, rate.clone(), rate, loss, outage, reset).prop_map(
        |(rtt, jitter, down, up, loss, outage, reset)| LinkProfile {
            rtt,
            jitter: rtt.mul_f64(jitter).min(rtt),
            down: down.flatten(),
            up: up.flatten(),
            loss,
            outage,
            reset,
            ..LinkProfile::default()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn what_is_written_is_read_back(profile in any_profile()) {
        let read = links().link(&profile.to_string()).unwrap();
        prop_assert_eq!(LinkProfile { name: String::new(), basis: String::new(), ..read }, profile);
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,40}", key in "(rtt|jitter|down|up|loss|outage|reset)=\\PC{0,12}") {
        let _ = links().link(&text);
        let _ = links().link(&key);
        let _ = Links::parse("x", &text);
    }
}
