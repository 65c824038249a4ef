//! The requests for each kind of server, and how its events are read.

use super::*;
use crate::chunk::{ServerEnd, Usage};

fn stretch(kind: ServerKind, sampling: &Sampling) -> Value {
    let prompt = PromptForm::Ids(&[1, 2]);
    let stretch = Stretch {
        model: "m",
        prompt,
        max_tokens: 7,
        context_tokens: 512,
        seed: 0xffff_ffff,
        sampling,
        slot: Some(1),
    };
    of(kind).stretch(&stretch).body.unwrap()
}

#[test]
fn every_sampling_field_is_always_sent() {
    let sampling = Sampling { top_p: 0.0, repetition_penalty: 0.0, ..Sampling::default() };
    let llama = stretch(ServerKind::LlamaCpp, &sampling);
    for (field, value) in [
        ("prompt", json!([1, 2])),
        ("n_predict", json!(7)),
        ("temperature", json!(0.6)),
        ("top_k", json!(50)),
        ("top_p", json!(1.0)),
        ("min_p", json!(0.0)),
        ("repeat_penalty", json!(1.0)),
        ("repeat_last_n", json!(512)),
        ("cache_prompt", json!(true)),
        ("stream", json!(true)),
        ("id_slot", json!(1)),
        // All bits set would mean a random seed.
        ("seed", json!(0x7fff_ffff)),
    ] {
        assert_eq!(llama[field], value, "{field}");
    }
    let vllm = stretch(ServerKind::Vllm, &Sampling { top_k: 0, ..sampling });
    for (field, value) in [
        ("model", json!("m")),
        ("prompt", json!([1, 2])),
        ("max_tokens", json!(7)),
        ("top_k", json!(-1)),
        ("min_p", json!(0.0)),
        ("repetition_penalty", json!(1.0)),
        ("skip_special_tokens", json!(false)),
        ("return_token_ids", json!(true)),
    ] {
        assert_eq!(vllm[field], value, "{field}");
    }
    let sglang = stretch(ServerKind::Sglang, &Sampling { top_k: 0, ..sampling });
    for field in ["top_k", "min_p", "repetition_penalty", "return_token_ids", "ignore_eos"] {
        assert_eq!(sglang[field], vllm[field], "{field}");
    }
    let ollama = stretch(ServerKind::Ollama, &sampling);
    assert_eq!((&ollama["raw"], &ollama["truncate"]), (&json!(true), &json!(false)));
    let (options, expected) = (&ollama["options"], [("num_predict", 7), ("num_ctx", 512)]);
    expected.iter().for_each(|(field, value)| assert_eq!(options[field], *value, "{field}"));
    assert_eq!((&options["top_k"], &options["repeat_penalty"]), (&json!(50), &json!(1.0)));
    let plain = stretch(ServerKind::Completions, &sampling);
    assert_eq!((&plain["temperature"], &plain["top_p"]), (&json!(0.6), &json!(1.0)));
    assert_eq!(plain.get("top_k"), None, "others refuse fields that they do not know");
}

#[test]
fn what_begins_a_text_and_control_tokens_are_for_prompts_alone() {
    let encode = |kind, place| of(kind).encode("m", "a", place).unwrap().body.unwrap();
    for (place, is_prompt) in [(Place::Prompt, true), (Place::Committed, false)] {
        let llama = encode(ServerKind::LlamaCpp, place);
        for field in ["add_special", "parse_special"] {
            assert_eq!(llama[field], is_prompt, "{field}");
        }
        for kind in [ServerKind::Vllm, ServerKind::Sglang] {
            assert_eq!(encode(kind, place)["add_special_tokens"], is_prompt, "{kind:?}");
        }
    }
}

