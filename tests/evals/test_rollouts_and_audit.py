"""What is kept survives a kill; what is graded is graded alike wherever it is graded."""

from __future__ import annotations

import errno
import json
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest
from transformers import LlamaForCausalLM

from baselines.tiny import tokenizer
from configs.cli import run
from configs.errors import UsageError
from configs.load import load_recipe, load_template
from evals.audit import AuditSpec, audit_table, graded_row, run_audit
from evals.engine import TransformersEngine
from evals.rollouts import SCHEMA, RolloutStore
from evals.sampling import Request, Rollout, Sampling
from rewards.suites import ProblemSet, load_problems
from rewards.types import STATUSES, Problem

ROOT = Path(__file__).parents[2]
SAMPLES = 6


def row_of(**fields: Any) -> dict[str, Any]:
    empty: dict[str, Any] = dict.fromkeys(SCHEMA.names)
    return empty | {"problem_id": "p/0", "sample": 0, "completion": "x"} | fields


class KilledError(Exception):
    """Stands for whatever ends a process between two batches."""


class Fragile(TransformersEngine):
    """An engine that ends the audit after so many batches."""

    batches_left = 10**9

    def sample(self, requests: Sequence[Request], sampling: Sampling) -> list[Rollout]:
        if self.batches_left == 0:
            raise KilledError
        self.batches_left -= 1
        return super().sample(requests, sampling)


def engine_of(model: LlamaForCausalLM, batches_left: int = 10**9) -> Fragile:
    engine = Fragile(model, tokenizer(), stop_token_ids=[256], stop_strings=[], batch_tokens=300)
    engine.batches_left = batches_left
    return engine


def spec_of(suite: ProblemSet | None = None, samples: int = SAMPLES) -> AuditSpec:
    return AuditSpec(
        base="random",
        step=0,
        suite=suite or load_problems("sums").first(7),
        template=load_template("qa"),
        reading="strict",
        sampling=Sampling(temperature=1.0, top_p=1.0, max_tokens=12, seed=3),
        samples=samples,
    )


def by_sample(store: RolloutStore) -> dict[tuple[str, int], dict[str, Any]]:
    rows = list(store.rows())
    found = {(row["problem_id"], row["sample"]): row for row in rows}
    assert len(found) == len(rows)  # none twice
    return found


def assert_same(one: RolloutStore, other: RolloutStore) -> None:
    mine, theirs = by_sample(one), by_sample(other)
    assert mine.keys() == theirs.keys()
    for key, row in mine.items():
        assert row.pop("logprob") == pytest.approx(theirs[key].pop("logprob"), abs=1e-3)
        assert row == theirs[key]


@pytest.fixture(scope="module")
def whole(model: LlamaForCausalLM, tmp_path_factory: pytest.TempPathFactory) -> tuple[RolloutStore, dict[str, Any]]:
    store = RolloutStore(tmp_path_factory.mktemp("whole") / "rollouts")
    return store, run_audit(engine_of(model), spec_of(), store)


def test_a_part_is_there_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = RolloutStore(tmp_path / "rollouts")
    store.append([row_of(sample=0)])

    def half(table: Any, path: Path, **_: Any) -> None:
        path.write_bytes(b"PAR1 and then the power went")
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(pq, "write_table", half)
        with pytest.raises(OSError, match="no space"):
            store.append([row_of(sample=1)])
    assert [row["sample"] for row in store.rows()] == [0]
    assert len(list(store.folder.iterdir())) == 1  # the half is gone: it would take what little room there is
    store.append([row_of(sample=2)])
    assert [row["sample"] for row in store.rows()] == [0, 2]
    assert list(next(store.rows())) == SCHEMA.names


def test_two_writers_in_turn_never_write_over_one_another(tmp_path: Path) -> None:
    one, other = RolloutStore(tmp_path), RolloutStore(tmp_path)
    for sample in range(6):
        (one, other)[sample % 2].append([row_of(sample=sample)])
    assert [row["sample"] for row in one.rows()] == list(range(6))


