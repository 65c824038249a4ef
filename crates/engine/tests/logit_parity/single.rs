//! The models of candle-transformers, which compute one sequence at a time and give logits for the last token only.
//! Their logits do not depend on the parts in which a sequence came, or on what was forgotten of it.

use candle_core::Tensor;
use engine::{BatchRow, Cache, Decode, ForwardError, LoadOptions, WantedLogits, load_model};

use crate::{Fixture, assert_same, fixtures_and_more, fixtures_in, load};

/// Returns the logits for the last of these tokens, which follow the sequence.
fn step(decoder: &dyn Decode, cache: &mut dyn Cache, tokens: &[u32]) -> Tensor {
    decoder.forward(&mut [BatchRow { tokens, cache, logits: WantedLogits::Last }]).unwrap()
}

#[track_caller]
fn assert_is_row(what: &str, fixture: &Fixture, logits: &Tensor, token: usize) {
    let reference = fixture.logits.narrow(0, token, 1).unwrap();
    assert_same(&format!("{what}, behind token {token}"), fixture, logits, &reference);
}

#[test]
fn logit_parity_of_one_sequence_in_any_parts() {
    for fixture in fixtures_and_more("logits-single", false) {
        let decoder = load(&fixture.directory).decoder;
        let count = fixture.tokens.len();
        for length in [count, 65, 64, 33, 32, 7, 2, 1] {
            let mut cache = decoder.new_cache();
            for part in fixture.tokens.chunks(length) {
                let logits = step(&*decoder, &mut *cache, part);
                let what = format!("in parts of {length}");
                assert_is_row(&what, &fixture, &logits, cache.len() - 1);
            }
            assert_eq!(cache.len(), count);
        }
    }
}

#[test]
fn logit_parity_of_one_sequence_that_is_cut_back() {
    for fixture in fixtures_and_more("logits-single", false) {
        let decoder = load(&fixture.directory).decoder;
        let (tokens, count) = (&fixture.tokens, fixture.tokens.len());
        let mut cache = decoder.new_cache();
        for part in tokens.chunks(40) {
            step(&*decoder, &mut *cache, part);
        }
        for keep in [count - 1, count - 1, count - 2, count / 2, count / 3, 1, 0] {
            // Something else in between, which must leave no trace after cutting back.
            cache.truncate(keep);
            let mut other: Vec<u32> = tokens[cache.len()..].to_vec();
            other.reverse();
            step(&*decoder, &mut *cache, &other);
            cache.truncate(keep);
            let len = cache.len();
            assert!(len <= keep, "{len} tokens of {keep}");
            for part in tokens[len..].chunks(20) {
                let logits = step(&*decoder, &mut *cache, part);
                assert_is_row(&format!("cut back to {keep}"), &fixture, &logits, cache.len() - 1);
            }
        }
    }
}

#[test]
fn what_a_proposal_follows_is_kept_while_it_is_made() {
    for fixture in fixtures_in("logits-single") {
        let decoder = load(&fixture.directory).decoder;
        let (tokens, text) = (&fixture.tokens, 70);
        let mut cache = decoder.new_cache();
        for (from, to) in [(0, 40), (40, 66), (66, 68), (68, text)] {
            step(&*decoder, &mut *cache, &tokens[from..to]);
        }
        for token in tokens[text..].chunks(1) {
            step(&*decoder, &mut *cache, token);
        }
        // The proposal is forgotten: all of the text except its last few tokens is still there.
        cache.truncate(text);
        assert_eq!(cache.len(), 65);
        let logits = step(&*decoder, &mut *cache, &tokens[65..text]);
        assert_is_row("after a proposal", &fixture, &logits, text - 1);
        // The end of the text is encoded again: its beginning is still there.
        cache.truncate(64);
        assert_eq!(cache.len(), 39);
        cache.truncate(38);
        assert!(cache.is_empty() && cache.bytes() == 0);
    }
}