#[test]
fn a_field_that_a_server_does_not_know_is_named_unless_it_is_neutral() {
    let neutral = Sampling { top_k: 0, ..Sampling::default() };
    for (sampling, unknown) in [
        (neutral, None),
        (Sampling { top_k: 50, ..neutral }, Some("top_k")),
        (Sampling { min_p: 0.1, ..neutral }, Some("min_p")),
        (Sampling { repetition_penalty: 1.1, ..neutral }, Some("repetition_penalty")),
        (Sampling { repetition_penalty: 0.0, ..neutral }, None),
    ] {
        assert_eq!(unknown_field(of(ServerKind::Completions).as_ref(), &sampling), unknown);
        assert_eq!(unknown_field(of(ServerKind::LlamaCpp).as_ref(), &sampling), None);
    }
}

#[test]
fn a_kind_is_known_by_who_owns_its_models() {
    assert_eq!(kind_of("llamacpp"), Some(ServerKind::LlamaCpp));
    assert_eq!(kind_of("vllm"), Some(ServerKind::Vllm));
    assert_eq!(kind_of("sglang"), Some(ServerKind::Sglang));
    assert_eq!((kind_of("openai"), kind_of("")), (None, None));
}

#[test]
fn the_block_of_vllms_cache_stands_in_its_metrics() {
    let metrics = "# HELP vllm:cache_config_info Information of the LLMEngine CacheConfig\n\
        vllm:cache_config_info{mamba_block_size=\"32\",block_size=\"128\",cache_dtype=\"auto\"} 1.0\n";
    assert_eq!(block_in_metrics(metrics), Some(128));
    for none in [
        "",
        "<html>",
        "vllm:cache_config_info{block_size=\"None\"} 1.0",
        "vllm:cache_config_info{block_size=\"0\"}",
    ] {
        assert_eq!(block_in_metrics(none), None, "{none}");
    }
}

#[test]
fn events_of_llama_cpp_are_read() {
    let read = |event: Value| of(ServerKind::LlamaCpp).chunk(&event);
    let progress = json!({ "content": "", "tokens": [0], "stop": false, "tokens_predicted": 0,
        "prompt_progress": { "total": 34, "cache": 30, "processed": 34, "time_ms": 14 } });
    let usage = Usage { prompt_tokens: 34, cached_tokens: Some(30) };
    let expected = Chunk { usage: Some(usage), ..Chunk::default() };
    assert_eq!(read(progress), Some(expected), "the token of a progress event is none");
    assert_eq!(usage.split(33), (4, 30));
    assert_eq!(Usage { cached_tokens: None, ..usage }.split(33), (1, 33), "it does not say");
    // A character of three tokens, of which only the last id is reported.
    let crab = json!({ "content": " 🦀", "tokens": [222], "stop": false, "tokens_predicted": 6 });
    let expected =
        Chunk { text: " 🦀".into(), ids: vec![222], tokens_so_far: Some(6), ..Chunk::default() };
    assert_eq!(read(crab), Some(expected));
    for (kind, end) in [("limit", ServerEnd::Length), ("eos", ServerEnd::EndOfText)] {
        let last = json!({ "content": "", "tokens": [], "stop": true, "stop_type": kind, "tokens_predicted": 9 });
        assert_eq!(read(last).unwrap().end, Some(end));
    }
    assert_eq!(read(json!({ "choices": [] })), None);
}

#[test]
fn events_of_openais_route_are_read() {
    for kind in [ServerKind::Vllm, ServerKind::Sglang, ServerKind::Completions] {
        let read = |event: Value| of(kind).chunk(&event);
        let text = json!({ "choices": [{ "text": "Hi", "finish_reason": null, "token_ids": [3, 4] }], "usage": null });
        let expected = Chunk { text: "Hi".into(), ids: vec![3, 4], ..Chunk::default() };
        assert_eq!(read(text), Some(expected));
        let last = json!({ "choices": [{ "text": "", "finish_reason": "length" }] });
        assert_eq!(read(last).unwrap().end, Some(ServerEnd::Length));
        for (reason, end) in [
            ("stop", Some(ServerEnd::EndOfText)),
            ("eos", Some(ServerEnd::EndOfText)),
            ("model_length", Some(ServerEnd::Length)),
            ("abort", None),
            ("error", None),
            ("insufficient_system_resource", None),
        ] {
            let event = json!({ "choices": [{ "text": "", "finish_reason": reason }] });
            assert_eq!(read(event).unwrap().end, end, "{reason}");
            let chat = json!({ "choices": [{ "delta": {}, "finish_reason": reason }] });
            assert_eq!(of(ServerKind::ChatPrefix).chunk(&chat).unwrap().end, end, "{reason}");
        }
        let usage = json!({ "choices": [], "usage": { "prompt_tokens": 20, "completion_tokens": 5,
            "prompt_tokens_details": { "cached_tokens": 16 } } });
        let usage = read(usage).unwrap();
        assert_eq!(usage.usage, Some(Usage { prompt_tokens: 20, cached_tokens: Some(16) }));
        assert_eq!(usage.tokens_so_far, Some(5));
        assert_eq!(read(json!({ "content": "x" })), None);
    }
}

