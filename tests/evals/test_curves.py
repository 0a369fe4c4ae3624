"""Learning curves by what they took, against sums worked out by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from synthetic import BLANK, LATENT, Changes, write_run, write_training

from evals.compare import compare
from evals.curves import curve, curves
from evals.rollouts import RolloutStore
from evals.runs import load_run, load_runs, spent, tokens_by_step

H100 = "NVIDIA H100 80GB HBM3"


def run_of(root, gpus=(), fate=LATENT):
    """Every step draws 3 completions of 10, 20 and 30 tokens to prompts of 5, and takes a minute."""
    hardware = {"cores": 2, **({"gpus": list(gpus)} if gpus else {})}
    folder = write_run(root, fate, changes=Changes(manifest={"hardware": hardware}))
    settings = {"recipe": {"grpo": {}}}
    manifest = json.loads((folder / "manifest.json").read_text()) | {"settings": settings}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    rows = [row | {"seconds": 60.0 * row["step"], "num_tokens": 75.0 * row["step"]} for row in rows]
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)))
    store = RolloutStore(folder / "rollouts" / "train")
    for first in (1, 41):
        store.append(
            [
                {"problem_id": "a", "prompt_tokens": 5, "completion_tokens": drawn, "step": step}
                for step in range(first, first + 40)
                for drawn in (10, 20, 30)
            ]
        )
    return folder


def test_a_step_has_used_what_all_steps_up_to_it_drew_read_and_cost(tmp_path):
    folder = run_of(tmp_path, gpus=[H100] * 4)
    points = {point.step: point for point in curve(load_run(folder))}
    assert (points[0].sampled_tokens, points[0].training_tokens, points[0].seconds) == (0, 0, 0)
    assert points[0].usd.high == 0
    last = points[80]
    assert (last.sampled_tokens, last.training_tokens, last.seconds) == (80 * 60, 80 * 75, 4800)
    assert (last.usd.low, last.usd.high) == pytest.approx((4 * 4800 / 3600 * 1.99, 4 * 4800 / 3600 * 5.00))
    assert points[40].sampled_tokens == 40 * 60
    assert tokens_by_step(folder)[41] == (15, 60)
    assert spent(folder).sampled_tokens == last.sampled_tokens
    assert spent(folder).training_tokens == last.training_tokens


def test_rollouts_that_are_read_twice_are_trained_on_twice_in_the_curve_and_in_the_table(tmp_path):
    folder = run_of(tmp_path)
    path = folder / "manifest.json"
    settings = {"recipe": {"grpo": {"num_iterations": 2}}}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"settings": settings}))
    last = curve(load_run(folder))[-1]
    assert last.training_tokens == spent(folder).training_tokens == 2 * 80 * 75
    assert last.sampled_tokens == 80 * 60


@pytest.mark.parametrize(
    ("gpus", "why"), [((), "no price is known for a CPU"), (("Abacus 3",), "no price is known for Abacus 3; describe")]
)
def test_where_no_price_is_known_dollars_are_left_out_with_the_reason(tmp_path, gpus, why):
    run = load_run(run_of(tmp_path, gpus))
    assert {point.usd for point in curve(run)} == {None}
    assert all(row["usd_low"] is None and row["usd_unknown"].startswith(why) for row in curves(compare([run])))


def test_a_control_stands_in_the_same_table_under_its_name(tmp_path):
    control = run_of(tmp_path, fate=BLANK)
    manifest = json.loads((control / "manifest.json").read_text())
    changes = {"recipe": "tiny-random", "control_of": "tiny"}
    (control / "manifest.json").write_text(json.dumps(manifest | changes))
    rows = curves(compare(load_runs([run_of(tmp_path), control])[0]))
    assert {(row["arm"], row["control_of"]) for row in rows} == {
        ("tiny-latent, tiny", None),
        ("tiny-blank, tiny-random (control)", "tiny"),
    }


def test_a_run_that_kept_no_rollouts_and_logged_no_tokens_still_has_its_steps(tmp_path):
    points = curve(load_run(write_run(tmp_path, LATENT)))
    assert [point.step for point in points] == list(range(0, 81, 8))
    assert points[1].sampled_tokens is points[1].training_tokens is points[1].seconds is None


def test_ten_times_the_rollouts_take_no_more_memory(tmp_path):
    """Of a run with texts 200 letters long; parts are read some thousand rows at a time."""
    code = "import sys; from pathlib import Path; from evals.runs import spent; "
    code += "told = spent(Path(sys.argv[1])).sampled_tokens; status = Path('/proc/self/status').read_text(); "
    code += "print(told, int(status.split('VmHWM:')[1].split()[0]) / 1024)"  # rusage holds the parent's too
    found = []
    for name, rollouts in (("few", 20_000), ("many", 200_000)):
        folder = write_run(tmp_path / name, LATENT, problems=8)
        write_training(folder, rollouts)
        command = [sys.executable, "-c", code, str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
        found.append([float(word) for word in done.stdout.split()])
    (few, small), (many, large) = found
    assert many == pytest.approx(10 * few, rel=0.01)
    assert large < small + 60  # MiB
