"""vLLM against the transformers engine: the same rows where drawing is greedy, the same distribution where it is not."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from scipy.stats import chisquare

from configs.errors import UsageError
from configs.load import load_template
from evals.audit import AuditSpec, run_audit
from evals.engine import TransformersEngine
from evals.models import load_base, load_text
from evals.rollouts import RolloutStore
from evals.sampling import Engine, NothingToDrawError, Request, Rollout, Sampling, sample_seed
from evals.vllm_engine import Placement, VllmEngines, placements
from rewards.suites import ProblemSet, load_problems
from rewards.types import Problem

ROOT = Path(__file__).parents[2]
GREEDY = Sampling(temperature=0, top_p=1.0, max_tokens=28, seed=0)
PLAIN = replace(GREEDY, temperature=1.0, seed=7)
CPU = Placement(devices="", tensor_parallel=1)


@pytest.fixture(scope="module")
def transformers_with(short_base: Path) -> Callable[[list[str]], TransformersEngine]:
    loaded = load_base(str(short_base), revision=None, stop_token_ids=None)

    def engine(stops: list[str]) -> TransformersEngine:
        return TransformersEngine(
            loaded.model, loaded.tokenizer, stop_token_ids=loaded.stop_token_ids, stop_strings=stops
        )

    return engine


def requests_of(prompts: list[str], samples: int) -> list[Request]:
    return [Request(problem_id=f"p/{i}", sample=s, prompt=one) for i, one in enumerate(prompts) for s in range(samples)]


def sums(problems: int, samples: int, template: str = "qa") -> list[Request]:
    ask = load_template(template).ask
    return requests_of([ask(problem.question) for problem in load_problems("sums").first(problems).problems], samples)


def rows(engine: Engine, requests: list[Request], sampling: Sampling) -> list[Rollout]:
    """All rows in the order of the requests; none is missing and none comes twice."""
    drawn = [one for part in engine.stream(requests, sampling) for one in part]
    found = {(one.problem_id, one.sample): one for one in drawn}
    assert len(found) == len(drawn) == len(requests)
    return [found[one.problem_id, one.sample] for one in requests]


def assert_same(one: list[Rollout], other: list[Rollout]) -> None:
    for mine, theirs in zip(one, other, strict=True):
        assert mine.logprob == pytest.approx(theirs.logprob, abs=1e-3)
        assert replace(mine, logprob=0) == replace(theirs, logprob=0)


@pytest.mark.parametrize("stops", [[], ["\nQuestion:"], ["0", "ow"], ["\\boxed{", "<|endoftext|>"], ["never said"]])
def test_greedy_rows_are_those_of_the_transformers_engine(
    stops: list[str], vllm: VllmEngines, transformers_with: Callable[[list[str]], TransformersEngine]
) -> None:
    asked = sums(24, 1) + sums(24, 1, "simple")
    asked = [replace(request, problem_id=str(place)) for place, request in enumerate(asked)]
    asked += requests_of(["Notebook: 12", "x", "é ∑", "Question: 1"], 2)
    mine = rows(vllm.engine(stops), asked, GREEDY)
    assert_same(mine, rows(transformers_with(stops), asked, GREEDY))
    assert {one.finish for one in mine} == ({"stop"} if stops[:1] == ["0"] else {"stop", "length"})
    for one in mine:  # a stop string that is never said ends at the limit, and nowhere else
        assert one.finish == "stop" or one.completion_tokens == 28
        assert "<|endoftext|>" not in one.completion
    if stops[:1] == ["0"]:
        assert any(one.completion.endswith("0") for one in mine)  # the stop string stays in the text


def test_a_sample_is_drawn_again_whatever_is_drawn_with_it(vllm: VllmEngines) -> None:
    asked = sums(16, 8)
    engine = vllm.engine(["\nQuestion:"])
    together = rows(engine, asked, PLAIN)
    backwards = rows(engine, asked[::-1], PLAIN)[::-1]
    few = rows(engine, asked[5:90:7], PLAIN)
    assert_same(together, backwards)
    assert_same(together[5:90:7], few)
    assert len({one.completion for one in together[:8]}) > 1  # one prompt, eight samples
    other = rows(engine, asked, replace(PLAIN, seed=8))
    assert sum(one.completion == two.completion for one, two in zip(together, other, strict=True)) < len(asked) / 4


def test_a_temperature_that_vllm_does_not_take_is_refused(vllm: VllmEngines) -> None:
    with pytest.raises(UsageError, match="temperatures up to 2; lower --temperature"):
        list(vllm.engine([]).stream(sums(1, 1), replace(PLAIN, temperature=2.1)))


def test_seeds_of_samples_are_consecutive_and_those_of_problems_far_apart() -> None:
    seeds = np.array([sample_seed(PLAIN, request) for request in sums(64, 4)]).reshape(64, 4)
    assert np.all(np.diff(seeds, axis=1) % 2**31 == 1)
    assert np.min(np.diff(np.sort(seeds[:, 0]))) > 4
    assert seeds.max() < 2**31


def test_first_tokens_are_drawn_from_the_softmax_and_logprobs_are_its_logs(
    vllm: VllmEngines, transformers_with: Callable[[list[str]], TransformersEngine]
) -> None:
    count, prompt = 6_000, "Question: 12+3"
    model, tokenizer = transformers_with([]).model, transformers_with([]).tokenizer
    with torch.no_grad():
        logits = model(input_ids=torch.tensor(tokenizer([prompt])["input_ids"])).logits[0, -1].double()
    sampling = replace(PLAIN, temperature=1.3, max_tokens=1)
    drawn = rows(vllm.engine([]), requests_of([prompt], count), sampling)
    plain = torch.log_softmax(logits, -1).numpy()
    expected = count * torch.softmax(logits / 1.3, -1).numpy()
    token_of = {tokenizer.decode([i], skip_special_tokens=True): i for i in range(128)}
    known = [one for one in drawn if one.completion in token_of]  # bytes that are a character of their own
    for one in known:
        assert one.logprob == pytest.approx(plain[token_of[one.completion]], abs=1e-4)
    found = np.bincount([token_of[one.completion] for one in known], minlength=258)
    often = (expected >= 5) & (np.arange(258) < 128)
    assert often.sum() > 10
    pooled = [np.append(each[often], count - each[often].sum()) for each in (found, expected)]
    assert chisquare(*pooled).pvalue > 1e-3


def test_whole_completions_agree_with_the_transformers_engine_within_sampling_error(
    vllm: VllmEngines, transformers_with: Callable[[list[str]], TransformersEngine]
) -> None:
    asked = sums(64, 16)
    for sampling in (PLAIN, replace(PLAIN, temperature=0.7, top_p=0.9)):
        both = [rows(engine(["\nQuestion:"]), asked, sampling) for engine in (vllm.engine, transformers_with)]
        for fact in (
            lambda one: one.finish == "stop",
            lambda one: "\\boxed{" in one.completion,
            lambda one: one.completion_tokens,
            lambda one: one.logprob,
        ):
            mine, theirs = (np.array([fact(one) for one in drawn], dtype=float) for drawn in both)
            error = np.hypot(mine.std(), theirs.std()) / np.sqrt(len(asked))
            assert abs(mine.mean() - theirs.mean()) < 4 * error


def spec_of(suite: ProblemSet, samples: int = 4) -> AuditSpec:
    return AuditSpec(
        base="short",
        step=0,
        suite=suite,
        template=load_template("qa"),
        reading="strict",
        sampling=PLAIN,
        samples=samples,
    )


def test_prompts_that_the_context_has_no_room_for_are_counted_and_not_cut(
    vllm: VllmEngines, transformers_with: Callable[[list[str]], TransformersEngine], tmp_path: Path
) -> None:
    exact = "1" * (512 - 28 - len("Question: \nAnswer:"))
    long = [Problem(id=f"long/{more}", question=exact + "1" * more, answer="1") for more in (0, 1, 900)]
    suite = ProblemSet(name="long", problems=(*load_problems("sums").first(5).problems, *long), bad_gold=())
    for name, engine in [("vllm", vllm.engine([])), ("transformers", transformers_with([]))]:
        store = RolloutStore(tmp_path / name)
        audit = run_audit(engine, spec_of(suite), store)
        cut = {row["problem_id"]: row for row in store.rows() if row["finish"] == "context"}
        assert cut.keys() == {"long/1", "long/900"}  # the first one fits to the token
        assert [(row["completion"], row["completion_tokens"]) for row in cut.values()] == [("", 0)] * 2
        assert cut["long/900"]["prompt_tokens"] == 512 - 28 + 900
        assert audit["context_overflow"]["value"] == 2 / 8
        with pytest.raises(NothingToDrawError, match="the shortest has 485; lower --max-tokens"):
            run_audit(
                engine, spec_of(replace(suite, problems=tuple(long[1:]))), RolloutStore(tmp_path / f"{name}-none")
            )
        assert not (tmp_path / f"{name}-none").exists()


def test_two_engines_draw_what_one_draws_and_a_dead_one_loses_nothing_that_is_kept(
    vllm: VllmEngines, tmp_path: Path
) -> None:
    asked = sums(12, 8)
    with VllmEngines(vllm.text, [CPU, CPU], dtype="auto", room=128) as two:
        assert_same(rows(two.engine([]), asked, PLAIN), rows(vllm.engine([]), asked, PLAIN))
        spec, store = spec_of(load_problems("sums").first(20)), RolloutStore(tmp_path)
        two._processes[0].kill()
        with pytest.raises(UsageError, match="the vLLM process ended"):
            run_audit(two.engine([]), spec, store)
    assert sum(1 for _ in store.rows()) == 40  # the share of the other one
    run_audit(vllm.engine([]), spec, store)
    assert len({(row["problem_id"], row["sample"]) for row in store.rows()}) == 80


def test_a_killed_vllm_audit_leaves_no_process_and_goes_on(
    short_base: Path, script: Callable[..., Any], vllm: VllmEngines, tmp_path: Path
) -> None:
    numbers = ["--limit", "250", "--samples", "8", "--max-tokens", "28"]
    arguments = ["--base", str(short_base), "--suite", "sums", *numbers, "--seed", "7", "--engine", "vllm"]
    arguments += ["--out", str(tmp_path / "killed")]
    command = [sys.executable, str(ROOT / "scripts" / "audit.py"), *arguments]
    process = psutil.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    give_up = time.monotonic() + 180
    while not list(tmp_path.glob("killed/rollouts/part-*")) and process.poll() is None and time.monotonic() < give_up:
        time.sleep(0.02)
    children = process.children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert children
    assert psutil.wait_procs(children, timeout=30)[1] == []
    store = RolloutStore(tmp_path / "killed" / "rollouts")
    assert 0 < sum(1 for _ in store.rows()) < 2000
    refused = script("audit", *[*arguments[:-4], "--engine", "transformers", *arguments[-2:]])
    assert (refused.returncode, "engine" in refused.stderr) == (2, True)

    run_audit(vllm.engine(load_template("qa").stop), spec_of(load_problems("sums").first(250), samples=8), store)
    found = {(row["problem_id"], row["sample"]): row["completion"] for row in store.rows()}
    assert len(found) == sum(1 for _ in store.rows()) == 2000
    some = [
        Request(problem_id=problem.id, sample=sample, prompt=load_template("qa").ask(problem.question))
        for problem in load_problems("sums").first(250).problems[::10]
        for sample in range(8)
    ]
    undisturbed = rows(vllm.engine(load_template("qa").stop), some, PLAIN)
    assert [one.completion for one in undisturbed] == [found[one.problem_id, one.sample] for one in some]


def test_one_engine_for_each_group_of_visible_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    assert placements(1) == [CPU]
    with pytest.raises(UsageError, match="none is visible"):
        placements(2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [one.devices for one in placements(1)] == ["0", "1", "2", "3"]
    assert [(one.devices, one.tensor_parallel) for one in placements(2)] == [("0,1", 2), ("2,3", 2)]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,GPU-abc,7")
    assert [one.devices for one in placements(2)] == ["5,GPU-abc"]
    with pytest.raises(UsageError, match="more than the 3 visible GPUs"):
        placements(4)


def test_a_base_without_an_end_token_is_refused_and_one_named_for_it_ends_it(short_base: Path, tmp_path: Path) -> None:
    for path in short_base.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    for name in ("config.json", "generation_config.json", "tokenizer_config.json"):
        facts = json.loads((tmp_path / name).read_text())
        facts |= {key: None for key in ("eos_token_id", "eos_token") if key in facts}
        (tmp_path / name).write_text(json.dumps(facts))
    for load in (load_base, lambda *args, **more: load_text(*args, **more, cache=tmp_path)):
        with pytest.raises(UsageError, match="names no end-of-text token; add eos_token_id to its config"):
            load(str(tmp_path), revision=None, stop_token_ids=None)
        assert load(str(tmp_path), revision=None, stop_token_ids=[256]).stop_token_ids == [256]
