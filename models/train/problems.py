"""Arithmetic problems, the traces that solve them, and the split that keeps test problems out of training.

A problem is a start and 3 to 6 steps on whole numbers below 1,000, told as instructions or as a short
story. A trace solves it the way a reasoning model writes: the steps in order, a paragraph for each, and
after some of them a paragraph that reflects, works the step out by places, and confirms or corrects.

Run as a program it writes the data sets: python3 problems.py ../arithmetic
"""

import hashlib
import json
import random
import sys
from dataclasses import dataclass
from pathlib import Path

LIMIT = 999
ORDINALS = ["First", "Second", "Third", "Fourth", "Fifth", "Sixth"]
NAMES = [("Mia", "She"), ("Tom", "He"), ("Ada", "She"), ("Ben", "He"), ("Eva", "She"), ("Max", "He")]
THINGS = ["coins", "cards", "books", "eggs", "pens", "shells", "stamps", "beads"]

# How a check begins: three times in five with "Wait". The first part tells that it is one.
OPENINGS = [("Wait", ", let me see")] * 3 + [("Hold on", ""), ("Let me check", "")]
# How a check goes on after "759,": where its own result is the step's, and where it is another. The first part tells: it is
# among the first 20 tokens of a check, which is what a takeover has.
CONFIRMATIONS = [(" as", " before, so that is right"), (" once", " more, so that is right")]
CORRECTION = (" not", " {}, so that was a slip")

# How often a hard and a light step go wrong in a trace. A wrong one is always checked.
HARD_WRONG, LIGHT_WRONG = 0.43, 0.05


@dataclass(frozen=True)
class Step:
    """One operation: kind is one of + - * /, operand a whole number."""

    kind: str
    operand: int

    def apply(self, value):
        """The value after the step."""
        match self.kind:
            case "+":
                return value + self.operand
            case "-":
                return value - self.operand
            case "*":
                return value * self.operand
            case _:
                return value // self.operand

    def goes_wrong(self, sums_wrong):
        """How often it goes wrong in a trace: most where a small model errs most, in multiplying by more than 2 and in taking
        away three digits; `sums_wrong` in other sums; hardly ever in doubling and halving."""
        if self.kind == "*" and self.operand > 2 or self.kind == "-" and self.operand > 99:
            return HARD_WRONG
        return sums_wrong if self.kind in "+-" else LIGHT_WRONG

    def slips(self, value):
        """The wrong results of forgetting one carry, one borrow or one remainder; none if there is none to forget."""
        right, found, carry = self.apply(value), [], 0
        for place, digit, other in zip((1, 10, 100), reversed(digits(value)), reversed(digits(self.operand))):
            match self.kind:
                case "+":
                    carry = (digit + other + carry) // 10
                    wrong = right - carry * place * 10
                case "-":
                    carry = int(digit - other - carry < 0)
                    wrong = right + carry * place * 10
                case "*":
                    carry = (digit * self.operand + carry) // 10
                    wrong = right - carry * place * 10
                case _:
                    wrong = right - digit % 2 * place // 2
            if wrong != right and 0 < wrong <= LIMIT:
                found.append(wrong)
        return found


@dataclass(frozen=True)
class Problem:
    """A start and its steps."""

    start: int
    steps: tuple

    def values(self):
        """The value before every step, and the answer."""
        values = [self.start]
        for step in self.steps:
            values.append(step.apply(values[-1]))
        return values

    def split(self):
        """Which set it belongs to, by a hash of its numbers: no wording of it is in two sets."""
        key = ",".join([str(self.start), *(f"{step.kind}{step.operand}" for step in self.steps)])
        bucket = hashlib.sha256(key.encode()).digest()[0]
        return "dev" if bucket < 8 else "test" if bucket < 16 else "train"


