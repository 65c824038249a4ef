//! Single turns of the thread. The work of the other threads is done when the test says so.

use std::{path::PathBuf, sync::atomic::AtomicU64};

use text::Tokenizer;
use thinking::thinker::{
    Append, Command, Cut, Event, ModelCard, Open, Prompt, Propose, Review, Sampling, Session,
    TextEnd, TextHash, ThoughtStart,
};

use super::*;
use crate::{
    encoder::Encoder,
    model::{
        LoadOptions, LoadedModel, TokenizerSource, load_model,
        testing::{Fault, FaultSwitch, Faulty},
    },
    preparer::Preparer,
};

/// A model with one token for a byte, and a context of 1024 tokens at most.
struct Stage {
    scheduler: Scheduler,
    arrivals: mpsc::Sender<Arrival>,
    encoded_bytes: Arc<AtomicU64>,
}

impl Stage {
    fn new(context: usize) -> Stage {
        Stage::with_memory(context, 1 << 30)
    }

    /// Makes one whose caches take at most `kv_bytes` bytes.
    fn with_memory(context: usize, kv_bytes: u64) -> Stage {
        Stage::over(tiny(), context, kv_bytes)
    }

    /// Makes one whose device can be made to fail.
    fn on_faulty_device() -> (Stage, FaultSwitch) {
        let loaded = tiny();
        let (decoder, fault) = Faulty::new(loaded.decoder);
        let loaded = LoadedModel { decoder: Box::new(decoder), ..loaded };
        (Stage::over(loaded, 1024, 1 << 30), fault)
    }

    fn over(loaded: LoadedModel, context: usize, kv_bytes: u64) -> Stage {
        let LoadedModel { decoder, tokenizer, .. } = loaded;
        let TokenizerSource::Json(path) = tokenizer else { unreachable!() };
        let encoded_bytes = Arc::<AtomicU64>::default();
        let tokenizer = Tokenizer::from_json(&path).unwrap().for_context(context);
        let encoder = Arc::new(Encoder::new(tokenizer, Arc::clone(&encoded_bytes)));
        let kv = KvStore::new(Arc::clone(decoder.ledger()), kv_bytes);
        let host = ModelHost {
            decoder,
            preparer: Arc::new(Preparer::without_threads(Arc::clone(&encoder))),
            encoder,
            card: ModelCard { can_review: true, ..ModelCard::default() },
            context,
            max_sessions: 2,
            prefill_chunk_tokens: 4,
            pace: None,
            deadline_grace: Duration::from_secs(10),
            computed_tokens: Arc::default(),
            meter: Default::default(),
        };
        let (arrivals, arriving) = mpsc::channel(8);
        Stage { scheduler: Scheduler::new(host, kv, arriving), arrivals, encoded_bytes }
    }

    fn session(&self) -> Session {
        let (session, server) = Session::channel();
        let client = ClientId::default();
        self.arrivals.try_send(Arrival { client, server }).unwrap_or_else(|_| unreachable!());
        session
    }

    fn turn(&mut self) -> Turn {
        self.scheduler.turn(&mut Context::from_waker(Waker::noop()))
    }

    /// Takes turns until there is nothing to do.
    fn turns(&mut self) {
        while self.turn() == Turn::Worked {}
    }

    /// Takes turns, and encodes what they wait for.
    fn everything(&mut self) {
        for _ in 0..4 {
            self.turns();
            self.scheduler.host.preparer.run_all();
        }
        self.turns();
    }

    fn opened(&mut self, committed: &str) -> Session {
        let mut session = self.session();
        send(&session, open(committed, None));
        self.everything();
        assert_eq!(events(&mut session), ["opened", "warmed"]);
        session
    }

    fn encoded_bytes(&self) -> u64 {
        self.encoded_bytes.load(Ordering::Relaxed)
    }
}

fn tiny() -> LoadedModel {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/tiny-llama");
    let location = PathBuf::from(folder).as_path().into();
    load_model(&location, &LoadOptions::default(), &mut |_| {}).unwrap()
}

fn open(committed: &str, deadline: Option<Duration>) -> Command {
    Command::Open(Open {
        question_id: "test".into(),
        prompt: Prompt::Raw("What is 7 times 8?".into()),
        committed: committed.into(),
        sampling: Sampling { repetition_penalty: 1.0, ..Sampling::default() },
        deadline,
        thought: ThoughtStart::Unknown,
        review: None,
    })
}

/// Opens a session that objects only to what is very unlikely.
fn reviewing(committed: &str) -> Command {
    let Command::Open(open) = open(committed, None) else { unreachable!() };
    let review = Review { gap: f32::MAX, from_byte: 0, skip_openings: false, draw: None };
    Command::Open(Open { review: Some(review), ..open })
}

