"""What is looked at before a run: each fault is made on purpose, and the answer says what to type."""

from __future__ import annotations

import dataclasses
import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from test_plan import plan_of

from configs.errors import UsageError
from configs.load import load_template
from evals.manifest import claim
from rewards.suites import ProblemSet, load_problems
from rewards.types import Problem
from rl import machine
from rl.machine import Check, pins
from rl.plan import Plan
from rl.preflight import preflight, refuse
from rl.record import SILENT_STEPS, Silence

ROOT = Path(__file__).parents[2]
ONE = ProblemSet(name="one", problems=(Problem(id="one/0", question="1 + 1", answer="2"),), bad_gold=())


@pytest.fixture
def base(short_base: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(short_base, tmp_path / "base"))


def planned(base: Path, *, engine: str = "transformers", **changes: Any) -> Plan:
    plan = plan_of(**changes)
    recipe = plan.recipe.model_copy(update={"engine": engine})
    return dataclasses.replace(plan, origin=str(base), revision=None, recipe=recipe, out=base.parent / "run")


def found(plan: Plan, suite: ProblemSet = ONE) -> dict[str, Check]:
    return {check.what: check for check in preflight(plan, [suite], root=ROOT)}


def test_a_base_that_is_whole_passes(base: Path) -> None:
    checks = found(planned(base), load_problems("sums"))
    assert {check.verdict for what, check in checks.items() if what != "versions"} == {"ok"}
    assert "256 <|endoftext|>" in checks["end of text"].found
    assert checks["golds of sums"].found == "all 256 accept themselves"
    longest = max(len(load_template("qa").ask(one.question)) for one in load_problems("sums").problems)
    assert f"{longest} tokens, with 28 new ones {longest + 28}, in a context of 512" in checks["lengths"].found
    assert not (base.parent / "run").exists()