#[test]
fn sequences_share_weights_and_nothing_else() {
    for fixture in fixtures_in("logits-single") {
        let decoder = load(&fixture.directory).decoder;
        let tokens = &fixture.tokens;
        let (mut first, mut second, mut third) =
            (decoder.new_cache(), decoder.new_cache(), decoder.new_cache());
        step(&*decoder, &mut *first, &tokens[..50]);
        let rows = &mut [
            BatchRow { tokens: &tokens[50..90], cache: &mut *first, logits: WantedLogits::Last },
            BatchRow { tokens: &tokens[..33], cache: &mut *second, logits: WantedLogits::None },
            BatchRow { tokens: &tokens[..1], cache: &mut *third, logits: WantedLogits::Last },
        ];
        let logits = decoder.forward(rows).unwrap();
        assert_eq!(logits.dims(), [2, decoder.facts().vocab]);
        assert_is_row("the first", &fixture, &logits.narrow(0, 0, 1).unwrap(), 89);
        assert_is_row("the third", &fixture, &logits.narrow(0, 1, 1).unwrap(), 0);
        let logits = step(&*decoder, &mut *second, &tokens[33..35]);
        assert_is_row("the second", &fixture, &logits, 34);
        let none = BatchRow { tokens: &[1, 2], cache: &mut *third, logits: WantedLogits::None };
        assert_eq!(decoder.forward(&mut [none]).unwrap().dims(), [0, decoder.facts().vocab]);
        assert_eq!([first.len(), second.len(), third.len()], [90, 35, 3]);
    }
}

#[test]
fn a_row_that_cannot_be_computed_leaves_its_sequence_as_it_was() {
    let fixture = &fixtures_in("logits-single")[0];
    let decoder = load(&fixture.directory).decoder;
    let mut cache = decoder.new_cache();
    step(&*decoder, &mut *cache, &fixture.tokens[..40]);
    let too_many = vec![1; 89];
    for (tokens, logits, expected) in [
        (&too_many[..], WantedLogits::Last, "129 tokens do not fit the model's context of 128"),
        (&[3, 128][..], WantedLogits::Last, "token 128 is not in the model's vocabulary of 128"),
        (&[][..], WantedLogits::Last, "a row of a forward pass has no tokens"),
        (&[1][..], WantedLogits::All, "this model gives logits for the last token"),
        (&[1, 2][..], WantedLogits::From(1), "this model gives logits for the last token"),
    ] {
        let row = BatchRow { tokens, cache: &mut *cache, logits };
        let error = decoder.forward(&mut [row]).unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error}");
        assert_eq!(cache.len(), 40);
    }
    let logits = step(&*decoder, &mut *cache, &fixture.tokens[40..41]);
    assert_is_row("after refusals", fixture, &logits, 40);
}

#[test]
fn a_decoder_takes_no_cache_of_another_kind() {
    let [own, single] =
        ["logits", "logits-single"].map(|root| load(&fixtures_in(root)[0].directory).decoder);
    for (decoder, other) in [(&own, &single), (&single, &own)] {
        let cache = &mut *other.new_cache();
        let row = BatchRow { tokens: &[1], cache, logits: WantedLogits::Last };
        let error = decoder.forward(&mut [row]).unwrap_err();
        assert!(matches!(error, ForwardError::ForeignCache), "{error}");
    }
}

#[test]
fn it_says_what_it_does_not_do() {
    let fixture = &fixtures_in("logits-single")[0];
    let model = load(&fixture.directory);
    assert!(model.own_decoder().is_none());
    let facts = model.decoder.facts();
    assert_eq!((facts.family, facts.context), ("gemma2", 128));
    assert!(!facts.is_batched && !facts.gives_all_logits);
    let note = "the context is 128 tokens of 512: models of the family gemma2 are computed up to the length of their \
                window";
    assert_eq!(model.note.as_deref(), Some(note));
    assert_eq!((model.quantisation.as_str(), model.weight_bytes), ("f32", 4 * model.parameters));
    let dtype = Some(candle_core::DType::BF16);
    let options = LoadOptions { dtype, ..LoadOptions::default() };
    let error = load_model(&fixture.directory.as_path().into(), &options, &mut |_| {}).unwrap_err();
    let expected = "models of the family gemma2 are held in f32 only; ask for no other dtype";
    assert_eq!(error.to_string(), expected);
}