#[test]
fn events_of_sglangs_own_route_tell_what_was_computed() {
    let event = json!({ "text": "", "output_ids": [], "meta_info": {
        "prompt_tokens": 20, "cached_tokens": 16, "completion_tokens": 0,
        "finish_reason": { "type": "length", "length": 0 } } });
    let chunk = of(ServerKind::Sglang).chunk(&event).unwrap();
    let usage = Usage { prompt_tokens: 20, cached_tokens: Some(16) };
    assert_eq!((chunk.usage, chunk.end), (Some(usage), Some(ServerEnd::Length)));
}

#[test]
fn events_of_ollama_are_read() {
    let read = |event: Value| of(ServerKind::Ollama).chunk(&event);
    let text = json!({ "model": "m", "response": "Hi", "done": false });
    assert_eq!(read(text), Some(Chunk { text: "Hi".into(), ..Chunk::default() }));
    for (why, end) in [("length", ServerEnd::Length), ("stop", ServerEnd::EndOfText)] {
        let last = json!({ "response": "", "done": true, "done_reason": why, "eval_count": 9,
            "prompt_eval_count": 26 });
        let chunk = read(last).unwrap();
        assert_eq!((chunk.end, chunk.tokens_so_far, chunk.usage), (Some(end), Some(9), None));
    }
    assert_eq!(read(json!({ "choices": [] })), None);
}

#[test]
fn a_chats_last_message_is_gone_on_with_as_each_kind_asks() {
    let messages = [Message { role: "user".to_owned(), content: "Hi".to_owned() }];
    let so_far = AnswerSoFar { thought: "Hm".to_owned(), text: "Yes".to_owned() };
    let body = |kind: ServerKind, answer: Option<&AnswerSoFar>| {
        let stretch = Stretch {
            model: "m",
            prompt: PromptForm::Chat { messages: &messages, answer },
            max_tokens: 7,
            context_tokens: 512,
            seed: 1,
            sampling: &Sampling { top_k: 0, ..Sampling::default() },
            slot: None,
        };
        of(kind).stretch(&stretch).body.unwrap()
    };
    for kind in [ServerKind::ChatContinue, ServerKind::ChatPrefix, ServerKind::ChatAssistant] {
        let (begun, goes_on) = (body(kind, None), body(kind, Some(&so_far)));
        assert_eq!(begun["messages"], json!([{ "role": "user", "content": "Hi" }]));
        let mut last = json!({ "role": "assistant", "content": "Yes", "reasoning_content": "Hm" });
        if kind == ServerKind::ChatPrefix {
            last["prefix"] = true.into();
        }
        assert_eq!(goes_on["messages"][1], last);
        let fields = (&goes_on["continue_final_message"], &goes_on["add_generation_prompt"]);
        let is_continue = kind == ServerKind::ChatContinue;
        assert_eq!(fields == (&json!(true), &json!(false)), is_continue, "{kind:?}");
        assert_eq!(begun.get("continue_final_message"), None);
        assert_eq!((&begun["max_tokens"], begun.get("prompt")), (&json!(7), None));
        // Other servers refuse fields that they do not know.
        assert_eq!(goes_on.get("top_k").is_some(), is_continue, "{kind:?}");
    }
}

