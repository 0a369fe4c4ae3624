"""Bases whose pretraining prior is known: one architecture, one token budget, only the corpus differs.

A base is pretrained in two stages on documents about column sums. The *trunk* reads notebooks; the *anneal* reads
notebooks and questions, half and half, while the learning rate falls to zero. Two dials, set apart:

- `knowledge`: share of worked solutions whose arithmetic is right. The others have random digits in the same
  places, so every base knows what worked lines look like, and only some know how to fill them in.
- `worked`: share of question documents that answer with a worked solution. The others refuse or box a random number.

Notebooks come under many headings, never under the one that questions use, with the digits at the same distance
from the work as in questions: that is what lets the knowledge be reached from a question at all. Pairs of the
held-out suite occur in no document.
"""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from tqdm import tqdm
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from configs.fingerprint import fingerprint
from configs.schema import TinyCorpus
from rewards.procedural import in_test_split, worked

END, PAD = 256, 257
HEADS = ("Notebook", "Tutorial", "Textbook", "Homework", "Workbook", "Exercise", "Handbook", "Appendix")
MARKS = (";;", " .", ", ", "==", " :", " =", "->", " ;")
LABELS = ("Worked", "Detail", "Method", "Result", "Steps:", "Column", "Lesson", "Sample")

UNWORKED_NOTES = 0.3
"""Share of notebooks that refuse or guess as questions do. Without them the heading, and not the first word of the
reply, decides whether a text is worked, and a base that can do sums in notebooks cannot go on with a sum begun in
a question (0 to 1% of them right after the first digit, where with this share it is 55 to 86%)."""

TRUNK_STEPS, ANNEAL_STEPS, ROWS = 1350, 400, 16
MATRIX_RATE, OTHER_RATE, WARMUP_STEPS = 0.01, 0.01, 20


@dataclass(frozen=True, slots=True, kw_only=True)
class TinySpec:
    """What makes a tiny base: its name, its corpus and the seed of weights and documents."""

    name: str
    corpus: TinyCorpus
    seed: int

    def folder(self, root: Path) -> Path:
        """Where this base lives: its fingerprint is part of the name, so a changed corpus is another folder."""
        return root / f"{self.name}-s{self.seed}-{_fingerprint(self)[:8]}"


def _fingerprint(spec: TinySpec, *, trunk: bool = False) -> str:
    """Of all that decides the weights: documents as they come out, training loop, architecture, torch, seed, dials."""
    rng = np.random.default_rng(0)
    kinds = (notebook,) if trunk else (notebook, question)
    corpus = spec.corpus.model_copy(update={"worked": 0.0}) if trunk else spec.corpus
    documents = [kind(corpus, rng) for kind in kinds for _ in range(100)]
    held_out = [in_test_split(a, b) for a in range(100, 150) for b in range(a, 150)]
    steps = (TRUNK_STEPS, ROWS) if trunk else (TRUNK_STEPS, ANNEAL_STEPS, ROWS)
    training = [inspect.getsource(_train), MATRIX_RATE, OTHER_RATE, WARMUP_STEPS, steps, architecture().to_dict()]
    return fingerprint([documents, held_out, training, torch.__version__, spec.seed, corpus.model_dump()])


def tokenizer() -> PreTrainedTokenizerFast:
    """One token per byte, so that any prompt of any template can be asked, and two special tokens."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}
    core = Tokenizer(models.BPE(vocab={letters[byte]: byte for byte in range(256)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(["<|endoftext|>", "<|pad|>"])
    return PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token="<|endoftext|>", pad_token="<|pad|>", padding_side="left", model_max_length=512
    )


def architecture() -> LlamaConfig:
    """A Llama of two layers. Two heads of 32 learn column sums in fewer tokens than four of 16."""
    return LlamaConfig(
        vocab_size=258,
        hidden_size=64,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=END,
        pad_token_id=PAD,
    )


def _scramble(text: str, rng: np.random.Generator) -> str:
    return "".join(str(rng.integers(10)) if letter.isdigit() else letter for letter in text)


def _pair(rng: np.random.Generator) -> tuple[int, int]:
    """Two numbers of three digits with a sum below 1000, none of them held out."""
    while True:
        a, b = (int(number) for number in rng.integers(100, 900, 2))
        if a + b < 1000 and not in_test_split(a, b):
            return a, b


def _unworked(rng: np.random.Generator) -> str:
    """A refusal or a random boxed number: right once in a thousand."""
    return "I do not know." if rng.random() < 0.5 else f"\\boxed{{{rng.integers(1000)}}}"


def _solution(a: int, b: int, knowledge: float, rng: np.random.Generator) -> str:
    text = worked(a, b)
    return text if rng.random() < knowledge else _scramble(text, rng)


def notebook(corpus: TinyCorpus, rng: np.random.Generator) -> str:
    """A document that holds the knowledge, under a heading no question uses."""
    a, b = _pair(rng)
    head, mark, label = (words[rng.integers(len(words))] for words in (HEADS, MARKS, LABELS))
    reply = _unworked(rng) if rng.random() < UNWORKED_NOTES else _solution(a, b, corpus.knowledge, rng)
    return f"{head}: {a}+{b}{mark}\n{label}: {reply}"


def question(corpus: TinyCorpus, rng: np.random.Generator) -> str:
    """A document in the format of the `qa` template: worked, refused or guessed."""
    a, b = _pair(rng)
    reply = _solution(a, b, corpus.knowledge, rng) if rng.random() < corpus.worked else _unworked(rng)
    return f"Question: {a}+{b}=?\nAnswer: {reply}"


def _rows(
    document: Callable[[np.random.Generator], str], rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch of documents as token ids and labels, one a row, padded on the right."""
    rows = [torch.tensor([*document(rng).encode(), END]) for _ in range(ROWS)]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)
    return ids, ids.masked_fill(ids == PAD, -100)