@pytest.mark.parametrize("lost", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_base_that_lacks_a_file_is_refused_by_its_name(base: Path, lost: str) -> None:
    (base / lost).unlink()
    with pytest.raises(UsageError, match=f"lacks {lost}"):
        refuse(preflight(planned(base), [ONE], root=ROOT))


def test_a_shard_that_the_index_names_must_be_there(base: Path) -> None:
    index = {"weight_map": {"a.weight": "model-1.safetensors", "b.weight": "model-2.safetensors"}}
    (base / "model.safetensors.index.json").write_text(json.dumps(index))
    shutil.copy(base / "model.safetensors", base / "model-1.safetensors")
    assert "lacks model-2.safetensors" in found(planned(base))["model"].found


def test_a_base_without_an_end_of_text_is_refused(base: Path) -> None:
    for name in ("config.json", "generation_config.json"):
        facts = json.loads((base / name).read_text()) if (base / name).is_file() else {}
        (base / name).write_text(json.dumps(facts | {"eos_token_id": None}))
    check = found(planned(base))["end of text"]
    assert (check.verdict, "add eos_token_id" in check.found) == ("stop", True)
    known = dataclasses.replace(planned(base), stop_token_ids=[256])
    assert found(known)["end of text"].verdict == "ok"


def test_a_template_whose_marks_the_tokenizer_does_not_know_is_noted(base: Path) -> None:
    check = found(planned(base, template="qwen-boxed"))["end of text"]
    assert (check.verdict, "<|im_start|>" in check.found) == ("note", True)


def test_a_prompt_that_leaves_no_room_is_refused_with_the_length_that_fits(base: Path) -> None:
    long = dataclasses.replace(ONE, problems=(Problem(id="one/0", question="1" * 400, answer="2"),))
    prompt = len(load_template("qa").ask("1" * 400))  # one token a character
    plan = planned(base, max_completion_length=200)
    assert found(plan, long)["lengths"].verdict == "stop"
    room = 512 - prompt
    assert f"max_completion_length={room}" in found(plan, long)["lengths"].found
    assert found(planned(base, max_completion_length=room), long)["lengths"].verdict == "ok"


def test_golds_that_their_verifier_rejects_are_named(base: Path) -> None:
    bad = ProblemSet(name="one", problems=ONE.problems, bad_gold=("one/0",))
    assert "1 of 1 golds" in found(planned(base), bad)["golds of one"].found


def test_an_adapter_on_a_module_that_is_not_there_names_the_nearest(base: Path) -> None:
    for targets, verdict in (
        (["q_proj", "down_proj"], "ok"),
        (r".*\.[qv]_proj", "ok"),
        (["q_prj"], "stop"),
        ("q", "stop"),
    ):
        check = found(planned(base, lora={"r": 4, "target_modules": targets}))["adapter"]
        assert check.verdict == verdict, targets
    check = found(planned(base, lora={"target_modules": ["k_proj", "q_prj"]}))["adapter"]
    assert "did you mean" in check.found
    assert "q_proj" in check.found


def test_versions_other_than_the_tested_ones_are_named(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"torch", "transformers", "trl", "vllm", "accelerate", "peft"} == pins(ROOT).keys()
    monkeypatch.setattr(
        machine, "_installed", lambda name: {"trl": "9.9.9", "torch": f"{pins(ROOT)['torch']}+cu130"}.get(name)
    )
    check = found(planned(base))["versions"]
    assert check.verdict == "note"
    assert f"trl 9.9.9 (tested: {pins(ROOT)['trl']})" in check.found
    assert "peft is not installed" in check.found
    assert "torch" not in check.found  # the same, built for a GPU
    assert "vllm" not in check.found  # not asked for


def test_a_disk_too_small_for_its_checkpoints_stops_the_run(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = dataclasses.replace(planned(base, bf16=True), parameters=1e9)  # 3 x (4 + 8) GB and a model of 2
    for free, verdict in ((37e9, "stop"), (39e9, "ok")):
        monkeypatch.setattr(machine.shutil, "disk_usage", lambda _, free=free: SimpleNamespace(free=free))
        check = found(plan)["disk"]
        assert check.verdict == verdict
        assert "38.00 GB" in check.found


def test_memory_is_held_against_the_gpu_that_is_here(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = "NVIDIA H100 80GB HBM3, 81559\n"
    monkeypatch.setattr(machine.subprocess, "run", lambda *_, **__: SimpleNamespace(stdout=card, returncode=0))
    assert machine.gpus() == [("NVIDIA H100 80GB HBM3", 81559 * 2**20 / 1e9)]
    small = dataclasses.replace(planned(base, bf16=True, per_device_train_batch_size=16), parameters=1e9)
    large = dataclasses.replace(small, parameters=7e9)  # 18 bytes a weight: 126 GB
    assert "18.00" in found(small)["memory a device"].found
    assert found(small)["memory a device"].verdict == "ok"
    check = found(large)["memory a device"]
    assert (check.verdict, "fsdp2.yaml" in check.found) == ("note", True)
    for name, value in (("USE_DEEPSPEED", "true"), ("DEEPSPEED_ZERO_STAGE", "2")):
        monkeypatch.setenv(f"ACCELERATE_{name}", value)
    assert "Adam 28.00" in found(dataclasses.replace(large, processes=8))["memory a device"].found  # 14 + 112 / 8
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert found(dataclasses.replace(large, processes=8))["memory a device"].verdict == "ok"  # 15.75 GB each


@pytest.fixture
def server() -> Iterator[tuple[str, dict[str, str]]]:
    """Says what model it serves, as vLLM's does."""
    serves: dict[str, str] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"data": [serves]}).encode())

        def log_message(self, *_: Any) -> None: ...

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}", serves
    running.shutdown()
    running.server_close()