fn append(text: &str) -> Command {
    Command::Append(Append::text(text))
}

fn propose(max_tokens: u32) -> Command {
    Command::Propose(Propose {
        max_tokens,
        stop: Vec::new(),
        watch: None,
        seed: 1,
        report_entropy: false,
    })
}

fn send(session: &Session, command: Command) {
    session.commands.try_send(command).unwrap();
}

/// Returns the kinds of the events that came.
fn events(session: &mut Session) -> Vec<String> {
    let mut came = Vec::new();
    while let Ok(event) = session.events.try_recv() {
        came.push(match event {
            Event::Opened(_) => "opened".to_owned(),
            Event::Delta(_) => continue,
            Event::Finished(_) => "finished".to_owned(),
            Event::Warmed(_) => "warmed".to_owned(),
            Event::Objection(_) => "objection".to_owned(),
            Event::Failed(failure) => format!("failed: {:?}", failure.code),
        });
    }
    came
}

#[test]
fn a_device_that_failed_for_good_ends_every_session_and_the_thread() {
    let (mut stage, fault) = Stage::on_faulty_device();
    let mut sessions = [stage.opened("So "), stage.opened("Now ")];
    fault.set(Fault::Fails);
    send(&sessions[0], propose(3));
    stage.turns();
    assert_eq!(events(&mut sessions[0]), ["failed: Internal"], "the device may recover");
    fault.set(Fault::Lost);
    sessions[0] = stage.session();
    send(&sessions[1], propose(3));
    let Turn::Lost(why) = stage.turn() else { panic!("it goes on") };
    assert_eq!(why, "no kernel image");
    for session in &mut sessions {
        assert_eq!(events(session), ["failed: Unavailable"]);
    }
}

#[test]
fn a_device_that_fails_while_nothing_is_computed_is_noticed_by_the_next_session() {
    let (mut stage, fault) = Stage::on_faulty_device();
    stage.turns();
    fault.set(Fault::Lost);
    let mut session = stage.session();
    send(&session, open("So ", None));
    let mut last = Turn::Idle;
    for _ in 0..4 {
        stage.scheduler.host.preparer.run_all();
        last = stage.turn();
        if matches!(last, Turn::Lost(_)) {
            break;
        }
    }
    assert_eq!(last, Turn::Lost("no memory on a device that is gone".to_owned()));
    assert_eq!(events(&mut session).last().unwrap(), "failed: Unavailable");
}

#[test]
fn a_text_that_is_being_encoded_holds_up_nobody_else() {
    let mut stage = Stage::new(1024);
    let mut quick = stage.opened("So ");
    let mut slow = stage.session();
    send(&slow, open("So ", None));
    send(&quick, propose(5));
    stage.turns();
    // Nothing was rendered or encoded yet.
    assert_eq!(events(&mut slow), [""; 0]);
    assert_eq!(events(&mut quick), ["finished"]);
    stage.everything();
    assert_eq!(events(&mut slow), ["opened", "warmed"]);

    send(&quick, Command::Commit { bytes: 0 });
    stage.turns();
    assert_eq!(events(&mut quick), ["warmed"]);
    send(&slow, append(&"long ".repeat(110)));
    send(&quick, propose(5));
    stage.turns();
    assert_eq!(events(&mut slow), [""; 0]);
    assert_eq!(events(&mut quick), ["finished"]);
    stage.everything();
    assert_eq!(events(&mut slow), ["warmed"]);
}

#[test]
fn commands_keep_their_order_behind_a_text_that_is_being_encoded() {
    let mut stage = Stage::new(1024);
    let mut session = stage.session();
    let long = "long ".repeat(110);
    for command in
        [open("So ", None), append("a"), append(&long), Command::Cancel, append("b"), propose(3)]
    {
        send(&session, command);
    }
    stage.turns();
    assert_eq!(events(&mut session), [""; 0]);
    stage.everything();
    assert_eq!(
        events(&mut session),
        ["opened", "warmed", "warmed", "warmed", "warmed", "finished"]
    );
    // Half-closed while a text is encoded: the text is answered, and then the events end.
    drop(session);
    let mut session = stage.opened("");
    send(&session, append(&long));
    drop(std::mem::replace(&mut session.commands, mpsc::channel(1).0));
    stage.turns();
    assert_eq!(events(&mut session), [""; 0]);
    stage.everything();
    assert_eq!(events(&mut session), ["warmed"]);
    assert!(stage.scheduler.sessions.is_empty());
}