def test_a_full_disk_is_told_in_one_line_and_the_audit_goes_on_where_there_is_room(
    short_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main = runpy.run_path(str(ROOT / "scripts" / "audit.py"))["main"]
    numbers = [
        "--limit",
        "12",
        "--samples",
        "2",
        "--batch-tokens",
        "500",
        "--max-tokens",
        "8",
        "--engine",
        "transformers",
    ]
    command = ["audit.py", "--base", str(short_base), "--suite", "sums", "--template", "qa", *numbers]
    monkeypatch.setattr(sys, "argv", [*command, "--out", str(tmp_path / "out")])
    write, room = pq.write_table, [1]

    def until_full(*given: Any, **more: Any) -> None:
        write(*given, **more)
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        room[0] -= 1

    with monkeypatch.context() as patch:
        patch.setattr(pq, "write_table", until_full)
        assert run(main) == 2
    told = capsys.readouterr().err
    assert "error: the disk is full. What was kept is whole" in told
    assert "(scripts/grpo.py, baseline.py: add --resume)" in told
    store = RolloutStore(tmp_path / "out" / "rollouts")
    kept = by_sample(store)
    assert 0 < len(kept) < 24
    assert run(main) == 0
    assert len(by_sample(store)) == 24
    assert kept.items() <= by_sample(store).items()


def test_a_part_that_was_cut_is_set_aside_and_never_written_over(tmp_path: Path) -> None:
    store = RolloutStore(tmp_path)
    first, second = (store.append([row_of(sample=sample)]) for sample in (0, 1))
    second.write_bytes(second.read_bytes()[:-20])
    assert [row["sample"] for row in store.rows()] == [0]
    assert [path.suffix for path in sorted(tmp_path.iterdir())] == [".parquet", ".broken"]
    third = store.append([row_of(sample=2)])
    assert third.name not in {first.name, second.name}
    assert [row["sample"] for row in store.rows()] == [0, 2]


def test_a_step_is_dropped_with_everything_after_it(tmp_path: Path) -> None:
    store = RolloutStore(tmp_path)
    for step in (1, 2, 3, 4):
        store.write(f"{step:06d}-0", [row_of(step=step)])
    store.drop_after(2)
    assert [row["step"] for row in store.rows()] == [1, 2]


@pytest.mark.parametrize("batches", [0, 1, 3])
def test_an_audit_that_was_ended_half_way_goes_on_as_if_it_had_not_been(
    batches: int, model: LlamaForCausalLM, whole: tuple[RolloutStore, dict[str, Any]], tmp_path: Path
) -> None:
    store = RolloutStore(tmp_path)
    with pytest.raises(KilledError):
        run_audit(engine_of(model, batches), spec_of(), store)
    kept = by_sample(store)
    assert (len(kept) > 0) == (batches > 0)
    assert len(kept) < 7 * SAMPLES
    again = engine_of(model)
    audit = run_audit(again, spec_of(), store)
    assert_same(store, whole[0])
    assert {**audit, "mean_token_logprob": 0} == {**whole[1], "mean_token_logprob": 0}
    untouched = engine_of(model, batches_left=0)  # nothing is drawn once everything is there
    assert run_audit(untouched, spec_of(), store) == audit


def test_an_audit_drawn_in_pieces_is_the_audit_drawn_at_once(
    model: LlamaForCausalLM,
    whole: tuple[RolloutStore, dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("evals.audit.AT_ONCE", 5)  # of 42
    store = RolloutStore(tmp_path)
    audit = run_audit(engine_of(model), spec_of(), store)
    assert_same(store, whole[0])
    assert {**audit, "mean_token_logprob": 0} == {**whole[1], "mean_token_logprob": 0}


def test_samples_of_a_cut_part_are_drawn_again(
    model: LlamaForCausalLM, whole: tuple[RolloutStore, dict[str, Any]], tmp_path: Path
) -> None:
    store = RolloutStore(tmp_path)
    run_audit(engine_of(model), spec_of(), store)
    victim = store.parts()[1]
    victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 2])
    lost = 7 * SAMPLES - len(by_sample(store))
    assert lost > 0
    run_audit(engine_of(model), spec_of(), store)
    assert_same(store, whole[0])


def test_prompts_that_are_all_too_long_for_the_context_are_refused_before_anything_is_drawn(
    model: LlamaForCausalLM, tmp_path: Path
) -> None:
    long = Problem(id="long/0", question="1+" * 300, answer="300")
    suite = ProblemSet(name="long", problems=(long,), bad_gold=())
    with pytest.raises(UsageError, match="the shortest has 618; lower --max-tokens"):
        run_audit(engine_of(model), spec_of(suite), RolloutStore(tmp_path / "rollouts"))
    assert not (tmp_path / "rollouts").exists()


class Scripted(TransformersEngine):
    """Says what it is told to, in turn, whatever it is asked."""

    replies = (r" \boxed{5}", " I do not know.", r" \boxed{7}", " 5")

    def sample(self, requests: Sequence[Request], sampling: Sampling) -> list[Rollout]:
        return [
            Rollout(
                problem_id=request.problem_id,
                sample=request.sample,
                completion=self.replies[request.sample],
                prompt_tokens=3,
                completion_tokens=10 * (request.sample + 1),
                finish="stop" if request.sample < 3 else "length",
                logprob=-1.0,
                seed=3,
            )
            for request in requests
        ]


def test_a_problem_with_a_bad_gold_is_listed_and_left_out_of_every_rate(
    model: LlamaForCausalLM, tmp_path: Path
) -> None:
    path = tmp_path / "mixed.jsonl"
    golds = {"right": "5", "broken": "\\frac{", "wrong": "6", "empty": ""}
    path.write_text(
        "".join(json.dumps({"id": key, "problem": "2+3", "answer": gold}) + "\n" for key, gold in golds.items())
    )
    suite = load_problems(str(path))
    assert suite.bad_gold == ("broken", "empty")
    engine = Scripted(model, tokenizer(), stop_token_ids=[256], stop_strings=[])
    audit = run_audit(engine, spec_of(suite, samples=4), RolloutStore(tmp_path / "rollouts"))
    assert audit["suite"]["bad_gold"] == ["broken", "empty"]
    assert [each["id"] for each in audit["problems"]] == ["right", "wrong"]
    strict, lenient = audit["pass_at_k"]["read"], audit["pass_at_k"]["lenient"]
    assert (strict["1"]["value"], strict["1"]["n"]) == (1 / 8, 2)  # one box of four is right, in one problem of two
    assert lenient["1"]["value"] == 2 / 8  # and a bare 5
    assert strict["2"]["value"] == (1 - 3 / 6) / 2  # 3 of the 6 pairs of samples miss the right one
    assert strict["4"]["value"] == 1 / 2
    assert audit["status"] == {"graded": 4, "no_answer": 4, "unparsable": 0, "bad_gold": 8}
    assert audit["answer_rate"]["value"] == 1 / 2
    assert audit["stop_rate"]["value"] == 3 / 4
    assert audit["truncation_rate"]["value"] == 1 / 4
    table = dict(audit_table(audit))
    assert table["gold rejected by its own verifier"] == "broken, empty"
    assert table["pass@1, strict reading"].startswith("12.5%")


def test_a_killed_audit_script_resumes_to_the_rows_of_an_undisturbed_one(
    short_base: Path, script: Callable[..., Any], tmp_path: Path
) -> None:
    def arguments(out: str, samples: int = 8) -> list[str]:
        numbers = ["--limit", "32", "--samples", str(samples), "--batch-tokens", "500", "--max-tokens", "28"]
        return ["--base", str(short_base), "--suite", "sums", *numbers, "--out", str(tmp_path / out)]

    command = [sys.executable, str(ROOT / "scripts" / "audit.py"), *arguments("killed")]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    give_up = time.monotonic() + 120
    while (
        len(list(tmp_path.glob("killed/rollouts/part-*"))) < 3 and process.poll() is None and time.monotonic() < give_up
    ):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    store = RolloutStore(tmp_path / "killed" / "rollouts")
    assert 0 < len(by_sample(store)) < 32 * 8
    assert json.loads((tmp_path / "killed/manifest.json").read_text())["status"] == "running"
    assert not (tmp_path / "killed/audit.json").exists()

    refused = script("audit", *arguments("killed", samples=4))
    assert refused.returncode == 2
    assert "samples" in refused.stderr

    for out in ("killed", "whole"):
        done = script("audit", *arguments(out))
        assert done.returncode == 0, done.stderr[-3000:]
    assert_same(store, RolloutStore(tmp_path / "whole" / "rollouts"))
    resumed, undisturbed = (json.loads((tmp_path / out / "audit.json").read_text()) for out in ("killed", "whole"))
    resumed_logprob, logprob = (one.pop("mean_token_logprob")["value"] for one in (resumed, undisturbed))
    assert resumed_logprob == pytest.approx(logprob, abs=1e-4)
    assert resumed == undisturbed
    manifest = json.loads((tmp_path / "killed/manifest.json").read_text())
    assert (manifest["status"], manifest["starts"]) == ("finished", 2)


GOLDS = ["632", r"\frac{3}{4}", "x+1", "even", r"\frac{"]
REPLIES = [
    r"12,13,06 \boxed{632}",
    r"\boxed{631}",
    r"so \boxed{0.75}",
    r"\boxed{\frac34}",
    r"\boxed{x+1}",
    r"\boxed{1+x}",
    r"\boxed{\text{even}}",
    r"\boxed{Even}",
    "I do not know.",
    "",
    " ",
    "632",
    "The answer is 632.",
    "#### 3/4",
    "Answer: x+1",
    r"\boxed{",
    r"\boxed{}",
    r"\boxed{\frac{1}{}",
    r"\boxed{632}<|im_end|>\boxed{1}",
    "\\boxed{632}\nQuestion: 1+1=?\nAnswer: \\boxed{2}",
    r"\boxed{1}\boxed{632}",
    r"\boxed{\boxed{632}}",
    "<think>\\boxed{632}",
    "<think>x</think> \\boxed{632}",
    "<answer>632</answer>",
    r"\boxed{6{,}32}",
    r"\boxed{632.0}",
    r"\boxed{\$632}",
    r"\fbox{632}",
    r"\boxed 632",
    "９\\boxed{六百}",
    r"\boxed{" + "9" * 3000 + "}",
    "\\boxed{632\n}",
    r"\boxed{63200\%}",
    r"\boxed{75\%}",
    r"\boxed{\alpha\beta\}}",
    r"\boxed{=}",
    r"\boxed{x + 1 = 2}",
    "\\boxed{\x00}",
    r"\boxed{-632}",
]


@pytest.mark.parametrize(("name", "reading"), [("qa", "strict"), ("none", "lenient"), ("r1", "strict")])
def test_training_audit_and_the_grading_script_give_one_verdict(
    name: str, reading: Any, script: Callable[..., Any], tmp_path: Path
) -> None:
    from rl.record import Clock
    from rl.rollouts import Rollouts

    template = load_template(name)
    problems = {
        f"mix/{index}": Problem(id=f"mix/{index}", question="", answer=gold) for index, gold in enumerate(GOLDS)
    }
    said = [
        f"<think>x</think> <answer>{reply}</answer>" if name == "r1" and "<" not in reply else reply
        for reply in REPLIES
    ]
    pairs = [(problem, reply) for problem in problems.values() for reply in said]
    assert len(pairs) == 200

    recipe = load_recipe("tiny").model_copy(update={"reading": reading})
    plan: Any = SimpleNamespace(recipe=recipe, template=template, seed=0)
    engine: Any = SimpleNamespace(stop_token_ids=[256], tokenizer=tokenizer())
    store = RolloutStore(tmp_path / "train")
    rewards = Rollouts(plan, engine, problems, store, Clock({})).reward(
        prompts=["?"] * 200,
        completions=[reply for _, reply in pairs],
        completion_ids=[engine.tokenizer(reply)["input_ids"] for _, reply in pairs],
        problem_id=[problem.id for problem, _ in pairs],
        trainer_state=SimpleNamespace(global_step=0),
        log_metric=lambda *_: None,
    )
    trained = sorted(store.rows(), key=lambda row: row["sample"])

    source, out = tmp_path / "rows.jsonl", tmp_path / "graded.jsonl"
    source.write_text("".join(json.dumps({"gold": one.answer, "completion": reply}) + "\n" for one, reply in pairs))
    done = script("grade", "--in", source, "--out", out, "--template", name, "--read", reading)
    assert done.returncode == 0, done.stderr[-2000:]
    regraded = [json.loads(line) for line in out.read_text().splitlines()]

    for place, (problem, reply) in enumerate(pairs):
        rollout = Rollout(
            problem_id=problem.id,
            sample=place,
            completion=reply,
            prompt_tokens=1,
            completion_tokens=1,
            finish="stop",
            logprob=0.0,
            seed=0,
        )
        audited = graded_row(rollout, problem, template, reading)
        for field in ("answer", "correct", "status"):
            assert trained[place][field] == audited[field] == regraded[place][field], (problem.answer, reply, field)
        assert trained[place]["lenient_correct"] == audited["lenient_correct"]
        assert rewards[place] == (None if audited["status"] == "bad_gold" else float(audited["correct"]))
        assert trained[place]["reward"] == rewards[place]
    seen = {row["status"] for row in trained}
    assert seen >= set(STATUSES)
    assert 5 < sum(row["correct"] for row in trained) < 100