def test_a_vllm_server_must_answer_and_serve_the_same_base(base: Path, server: tuple[str, dict[str, str]]) -> None:
    url, serves = server
    plan = planned(base, engine="vllm", vllm_mode="server", vllm_server_base_url=url)
    serves |= {"id": "policy", "root": str(base)}
    assert found(plan)["vLLM server"].verdict == "ok"
    serves |= {"id": "owner/other", "root": "owner/other"}
    check = found(plan)["vLLM server"]
    assert (check.verdict, "serves owner/other" in check.found) == ("stop", True)
    silent = planned(base, engine="vllm", vllm_mode="server", vllm_server_host="127.0.0.1", vllm_server_port=9)
    check = found(silent)["vLLM server"]
    assert (check.verdict, "trl vllm-serve --model" in check.found) == ("stop", True)
    assert "vLLM server" not in found(planned(base, engine="vllm"))


def test_all_that_stops_a_run_is_said_at_once() -> None:
    checks = [
        Check(what="a", found="x", verdict="stop"),
        Check(what="b", found="y"),
        Check(what="c", found="z", verdict="stop"),
    ]
    with pytest.raises(UsageError, match="a: x; c: z"):
        refuse(checks)


def test_another_recipe_than_the_runs_is_refused_by_its_field(tmp_path: Path) -> None:
    settings = plan_of().settings()
    (tmp_path / "manifest.json").write_text(
        json.dumps({"status": "finished", "settings": json.loads(json.dumps(settings))})
    )
    older = json.loads((tmp_path / "manifest.json").read_text())
    del older["settings"]["recipe"]["control_of"]  # from before recipes had this field
    (tmp_path / "manifest.json").write_text(json.dumps(older))
    claim(tmp_path, settings, resume=True)
    changed = plan_of(beta=0.5).settings()
    changed |= {"recipe": {**changed["recipe"], "name": "mine"}, "seed": 3}
    with pytest.raises(UsageError, match=r"differs in recipe\.grpo\.beta, recipe\.name, seed\)"):
        claim(tmp_path, changed, resume=True)


@pytest.mark.parametrize("paid", [float("nan"), float("inf")])
def test_a_reward_that_is_no_number_ends_the_run(paid: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from baselines.tiny import tokenizer
    from evals.rollouts import RolloutStore
    from rl import rollouts
    from rl.record import Clock

    monkeypatch.setitem(rollouts.REWARDS, "correctness", lambda *_: paid)
    engine: Any = SimpleNamespace(stop_token_ids=[256], tokenizer=tokenizer())
    store = RolloutStore(tmp_path / "train")
    pays = rollouts.Rollouts(plan_of(), engine, {"one/0": ONE.problems[0]}, store, Clock({}))
    with pytest.raises(UsageError, match=r"reward correctness paid (nan|inf) for one/0"):
        pays.reward(
            prompts=["?"],
            completions=["2"],
            completion_ids=[[1]],
            problem_id=["one/0"],
            trainer_state=SimpleNamespace(global_step=0),
            log_metric=lambda *_: None,
        )
    assert not store.parts()


def test_steps_without_an_informative_group_are_warned_of_once_with_the_forecast(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    forecast = {"16": {"value": 0.031, "low": 0.01, "high": 0.08, "n": 64}}
    (tmp_path / "audit-signal.json").write_text(json.dumps({"forecast": forecast}))
    plan = dataclasses.replace(plan_of(), out=tmp_path)
    for reward, change in ((0.0, "sampler=posterior"), (1.0, "harder --suite")):
        silence = Silence(plan)
        shares = [1.0] * (SILENT_STEPS - 1) + [0.9] + [1.0] * (SILENT_STEPS + 5)
        for step, share in enumerate(shares, start=1):
            state = SimpleNamespace(global_step=step, is_world_process_zero=True)
            silence.on_log(None, state, None, {"reward": reward, "frac_reward_zero_std": share})
        told = capsys.readouterr().err
        assert told.count("no informative group") == 1
        assert f"up to step {2 * SILENT_STEPS}" in told
        assert "3.1% [1.0%, 8.0%]" in told
        assert change in told