#[test]
fn a_long_text_is_taken_in_beside_the_engines_thread() {
    let mut stage = Stage::new(1024);
    let mut session = stage.session();
    let (begun, long) = ("So ".repeat(100), "long ".repeat(103));
    send(&session, open(&begun, None));
    stage.turns();
    let committed = |stage: &Stage| stage.scheduler.sessions[0].committed_bytes();
    assert_eq!(committed(&stage), 0, "neither copied nor hashed yet");
    stage.everything();
    assert_eq!(committed(&stage), begun.len());
    send(&session, append(&long));
    stage.turns();
    assert_eq!(committed(&stage), begun.len());
    stage.everything();
    assert_eq!(committed(&stage), begun.len() + long.len());
    let mut hashes = Vec::new();
    while let Ok(event) = session.events.try_recv() {
        if let Event::Warmed(warmed) = event {
            hashes.push(warmed.hash);
        }
    }
    assert_eq!(hashes, [TextHash::of(&begun), TextHash::of(&(begun + &long))]);
}

/// Returns the passes that were reported to a session, in thousandths.
fn passes_milli(session: &mut Session) -> u32 {
    let mut told = 0;
    while let Ok(event) = session.events.try_recv() {
        told += match event {
            Event::Warmed(warmed) => warmed.passes_milli,
            Event::Finished(finished) => finished.passes_milli,
            _ => 0,
        };
    }
    told
}

#[test]
fn each_session_is_told_its_part_of_the_passes() {
    let mut stage = Stage::new(1024);
    let mut alone = stage.session();
    // 18 tokens of the prompt, in chunks of 4, and 3 tokens that are made.
    for command in [open("", None), propose(3)] {
        send(&alone, command);
    }
    stage.everything();
    assert_eq!(passes_milli(&mut alone), 5000 + 2000);
    send(&alone, Command::Commit { bytes: 0 });
    stage.everything();
    assert_eq!(passes_milli(&mut alone), 0, "nothing is reported twice");
    let mut other = stage.opened("");
    passes_milli(&mut other);
    for session in [&alone, &other] {
        send(session, append("ab"));
    }
    stage.everything();
    // Both wait, and fit one pass.
    assert_eq!((passes_milli(&mut alone), passes_milli(&mut other)), (500, 500));
}

#[test]
fn a_deadline_wakes_the_thread_while_a_text_is_encoded() {
    let mut stage = Stage::new(1024);
    let mut session = stage.session();
    let (began, deadline) = (Instant::now(), Duration::from_secs(10));
    send(&session, open("So ", Some(deadline)));
    stage.turns();
    let since = began.elapsed();
    // The deadline is a moment away; an abandoned session would end ten seconds later.
    let rest = stage.scheduler.longest_rest(began + deadline).unwrap();
    assert!(rest <= since, "{rest:?} in {since:?}");
    stage.everything();
    assert_eq!(events(&mut session), ["opened", "warmed"]);
    // Nothing is late while the caller is waited for.
    let rest = stage.scheduler.longest_rest(began + deadline);
    assert_eq!(rest, Some(IDLE_TURN));
}

#[test]
fn a_session_holds_its_place_while_its_prompt_is_encoded() {
    let mut stage = Stage::new(1024);
    let mut sessions: Vec<Session> = (0..3).map(|_| stage.session()).collect();
    sessions.iter().for_each(|session| send(session, open("", None)));
    stage.turns();
    assert_eq!(events(&mut sessions[2]), ["failed: Overloaded"]);
    // A session that is given up meanwhile is forgotten, and so is its prompt.
    let encoded = stage.encoded_bytes();
    sessions.remove(0);
    stage.turns();
    assert_eq!(stage.scheduler.sessions.len(), 1);
    let mut next = stage.session();
    send(&next, open("", None));
    stage.everything();
    assert_eq!(events(&mut next), ["opened", "warmed"]);
    assert_eq!(stage.encoded_bytes() - encoded, 2 * "What is 7 times 8?".len() as u64);
    let mut late = stage.session();
    drop(next);
    stage.turns();
    send(&late, open("", Some(Duration::ZERO)));
    stage.turns();
    assert_eq!(events(&mut late), ["failed: DeadlineExceeded"]);
}

#[test]
fn an_append_that_does_not_fit_is_encoded_once_while_it_waits() {
    let mut stage = Stage::new(200);
    let mut session = stage.session();
    let (committed, more) = ("a".repeat(120), "b".repeat(300));
    send(&session, open(&committed, None));
    send(&session, append(&more));
    stage.turns();
    stage.scheduler.host.preparer.run_all();
    let encoded = stage.encoded_bytes();
    stage.turns();
    assert_eq!(events(&mut session), ["opened", "warmed", "failed: ContextTooLong"]);
    // And once more when its turn comes.
    let once = (committed.len() + more.len()) as u64;
    assert_eq!(stage.encoded_bytes() - encoded, 2 * once);
}