#[test]
fn events_of_chats_are_read() {
    let read = |event: Value| of(ServerKind::ChatContinue).chunk(&event);
    for field in ["reasoning", "reasoning_content"] {
        let event = json!({ "choices": [{ "delta": { field: "Hm", "content": null } }] });
        assert_eq!(read(event), Some(Chunk { thought: "Hm".into(), ..Chunk::default() }));
    }
    let both =
        json!({ "choices": [{ "delta": { "reasoning": "Hm", "reasoning_content": "Hm" } }] });
    assert_eq!(read(both).unwrap().thought, "Hm");
    let last = json!({ "choices": [{ "delta": { "content": "" }, "finish_reason": "length" }],
        "usage": { "prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25 } });
    let last = read(last).unwrap();
    assert_eq!((last.end, last.tokens_so_far), (Some(ServerEnd::Length), Some(5)));
    assert_eq!(last.usage, Some(Usage { prompt_tokens: 20, cached_tokens: None }));
    assert_eq!(read(json!({ "error": "x" })), None);
}

#[test]
fn sglang_tells_what_its_model_holds_of_a_text() {
    let call = of(ServerKind::Sglang).odds("m", &[16, 17, 10, 18], 3).unwrap();
    let body = call.body.unwrap();
    assert_eq!((call.path, &body["logprob_start_len"]), ("/generate", &json!(2)));
    // As version 0.5.23 answers.
    let answer = json!({ "text": "", "output_ids": [], "meta_info": {
        "prompt_tokens": 4, "cached_tokens": 2,
        "input_token_logprobs": [[null, 10, null], [-6.735754013061523, 18, null]],
        "input_top_logprobs": [null, [[-0.7677223086357117, 292, null], [-2.5, 10, null]]],
        "output_token_logprobs": [], "output_top_logprobs": [[[-0.03, 23, null]]],
    } });
    let (odds, usage) = of(ServerKind::Sglang).odds_told(&answer, &[16, 17, 10, 18], 3).unwrap();
    let expected = TokenOdds {
        log_p: -6.735754,
        likeliest: vec![(292, -0.767_722_3), (10, -2.5)],
        rank: None,
    };
    assert_eq!(odds, [expected]);
    assert_eq!(usage, Usage { prompt_tokens: 4, cached_tokens: Some(2) });
}

#[test]
fn vllm_tells_what_its_model_holds_of_a_text() {
    // As version 0.32.0 answers: the token in the text is among the likeliest, or listed after them.
    let answer = json!({
        "choices": [{ "index": 0, "text": "8", "finish_reason": "length", "prompt_logprobs": [
            null,
            { "17": { "logprob": -1.5, "rank": 1, "decoded_token": "2" } },
            {
                "10": { "logprob": -9.25, "rank": 40, "decoded_token": "+" },
                "292": { "logprob": -0.5, "rank": 1, "decoded_token": "x" },
                "11": { "logprob": -2.5, "rank": 2, "decoded_token": "," },
            },
        ] }],
        "usage": { "prompt_tokens": 3, "completion_tokens": 1 },
    });
    let (odds, usage) = of(ServerKind::Vllm).odds_told(&answer, &[16, 17, 10], 2).unwrap();
    let likeliest = vec![(292, -0.5), (11, -2.5), (10, -9.25)];
    assert_eq!(odds, [TokenOdds { log_p: -9.25, likeliest, rank: Some(39) }]);
    assert_eq!(usage, Usage { prompt_tokens: 3, cached_tokens: None });
    // An answer without the requested token is invalid.
    assert_eq!(of(ServerKind::Vllm).odds_told(&answer, &[16, 17, 99], 2), None);
}

#[test]
fn other_servers_tell_nothing_of_a_text() {
    for kind in ServerKind::ALL {
        let tells = matches!(kind, ServerKind::Sglang | ServerKind::Vllm);
        assert_eq!(of(kind).odds("m", &[1, 2], 1).is_some(), tells, "{kind:?}");
    }
}
