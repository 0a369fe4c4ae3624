"""What a tokenizer cannot write is seen before it is asked, and what it writes in another way is left alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

import evals.audit
from baselines import tiny
from configs.load import load_template
from evals.audit import AuditSpec, audit_table, draw_share, run_audit
from evals.engine import TransformersEngine
from evals.rollouts import RolloutStore
from evals.sampling import NothingToDrawError, Request, Sampling, fitting, lost_characters, split_markers
from rewards.suites import ProblemSet
from rewards.types import Problem

KNOWN = "0123456789+-=?:\n abcdefghijklmnopqrstuvwxyzQAPN"
GREEDY = Sampling(temperature=0, top_p=1.0, max_tokens=4, seed=0)


def of_characters(*, unknown: str | None, normalizer: Any = None) -> PreTrainedTokenizerFast:
    """A token for each of `KNOWN` and no other; what is unknown becomes `unknown`, or nothing at all."""
    names = [*dict.fromkeys(KNOWN), "<pad>", *([unknown] if unknown else [])]
    vocabulary = {name: place for place, name in enumerate(names)}
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token=unknown))
    made.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    if normalizer:
        made.normalizer = normalizer
    special = {"unk_token": unknown} if unknown else {}
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", eos_token="<pad>", **special)


@pytest.mark.parametrize("unknown", ["<unk>", None])
def test_characters_that_turn_into_the_unknown_token_or_vanish_are_lost(unknown: str | None) -> None:
    tokenizer = of_characters(unknown=unknown)
    for text, lost in [
        ("1+2=?\nQ: abc", set()),
        ("1×2", {"×"}),
        ("<|im_start|>", set("<|_>")),
        ("sum ∑ of é", {"∑", "é"}),
    ]:
        assert lost_characters(tokenizer, text, tokenizer(text)["input_ids"]) == lost


def test_folding_of_case_white_space_and_compatibility_forms_is_no_loss() -> None:
    tokenizer = of_characters(
        unknown="<unk>", normalizer=normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    )
    for text in ("HELLO  there", "１２", "ﬁ"):
        assert not lost_characters(tokenizer, text, tokenizer(text)["input_ids"])


def test_a_tokenizer_of_bytes_writes_everything_though_its_unknown_token_is_a_text_of_its_own() -> None:
    tokenizer = tiny.tokenizer()
    for text in ("é ∑ 漢字 🙂", "x<|endoftext|>y", "\x00\x7f"):
        assert not lost_characters(tokenizer, text, tokenizer(text)["input_ids"])


def test_markers_that_are_no_tokens_are_named() -> None:
    prompt = load_template("qwen-boxed").prompt
    assert split_markers(tiny.tokenizer(), prompt) == ["<|im_start|>", "<|im_end|>"]
    chat = tiny.tokenizer()
    chat.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    assert split_markers(chat, prompt) == []
    assert split_markers(tiny.tokenizer(), load_template("qa").prompt) == []


def test_prompts_that_cannot_be_written_are_not_drawn_and_counted(
    model: LlamaForCausalLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = TransformersEngine(model, of_characters(unknown="<unk>"), stop_token_ids=[0], stop_strings=[])
    questions = {"plain": "1+2=?", "odd": "1×2=?", "long": "1+" * 300}
    problems = tuple(Problem(id=name, question=text, answer="3") for name, text in questions.items())
    template = load_template("qa").model_copy(update={"prompt": "Q: {problem}\nA:"})

    def spec(kept: slice) -> AuditSpec:
        return AuditSpec(
            base="b",
            step=0,
            suite=ProblemSet(name="s", problems=problems[kept], bad_gold=()),
            template=template,
            reading="strict",
            sampling=GREEDY,
            samples=2,
        )

    store = RolloutStore(tmp_path / "some")
    audit = run_audit(engine, spec(slice(3)), store)
    assert audit["unwritable"]["value"] == audit["context_overflow"]["value"] == pytest.approx(1 / 3)
    finishes = {row["problem_id"]: (row["finish"], row["completion"]) for row in store.rows()}
    assert (finishes["odd"], finishes["long"]) == (("unwritable", ""), ("context", ""))
    assert dict(audit_table(audit))["not drawn: characters that the tokenizer has no tokens for"].startswith("33.3%")
    with pytest.raises(NothingToDrawError, match="no tokens for some character of every prompt of qa; choose another"):
        run_audit(engine, spec(slice(1, 2)), RolloutStore(tmp_path / "none"))
    assert not (tmp_path / "none").exists()

    monkeypatch.setattr(evals.audit, "AT_ONCE", 1)  # an engine is given the requests in pieces
    with pytest.raises(NothingToDrawError):
        run_audit(engine, spec(slice(1, 3)), RolloutStore(tmp_path / "none"))
    assert not (tmp_path / "none").exists()
    assert run_audit(engine, spec(slice(3)), RolloutStore(tmp_path / "pieces"))["problems"] == audit["problems"]
    late = run_audit(engine, spec(slice(2, None, -1)), RolloutStore(tmp_path / "late"))  # those come first
    assert late["unwritable"]["value"] == late["context_overflow"]["value"] == pytest.approx(1 / 3)
    draw_share(engine, spec(slice(3)), RolloutStore(tmp_path / "share"), place=1, of=3)  # one process has only such
    assert [row["finish"] for row in RolloutStore(tmp_path / "share").rows()] == ["unwritable"] * 2


def test_every_request_is_either_drawn_or_left_out() -> None:
    asked = [Request(problem_id=str(i), sample=0, prompt=text) for i, text in enumerate(["1+2", "1×2", "3", "1+2"])]
    fit, left_out = fitting(asked, of_characters(unknown=None), context=6, sampling=GREEDY)
    assert [request.problem_id for request, _ in fit] == ["2"]
    assert {one.problem_id: one.finish for one in left_out} == {"0": "context", "1": "unwritable", "3": "context"}


def test_the_script_notes_markers_that_the_base_reads_letter_by_letter(
    short_base: Path, script: Callable[..., Any], tmp_path: Path
) -> None:
    suite = tmp_path / "one.jsonl"
    suite.write_text('{"id": "1", "problem": "1+1", "answer": "2"}\n')
    flags = ["--suite", suite, "--samples", 1, "--max-tokens", 2, "--template", "qwen-boxed", "--out", tmp_path / "out"]
    done = script("audit", "--base", short_base, *flags)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "note: <|im_start|>, <|im_end|> of template qwen-boxed: no token of this base" in done.stdout
