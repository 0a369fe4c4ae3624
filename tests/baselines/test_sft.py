"""SFT against hand counts: what has loss, how a reply ends, which tokens were read, and what loss TRL took."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from baselines import tiny
from baselines.bases import find_base
from baselines.replies import Example, worked_examples
from baselines.sft import IGNORED, as_tokens, fine_tune
from configs.errors import UsageError
from configs.load import load_sft, load_template, names
from configs.schema import TinyCorpus
from evals.fewshot import worked_reply
from evals.models import LoadedBase, load_base
from rewards.grade import grade
from rewards.suites import ProblemSet, load_problems
from rewards.types import Problem

TRAIN = load_problems("sums-train").first(24)
QA = load_template("qa")


@pytest.fixture(scope="module")
def loaded(model: Any) -> LoadedBase:
    return LoadedBase(model=model, tokenizer=tiny.tokenizer(), stop_token_ids=[tiny.END])


def test_a_worked_sum_is_the_very_document_that_a_base_of_worked_questions_has_read() -> None:
    corpus, rng = TinyCorpus(knowledge=1.0, worked=1.0), np.random.default_rng(0)
    for document in (tiny.question(corpus, rng) for _ in range(20)):
        question = document.removeprefix("Question: ").partition("\n")[0]
        a, b = map(int, question[:-2].split("+"))
        problem = Problem(id="x", question=question, answer=str(a + b), solution=tiny.worked(a, b))
        assert QA.ask(question) + worked_reply(QA, problem) == document


@pytest.mark.parametrize("name", names("templates"))
def test_every_worked_reply_is_right_by_the_templates_own_contract(name: str) -> None:
    template = load_template(name)
    boxed = Problem(id="b", question="2+2?", answer="4", solution=r"Two and two: \boxed{4}")
    for problem in (*TRAIN.problems[:3], boxed):
        reply = worked_reply(template, problem)
        assert grade(problem, reply, template, reading="strict").correct
        if template.strict == "first-number":  # any working would be read at its first number
            assert reply.strip() == problem.answer
        else:
            assert str(problem.solution) in reply
    if template.strict == "boxed":
        assert worked_reply(template, boxed).strip() == boxed.solution  # it ends in its box and needs no second one


def test_loss_is_on_the_reply_alone_and_a_reply_ends_with_the_end_token(loaded: LoadedBase) -> None:
    row = as_tokens(Example(prompt="Question: 1+2=?\nAnswer:", completion=" 3"), loaded, QA.stop)
    assert row["input_ids"] == [*b"Question: 1+2=?\nAnswer: 3", tiny.END]  # a token a byte
    assert row["labels"] == [IGNORED] * 23 + [*b" 3", tiny.END]


def test_a_reply_that_holds_a_stop_string_ends_there(loaded: LoadedBase) -> None:
    row = as_tokens(Example(prompt="p", completion="<answer> 3 </answer> and"), loaded, ["\nUser:", "</answer>"])
    assert bytes(row["input_ids"]) == b"p<answer> 3 </answer>"


@pytest.fixture(scope="module")
def tuned(short_base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """Twelve steps of all 24 examples."""
    out = tmp_path_factory.mktemp("sft") / "model"
    return out, tune(short_base, out, num_train_epochs=12, per_device_train_batch_size=24)


def tune(base: Path, out: Path, max_tokens: int = 28, **changes: Any) -> Any:
    sft = load_sft("tiny")
    sft = sft.model_copy(update={"sft": sft.sft | changes})
    examples = worked_examples(TRAIN, QA)
    return fine_tune(find_base(str(base)), None, examples, sft, stops=QA.stop, max_tokens=max_tokens, seed=0, out=out)


def test_tokens_and_steps_are_what_counting_bytes_gives(tuned: tuple[Path, Any]) -> None:
    _, trained = tuned
    replies = [len(worked_reply(QA, one)) + 1 for one in TRAIN.problems]
    prompts = [len(QA.ask(one.question)) for one in TRAIN.problems]
    assert (trained.steps, trained.examples, trained.left_out) == (12, 24, 0)
    assert trained.loss_tokens == 12 * sum(replies)
    assert trained.training_tokens == 12 * sum(prompts + replies)


def test_the_first_loss_is_the_mean_surprise_of_the_replies_tokens(tuned: tuple[Path, Any], short_base: Path) -> None:
    base = load_base(str(short_base), revision=None, stop_token_ids=None)
    surprise, count = 0.0, 0
    for one in TRAIN.problems:
        prompt, reply = QA.ask(one.question).encode(), worked_reply(QA, one).encode()
        ids = torch.tensor([[*prompt, *reply, tiny.END]])
        with torch.no_grad():
            logs = base.model(ids).logits[0].log_softmax(-1)
        for place in range(len(prompt), ids.shape[1]):
            surprise, count = surprise - float(logs[place - 1, ids[0, place]]), count + 1
    first, *_, last = (row["loss"] for row in tuned[1].metrics)
    assert first == pytest.approx(surprise / count, rel=1e-4)
    assert last < 0.9 * first


def test_what_comes_out_is_a_base_like_any_other_and_is_made_once(tuned: tuple[Path, Any], short_base: Path) -> None:
    out, trained = tuned
    base = load_base(str(out), revision=None, stop_token_ids=None)
    assert base.stop_token_ids == [tiny.END]
    before = (out / "model.safetensors").stat().st_mtime_ns
    assert tune(short_base, out) == trained
    assert (out / "model.safetensors").stat().st_mtime_ns == before
    assert [path.name for path in out.parent.iterdir()] == ["model"]


def test_what_cannot_be_imitated_is_refused(short_base: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none of 24 replies fits: .* audits cut at 10 .*max_completion_length"):
        tune(short_base, tmp_path / "model", max_tokens=10)
    bare = ProblemSet(name="bare", problems=(Problem(id="a", question="q", answer="1"),), bad_gold=())
    with pytest.raises(UsageError, match=r"bare has no worked solutions .* baseline.py rejection"):
        worked_examples(bare, QA)