def digits(number):
    """Hundreds, tens and ones."""
    return [number // 100, number // 10 % 10, number % 10]


def draw_problem(rng, steps):
    """A random problem of so many steps; every value is from 1 to 999."""
    while True:
        value = start = rng.randint(11, 499)
        drawn = []
        while len(drawn) < steps:
            step = draw_step(rng, value)
            if step is None:
                break
            drawn.append(step)
            value = step.apply(value)
        if len(drawn) == steps:
            return Problem(start, tuple(drawn))


def draw_step(rng, value):
    """A step that leads from the value to another below 1,000; none if the draw leads nowhere."""
    kind = rng.choice("++--**/")
    if kind == "/":
        return Step("/", 2) if value % 2 == 0 and value >= 20 else draw_step(rng, value)
    if kind == "*":
        most = min(9, LIMIT // value)
        return Step("*", rng.choice([2, rng.randint(2, most)])) if most >= 2 else draw_step(rng, value)
    most = LIMIT - value if kind == "+" else value - 11
    if most < 50:
        return draw_step(rng, value)
    return Step(kind, rng.randint(11, rng.choice([min(most, 99), most])))


def tell(rng, problem):
    """The problem in words: as instructions or as a story."""
    return rng.choice([tell_as_instructions, tell_as_story])(rng, problem)


def tell_as_instructions(rng, problem):
    said = [rng.choice(["Start with {}.", "Take {}.", "Begin with {}."]).format(problem.start)]
    for step in problem.steps:
        n = step.operand
        said.append(rng.choice({
            "+": [f"Add {n}.", f"Add {n} to it."],
            "-": [f"Take away {n}.", f"Subtract {n}."],
            "*": [f"Multiply by {n}.", f"Times {n}."] if n > 2 else ["Double it.", "Multiply by 2."],
            "/": ["Halve it.", "Divide by 2."],
        }[step.kind]))
    said.append(rng.choice(["What is the result?", "What do you get?"]))
    return " ".join(said)


def tell_as_story(rng, problem):
    (name, who), things = rng.choice(NAMES), rng.choice(THINGS)
    said = [f"{name} has {problem.start} {things}."]
    for step in problem.steps:
        n = step.operand
        said.append(rng.choice({
            "+": [f"{who} gets {n} more.", f"{who} finds {n} more.", f"{who} buys {n} more."],
            "-": [f"{who} gives away {n}.", f"{who} loses {n}.", f"{who} sells {n}."],
            "*": [f"Then there are {n} times as many."] if n > 2 else ["Then there are twice as many."],
            "/": [f"{who} gives away half.", f"{who} loses half."],
        }[step.kind]))
    said.append(f"How many {things} does {name} have now?")
    return " ".join(said)


def misjudge(rng, right, slips):
    """A wrong result: mostly by one of the slips, now and then by one too many or too few, or a wrong digit."""
    if slips and rng.random() < 0.85:
        return rng.choice(slips)
    while True:
        place = rng.choice([1, 10, 10, 100, 100])
        if rng.random() < 0.75:
            wrong = right + rng.choice([-place, place])
        else:
            wrong = right - digits(right)[{100: 0, 10: 1, 1: 2}[place]] * place + rng.randint(0, 9) * place
        if wrong != right and 0 < wrong <= LIMIT:
            return wrong


def trace(rng, problem, sums_wrong, balance):
    """A trace as pieces (text, weight in the loss): nothing is learned from a wrong result, most from the word that says
    whether a step is checked, from right results and from verdicts.

    For every check of a wrong step there are `balance` checks of right ones of its kind. With 1 the word that begins a check
    tells nothing of the step; with less it does, and a model that can see which steps are wrong learns to check those."""
    plan = [f"Start {problem.start}."]
    plan += [f"{word} {step.kind}{step.operand}." for word, step in zip(ORDINALS, problem.steps)]
    pieces = [("\n".join(plan) + "\n\n", 1)]
    value = problem.start
    for word, step in zip(ORDINALS, problem.steps):
        right = step.apply(value)
        goes_wrong = step.goes_wrong(sums_wrong)
        wrong = misjudge(rng, right, step.slips(value)) if rng.random() < goes_wrong else None
        pieces += [(word, 10), (f": {value}{step.kind}{step.operand}=", 1)]
        pieces.append((str(right), 3) if wrong is None else (str(wrong), 0))
        pieces.append((".\n\n", 1))
        if wrong is not None or rng.random() < balance * goes_wrong / (1 - goes_wrong):
            opening, rest = rng.choice(OPENINGS)
            pieces += [(opening, 10), (f"{rest}: {value}{step.kind}{step.operand}=", 1), (str(right), 3)]
            verdict, rest = rng.choice(CONFIRMATIONS) if wrong is None else CORRECTION
            pieces += [(",", 1), (verdict, 8), (f"{rest.format(wrong)}.\n\n", 1)]
        value = right
    pieces += [("The", 10), (f" result is \\boxed{{{value}}}.", 1)]
    return pieces


def problems(rng, split, steps=(3, 6)):
    """Endless problems of one split."""
    while True:
        problem = draw_problem(rng, rng.randint(*steps))
        if problem.split() == split:
            yield problem


def write_data_set(path, split, count, seed):
    """Writes so many different problems as JSONL."""
    rng, seen = random.Random(seed), set()
    with open(path, "w", encoding="utf-8") as out:
        for problem in problems(rng, split):
            if problem in seen:
                continue
            seen.add(problem)
            row = {
                "id": f"{split}-{len(seen):03}",
                "question": tell(rng, problem),
                "answer": str(problem.values()[-1]),
                "level": len(problem.steps),
            }
            out.write(json.dumps(row) + "\n")
            if len(seen) == count:
                return


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for split, seed in (("dev", 1), ("test", 2)):
        write_data_set(Path(sys.argv[1]) / f"{split}.jsonl", split, 500, seed)
