#!/usr/bin/env python3
"""Checks `specthink serve` with OpenAI's own Python package: everything in docs/serve.md that the package supports.

Usage: openai_check.py target/debug/specthink

Starts servers over the built-in pair on free ports. Needs the Python package openai; nothing is downloaded. Prints what
it checks; exits with 1 at the first thing that is not as docs/serve.md says.
"""

import pathlib
import sys
import tempfile
import time
import urllib.request

import openai
from openai import OpenAI
from served import QUESTION, expect, server

MESSAGES = [{"role": "user", "content": QUESTION}]
CHAT = {"model": "specthink", "messages": MESSAGES, "seed": 1}
# Words sampled at random lead nowhere, so such answers reach the maximum length.
RANDOM = {"temperature": 2, "top_p": 1, "extra_body": {"top_k": 0, "specthink": {"policy": "paper"}}}
LONG = {**CHAT, **RANDOM, "n": 8, "max_tokens": 400}


def client(address, **more):
    return OpenAI(base_url=f"{address}/v1", **{"api_key": "none", "max_retries": 0, **more})


def fails(kind, status, code, call):
    """Expects that a call raises this exception of the package, with this status and code."""
    try:
        call()
    except openai.APIStatusError as error:
        found = (type(error).__name__, error.status_code, error.code)
        expect(found == (kind.__name__, status, code), f"{found} instead of {(kind.__name__, status, code)}")
        expect(error.body["message"] and "\n" not in error.body["message"], f"{error.body}")
        return error
    expect(False, f"{kind.__name__} {status} {code} is not raised")


def metric(address, name):
    with urllib.request.urlopen(f"{address}/metrics") as response:
        lines = response.read().decode().splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith(f"{name} "))


def until(what, condition):
    """Waits for a condition in another process."""
    end = time.monotonic() + 60
    while not condition():
        expect(time.monotonic() < end, f"timed out: {what}")
        time.sleep(0.05)


def check_chat(ask, _):
    answer = ask.chat.completions.create(**CHAT)
    text = answer.choices[0].message.content
    expect(answer.choices[0].finish_reason == "stop" and "247" in text, f"the answer is {text!r}")
    usage = answer.usage
    expect(usage.total_tokens == usage.prompt_tokens + usage.completion_tokens, f"{usage}")
    expect(usage.completion_tokens_details.reasoning_tokens is not None, f"{usage}")
    report = answer.specthink["answers"][0]
    expect("".join(span["text"] for span in report["spans"]) == text, "the spans are not the text")
    two = ask.chat.completions.create(**CHAT, n=2, max_tokens=5)
    expect([choice.index for choice in two.choices] == [0, 1], f"{two.choices}")
    expect(two.choices[0].finish_reason == "length", f"{two.choices[0]}")
    stopped = ask.chat.completions.create(**CHAT, stop=["\n\n"])
    expect(stopped.choices[0].message.content == text.split("\n\n")[0], f"{stopped.choices[0]}")
    print("chat: an answer, its usage and its spans")


def check_stream(ask, _):
    whole = ask.chat.completions.create(**CHAT)
    chunks = list(ask.chat.completions.create(**CHAT, stream=True, stream_options={"include_usage": True}))
    last = chunks.pop()
    expect(last.choices == [] and last.usage == whole.usage, f"the usage of the stream is {last}")
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    expect(text == whole.choices[0].message.content, "the chunks are not the answer")
    expect(chunks[-1].choices[0].finish_reason == "stop", f"{chunks[-1]}")
    expect(all(chunk.specthink for chunk in chunks), "a chunk does not say who wrote it")
    with ask.chat.completions.stream(model="small", messages=MESSAGES, seed=1) as stream:
        for _ in stream:
            pass
        final = stream.get_final_completion()
    expect(final.choices[0].message.content, f"{final}")
    print("chat: a stream adds up to the answer, with its usage")


def check_completions(ask, _):
    texts = ask.completions.create(model="small", prompt=["2 + 3 =", QUESTION], max_tokens=8, seed=1)
    expect([choice.index for choice in texts.choices] == [0, 1], f"{texts}")
    chunks = ask.completions.create(model="small", prompt=QUESTION, max_tokens=8, seed=1, stream=True)
    text = "".join(chunk.choices[0].text for chunk in chunks)
    expect(text == texts.choices[1].text, f"{text!r} is not {texts.choices[1].text!r}")
    print("completions: lists of texts, and a stream")