#[test]
fn a_session_that_writes_is_left_its_cache_by_those_that_came_later() {
    // Room for one of the two.
    let mut stage = Stage::with_memory(160, 5 * 8192);
    let mut first = stage.opened(&"One goes first. ".repeat(3));
    let mut second = stage.session();
    send(&second, open(&"And then another. ".repeat(5), None));
    stage.turns();
    stage.scheduler.host.preparer.run_all();
    send(&first, propose(80));
    stage.everything();
    assert_eq!(events(&mut first), ["finished"]);
    assert_eq!(events(&mut second), ["opened", "warmed"]);
    // The second lost its cache meanwhile, and took the first one's once that had finished.
    let usage = stage.scheduler.kv.counters().usage(0);
    assert!(usage.evicted_tokens > 0 && usage.evicted_tokens < 400, "{usage:?}");
}

#[test]
fn sessions_with_little_to_compute_share_a_pass() {
    // A chunk is four tokens.
    let mut stage = Stage::new(1024);
    let mut sessions: Vec<Session> = (0..2).map(|_| stage.session()).collect();
    for session in &mut sessions {
        send(session, reviewing("So "));
        stage.everything();
        assert_eq!(events(session), ["opened", "warmed"]);
    }
    let passes = |stage: &Stage| {
        let text = stage.scheduler.host.meter.text(&Default::default());
        let line = text.lines().find(|it| it.contains("_count") && it.contains("prefill"));
        line.and_then(|it| it.rsplit(' ').next()?.parse::<u64>().ok()).unwrap()
    };
    for (texts, expected) in
        [(["ab", "cd"], 1), (["ab", "cde"], 2), (["a long text", "b"], 4), (["a", "a long one"], 4)]
    {
        let before = passes(&stage);
        sessions.iter().zip(texts).for_each(|(session, text)| send(session, append(text)));
        stage.turns();
        assert!(passes(&stage) - before <= expected, "{texts:?}");
        for session in &mut sessions {
            assert_eq!(events(session), ["warmed"]);
        }
    }
}

#[test]
fn a_cut_does_not_wait_for_what_it_forgets() {
    let mut stage = Stage::new(1024);
    let mut session = stage.session();
    send(&session, reviewing("So "));
    stage.everything();
    let computed = |stage: &Stage| stage.scheduler.host.computed_tokens.load(Ordering::Relaxed);
    let before = computed(&stage);
    send(&session, append(&"on and on ".repeat(40)));
    let mut context = Context::from_waker(Waker::noop());
    (0..3).for_each(|_| assert_eq!(stage.scheduler.turn(&mut context), Turn::Worked));
    send(&session, Command::Cut(Cut { bytes: 5, accept: false }));
    stage.turns();
    assert_eq!(events(&mut session), ["opened", "warmed", "warmed", "warmed"]);
    assert!(computed(&stage) - before <= 4 * 4, "{} tokens", computed(&stage) - before);
    assert_eq!(stage.scheduler.sessions[0].committed_bytes(), 5);
}

#[test]
fn how_a_text_ended_is_judged_before_there_is_more_of_it() {
    let mut stage = Stage::new(1024);
    let mut session = stage.session();
    send(&session, reviewing("So "));
    stage.everything();
    events(&mut session);
    let end = |end, text: &str| Command::Append(Append { end, ..Append::text(text) });
    for command in [end(TextEnd::Stretch, "one two"), end(TextEnd::Open, "three"), append(" more")]
    {
        send(&session, command);
    }
    stage.turns();
    let mut reviewed = Vec::new();
    while let Ok(Event::Warmed(warmed)) = session.events.try_recv() {
        reviewed.push((warmed.committed_bytes, warmed.reviewed_bytes));
    }
    // After the stretch only its last word may change, and that was passed.
    assert_eq!(reviewed[0], (10, 10));
    assert_eq!(reviewed.last(), Some(&(20, 15)));
}

#[test]
fn what_a_cut_leaves_is_encoded_beside_the_engines_thread_where_it_is_long() {
    let mut stage = Stage::new(1024);
    let mut session = stage.session();
    send(&session, reviewing("So "));
    stage.everything();
    events(&mut session);
    // Nowhere in it does a tokenizer surely start afresh.
    let long = "long".repeat(200);
    send(&session, append(&long));
    stage.everything();
    let encoded = stage.encoded_bytes();
    send(&session, Command::Cut(Cut { bytes: 700, accept: false }));
    send(&session, append("er"));
    stage.turns();
    assert_eq!(events(&mut session), ["warmed"]);
    assert_eq!(stage.encoded_bytes(), encoded);
    stage.everything();
    assert_eq!(events(&mut session), ["warmed", "warmed"]);
    assert_eq!(stage.scheduler.sessions[0].committed_bytes(), 702);
}