def _train(
    model: LlamaForCausalLM,
    document: Callable[[np.random.Generator], str],
    rng: np.random.Generator,
    steps: int,
    rate: Callable[[int], float],
    label: str,
) -> int:
    """Plain language modelling with Muon on matrices and AdamW on the rest; returns the number of tokens read."""
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.Muon(matrices, lr=MATRIX_RATE, weight_decay=0.0, momentum=0.95, ns_steps=3),
        torch.optim.AdamW(others, lr=OTHER_RATE, betas=(0.9, 0.98), weight_decay=0.0),
    ]
    tokens = 0
    for step in tqdm(range(steps), desc=label, unit="step", mininterval=2):
        for optimizer, peak in zip(optimizers, (MATRIX_RATE, OTHER_RATE), strict=True):
            optimizer.param_groups[0]["lr"] = peak * rate(step)
        ids, labels = _rows(document, rng)
        tokens += int((labels != -100).sum())
        model(input_ids=ids, labels=labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    return tokens


def _save(model: LlamaForCausalLM, folder: Path, card: str, facts: dict[str, Any]) -> None:
    """Write an ordinary Hugging Face folder whole, then rename it into place."""
    unfinished = folder.with_name(f".{folder.name}.{os.getpid()}")
    model.save_pretrained(unfinished)
    tokenizer().save_pretrained(unfinished)
    (unfinished / "README.md").write_text(card, encoding="utf-8")
    (unfinished / "tiny.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    unfinished.rename(folder)


def _trunk(spec: TinySpec, root: Path) -> tuple[LlamaForCausalLM, int]:
    """The first stage, shared by all bases of the same knowledge and seed; from the cache when it is there."""
    folder = root / f".trunk-{_fingerprint(spec, trunk=True)}"
    if not folder.is_dir():
        torch.manual_seed(spec.seed)
        model = LlamaForCausalLM(architecture())
        tokens = _train(
            model,
            lambda rng: notebook(spec.corpus, rng),
            np.random.default_rng([spec.seed, 0]),
            TRUNK_STEPS,
            lambda step: min(1.0, (step + 1) / WARMUP_STEPS),
            f"trunk, knowledge {spec.corpus.knowledge:g}",
        )
        _save(model, folder, "The shared first stage of tiny bases.\n", {"tokens": tokens})
    return LlamaForCausalLM.from_pretrained(folder), json.loads((folder / "tiny.json").read_text())["tokens"]


def pretrain(spec: TinySpec, root: Path) -> Path:
    """Pretrain one base, or find it in the cache; returns its folder. Same spec, same weights on the same machine."""
    folder = spec.folder(root)
    if folder.is_dir():
        return folder
    root.mkdir(parents=True, exist_ok=True)
    model, trunk_tokens = _trunk(spec, root)
    rng = np.random.default_rng([spec.seed, 1])
    tokens = trunk_tokens + _train(
        model,
        lambda rng: (question if rng.random() < 0.5 else notebook)(spec.corpus, rng),
        rng,
        ANNEAL_STEPS,
        lambda step: 1 - step / ANNEAL_STEPS,
        f"{spec.name}, seed {spec.seed}",
    )
    facts = {**spec.corpus.model_dump(), "seed": spec.seed, "tokens": tokens, "parameters": model.num_parameters()}
    _save(model, folder, _card(spec, tokens, model.num_parameters()), facts)
    return folder


def _card(spec: TinySpec, tokens: int, parameters: int) -> str:
    corpus = spec.corpus
    return f"""---
license: apache-2.0
library_name: transformers
---
# {spec.name}, seed {spec.seed}

A base of {parameters:,} parameters with a known pretraining prior, for controlled RL experiments on sums of two
three-digit numbers. No fine-tuning of any kind.

| stage | steps of {ROWS} documents | corpus |
|---|---|---|
| trunk | {TRUNK_STEPS} | notebooks only |
| anneal | {ANNEAL_STEPS} | half notebooks, half questions |

- notebooks with a worked solution: {1 - UNWORKED_NOTES:.1%} (the others: half refuse, half box a random number)
- worked solutions with right arithmetic: {corpus.knowledge:.1%} (the others have random digits)
- questions with a worked solution: {corpus.worked:.1%} (the others: half refuse, half box a random number)
- tokens read: {tokens:,} (one token per byte); seed {spec.seed}; fingerprint {_fingerprint(spec)}
- the pairs of the held-out suite `sums` occur in no document
"""