def check_responses(ask, _):
    whole = ask.responses.create(model="specthink", input=QUESTION, instructions="Be brief.", extra_body={"seed": 1})
    expect(whole.status == "completed" and whole.output_text, f"{whole}")
    expect(whole.usage.total_tokens == whole.usage.input_tokens + whole.usage.output_tokens, f"{whole.usage}")
    expect(whole.specthink["answers"][0]["spans"], "a response has no spans")
    events = list(
        ask.responses.create(
            model="specthink", input=QUESTION, instructions="Be brief.", stream=True, extra_body={"seed": 1}
        )
    )
    expect([event.sequence_number for event in events] == list(range(len(events))), "events are not numbered")
    begin = ["response.created", "response.in_progress", "response.output_item.added", "response.content_part.added"]
    expect([event.type for event in events[:4]] == begin, f"{[event.type for event in events]}")
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    expect(text == whole.output_text, "the deltas are not the response")
    expect(events[-1].type == "response.completed" and events[-1].response.output_text == text, f"{events[-1]}")
    with ask.responses.stream(model="small", input=[{"role": "user", "content": QUESTION}]) as stream:
        for _ in stream:
            pass
        final = stream.get_final_response()
    turns = [{"role": "user", "content": QUESTION}, *final.output, {"role": "user", "content": "Again."}]
    again = ask.responses.create(model="small", input=turns, max_output_tokens=5)
    expect(again.status in ("completed", "incomplete"), f"{again}")
    cut = ask.responses.create(model="small", input=QUESTION, max_output_tokens=3)
    expect((cut.status, cut.incomplete_details.reason) == ("incomplete", "max_output_tokens"), f"{cut}")
    fails(
        openai.BadRequestError, 400, "unsupported_field",
        lambda: ask.responses.create(model="small", input="x", previous_response_id="resp_1"),
    )
    fails(openai.NotFoundError, 404, "unknown_route", lambda: ask.responses.retrieve("resp_1"))
    print("responses: whole, as events, with the package's helper, and as the next turn")


def check_models(ask, _):
    names = [model.id for model in ask.models.list()]
    expect({"specthink", "specthink:strict", "small", "large"} <= set(names), f"{names}")
    expect(ask.models.retrieve("specthink:strict").owned_by == "specthink", "a model is not ours")
    fails(openai.NotFoundError, 404, "model_not_found", lambda: ask.models.retrieve("specthink:strickt"))
    print(f"models: {', '.join(names)}")


def check_errors(ask, address):
    def chat(**more):
        return lambda: ask.chat.completions.create(**{**CHAT, **more})

    fails(openai.NotFoundError, 404, "model_not_found", chat(model="gpt-5"))
    fails(openai.BadRequestError, 400, "invalid_value", chat(temperature=3))
    fails(openai.BadRequestError, 400, "invalid_type", chat(max_tokens="many"))
    fails(openai.BadRequestError, 400, "invalid_value", chat(messages=[]))
    fails(openai.BadRequestError, 400, "unknown_field", chat(extra_body={"specthink": {"polcy": "strict"}}))
    tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
    error = fails(openai.BadRequestError, 400, "unsupported_field", chat(tools=[tool]))
    expect(error.param == "tools", f"{error.param}")
    fails(openai.BadRequestError, 400, "context_length_exceeded", chat(messages=[{"role": "user", "content": "7 " * 5000}]))
    fails(openai.NotFoundError, 404, "unknown_route", lambda: ask.embeddings.create(model="small", input="x"))
    try:
        client("http://127.0.0.1:9").models.list()
        expect(False, "nothing is raised without a server")
    except openai.APIConnectionError:
        pass
    print("errors: each raises the package's exception for it")


def check_timeout(ask, address):
    try:
        ask.with_options(timeout=0.01).chat.completions.create(**LONG)
        expect(False, "no timeout")
    except openai.APITimeoutError:
        pass
    until("answers whose client gave up end", lambda: metric(address, "specthink_answers_running") == 0)
    print("a client that times out ends its answers")


def check_gone(ask, address):
    stream = ask.chat.completions.create(**LONG, stream=True)
    next(iter(stream))
    expect(metric(address, "specthink_answers_running") > 0, "no answer is in progress")
    stream.close()
    until("answers whose client went away end", lambda: metric(address, "specthink_answers_running") == 0)
    print("a client that goes away ends its answers")


def check_keys(program):
    with tempfile.TemporaryDirectory() as folder:
        keys = pathlib.Path(folder, "keys")
        keys.write_text("ann s3cret\n")
        with server(program, "--api-key-file", str(keys)) as address:
            for shown in ["wrong", "s3cre"]:
                ask = client(address, api_key=shown)
                fails(openai.AuthenticationError, 401, "invalid_api_key", lambda: ask.models.list())
            expect(list(client(address, api_key="s3cret").models.list()), "the right key is refused")
    print("keys: a wrong one is an AuthenticationError")


def check_full(program):
    with server(program, "--max-requests", "8", "--max-queue", "0") as address:
        ask = client(address)
        stream = ask.chat.completions.create(**LONG, stream=True)
        next(iter(stream))
        error = fails(openai.RateLimitError, 429, "queue_full", lambda: ask.chat.completions.create(**LONG))
        expect(error.response.headers["retry-after"] == "1", f"{error.response.headers}")
        stream.close()
        # The package retries by itself if it may.
        again = client(address, max_retries=5).chat.completions.create(**CHAT, max_tokens=3)
        expect(again.choices[0].message.content, f"{again}")
    print("a full server is a RateLimitError, after which the package retries")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    program = sys.argv[1]
    with server(program) as address:
        ask = client(address)
        for check in [check_chat, check_stream, check_completions, check_responses, check_models, check_errors,
                      check_timeout, check_gone]:
            check(ask, address)
    check_keys(program)
    check_full(program)
    print(f"openai {openai.__version__}: all is as it should be")


if __name__ == "__main__":
    main()
