"""Asks a server questions with OpenAI's Python package, several at a time, and records how each was answered."""

import concurrent.futures
import dataclasses
import itertools
import json
import pathlib
import re
import threading
import time

import openai

QUESTIONS = pathlib.Path(__file__).parents[2] / "models/arithmetic/test.jsonl"
AT_A_TIME = 3
# The time for one answer, in which a node may have been silent twice.
ANSWER_SECONDS = 60


@dataclasses.dataclass
class Answer:
    """How a question was answered."""

    seconds: float = 0.0
    # Why there was no answer, or an invalid one.
    fault: str | None = None
    is_right: bool = False
    # Why there was no large model for a part of it.
    degraded: str | None = None
    # How often another node continued after one was lost, and how often a large node came back.
    resumed: int = 0
    rejoined: int = 0


class Asker:
    """Asks the questions of a data set, one after the other, each with a seed of its own."""

    def __init__(self, address, key):
        # Nothing is retried: a request that fails is a question without an answer.
        self.client = openai.OpenAI(base_url=f"{address}/v1", api_key=key, max_retries=0, timeout=ANSWER_SECONDS)
        self.rows = [json.loads(line) for line in QUESTIONS.read_text().splitlines()]
        self.numbers = itertools.count()
        self.change = threading.Condition()
        self.under_way, self.ended = set(), 0

    def settle(self):
        """Waits until the answers that are in progress now have ended."""
        with self.change:
            now = set(self.under_way)
            self.change.wait_for(lambda: now.isdisjoint(self.under_way), ANSWER_SECONDS)

    def wait_for_answers(self, count):
        """Waits until this many questions that are asked from now on are answered."""
        self.settle()
        with self.change:
            enough = self.ended + count
            self.change.wait_for(lambda: self.ended >= enough, ANSWER_SECONDS)

    def while_doing(self, what, least, most):
        """Asks several questions at a time while `what` runs, at least `least` and at most `most` in all. `what` starts
        once a large node writes. Returns the answers."""
        done, writes = threading.Event(), threading.Event()
        places = iter(range(most))
        lock = threading.Lock()

        def next_number():
            with lock:
                place = next(places, None)
                is_over = place is None or (done.is_set() and place >= least)
                return None if is_over else next(self.numbers)

        def ask_one(number):
            with self.change:
                self.under_way.add(number)
            answer = self.ask(number, writes)
            with self.change:
                self.under_way.remove(number)
                self.ended += 1
                self.change.notify_all()
            return answer

        def ask_on():
            return [ask_one(number) for number in iter(next_number, None)]

        with concurrent.futures.ThreadPoolExecutor(AT_A_TIME) as pool:
            asking = [pool.submit(ask_on) for _ in range(AT_A_TIME)]
            try:
                writes.wait(ANSWER_SECONDS)
                what()
            finally:
                done.set()
            return [answer for one in asking for answer in one.result()]

    def ask(self, number, writes):
        """Asks one question. Sets `writes` as soon as a large node has written for it."""
        row = self.rows[number % len(self.rows)]
        answer, begin, text = Answer(), time.monotonic(), ""
        report = None
        try:
            stream = self.client.chat.completions.create(
                model="specthink", stream=True, seed=number, messages=[{"role": "user", "content": row["question"]}]
            )
            for chunk in stream:
                told = chunk.model_extra["specthink"]
                text += chunk.choices[0].delta.content or ""
                if told.get("writer") == "large":
                    writes.set()
                answer.resumed += "resumed" in told
                answer.rejoined += "rejoined" in told
                report = told["answers"][0] if "answers" in told else None
        except openai.OpenAIError as error:
            answer.fault = f"{type(error).__name__}: {error}"
        answer.seconds = time.monotonic() - begin
        if answer.fault is None:
            answer.fault = fault_of(report, text)
        if answer.fault is None:
            numbers = re.findall(r"-?\d+", text)
            answer.is_right = bool(numbers) and numbers[-1] == row["answer"]
            answer.degraded = report["degraded"]
        return answer


def fault_of(report, shown):
    """Returns what is wrong with an answer that has ended, or None."""
    if report is None:
        return "the stream ended before the answer"
    if report["end"] not in ("end_of_text", "loop", "max_tokens"):
        return f"the answer ended by {report['end']}"
    if "".join(span["text"] for span in report["spans"]) != shown:
        return f"what was shown is not the answer: {shown!r}"
    return None
