"""The two models' tokenizers: byte-level BPE, trained on the traces, each with its own rules and size."""

import random

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from problems import problems, tell, trace

# The rules that GGUF files name "qwen2" and "smollm".
QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def cut_like(name):
    """The pre-tokenizer that a GGUF file names so."""
    if name == "qwen2":
        split = pre_tokenizers.Split(Regex(QWEN2), behavior="isolated")
        return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    return pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
    ])


def train_tokenizer(pre, vocab, specials):
    """A tokenizer of at most so many tokens, the special ones last."""
    rng = random.Random(0)
    source = problems(rng, "train", (2, 6))
    texts = []
    for _ in range(4000):
        problem = next(source)
        texts.append(tell(rng, problem))
        texts.append("".join(text for text, _ in trace(rng, problem, 0.36, 1)))
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = cut_like(pre)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab - len(specials),
        min_frequency=20,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens(specials)
    return tokenizer
