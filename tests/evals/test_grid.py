"""A study file becomes the jobs it says, and its audits one table whose best templates come with a warning."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from configs import load
from configs.errors import UsageError
from configs.schema import AuditGrid, Study
from evals.elicited import elicited, told
from evals.grid import grid, grid_table, verdict, write_grid
from evals.jobs import Job
from evals.study import Cell, Planner, refuse_other_settings

Script = Callable[..., subprocess.CompletedProcess[str]]


def planner(out: Path, gpus: int = 0) -> Planner:
    return Planner(out=out, scripts=Path("scripts"), made_folder=lambda base, seed: out / f"{base}-{seed}", gpus=gpus)


def study(**fields: Any) -> Study:
    return Study.model_validate({"name": "s", "question": "?", "bases": ["tiny-hint", "qwen2.5-7b"], **fields})


GRID = AuditGrid(suites=["sums", "gsm8k"], templates=["qa", "none", "r1"], samples=4, limit=20)


def test_a_study_is_the_product_of_what_it_names(tmp_path: Path) -> None:
    asked = study(recipes=["tiny", "dapo"], controls=["random"], seeds=[0, 1], audits=GRID.model_dump())
    jobs = planner(tmp_path).plan(asked, asked.seeds)
    kinds = [job.name.split()[0] for job in jobs]
    assert kinds.count("pretrain") == 2  # one tiny base, two seeds
    assert kinds.count("grpo") == 2 * 2 * 2 * 2  # bases, recipes, reward or control, seeds
    assert kinds.count("audit") == 2 * 2  # bases, suites; the templates share a load
    assert sum(len(job.makes) for job in jobs if job.name.startswith("audit")) == 2 * 2 * 3
    made = [folder for job in jobs for folder in job.makes]
    assert len(set(made)) == len(made)
    names = [job.name for job in jobs]
    assert len(set(names)) == len(names)
    for place, job in enumerate(jobs):
        assert set(job.needs) <= set(names[:place])
    needy = {job.name for job in jobs if job.needs}
    assert needy == {name for name in names if "tiny-hint" in name and not name.startswith("pretrain")}


def test_the_recipe_of_a_base_is_not_in_its_folder_and_a_control_is(tmp_path: Path) -> None:
    asked = study(bases=["tiny-hint"], recipes=["tiny", "dapo"], controls=["random"])
    runs = [folder.name for folder in planner(tmp_path).runs(asked, [3])]
    assert runs == ["tiny-hint-s3", "tiny-hint-random-s3", "tiny-hint-dapo-s3", "tiny-hint-dapo-random-s3"]
    commands = {job.makes[0].name: job.command for job in planner(tmp_path).plan(asked, [3])}
    assert commands["tiny-hint-random-s3"][5:7] == ("--control", "random")
    assert "--control" not in commands["tiny-hint-s3"]


def test_only_a_training_run_on_several_gpus_is_started_by_accelerate(tmp_path: Path) -> None:
    asked = study(bases=["qwen2.5-7b"], recipes=["r1-zero"], audits=GRID.model_dump())
    for gpus, launched in [(1, False), (8, True)]:
        training, *audits = planner(tmp_path, gpus).plan(asked, [0])
        assert ("--num_processes" in training.command) == launched
        assert not any("--num_processes" in job.command for job in audits)
    assert training.command[training.command.index("--num_processes") + 1] == "8"


def finish(folder: Path, command: str, audit: dict[str, Any] | None = None) -> None:
    folder.mkdir(parents=True)
    manifest = {"run": folder.name, "kind": "audit", "status": "finished", "command": command}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "audit.json").write_text(json.dumps(audit))


def audits_of(out: Path, grid: AuditGrid = GRID) -> Job:
    return planner(out).plan(study(bases=["qwen2.5-7b"], audits=grid.model_dump()), [0])[0]


def test_templates_that_were_asked_are_not_asked_again(tmp_path: Path) -> None:
    whole = audits_of(tmp_path)
    assert whole.command[whole.command.index("--template") + 1] == "qa,none,r1"
    finish(tmp_path / "audits/qwen2.5-7b/sums/none", " ".join(whole.command))
    rest = audits_of(tmp_path)
    assert rest.command[rest.command.index("--template") + 1] == "qa,r1"
    assert not rest.whole
    finish(tmp_path / "audits/qwen2.5-7b/sums/r1", " ".join(whole.command))
    last = audits_of(tmp_path)
    assert last.command[last.command.index("--template") + 1] == "qa"
    assert last.command[-1] == str(tmp_path / "audits/qwen2.5-7b/sums/qa")  # one audit is its own folder, no sweep
    refuse_other_settings(last)


def test_a_study_that_was_edited_does_not_take_old_numbers_for_new_ones(tmp_path: Path) -> None:
    finish(tmp_path / "audits/qwen2.5-7b/sums/none", " ".join(audits_of(tmp_path).command))
    edited = audits_of(tmp_path, GRID.model_copy(update={"limit": 200, "engine": "vllm"}))
    with pytest.raises(
        UsageError, match="none was made with --limit 20, and the study now says --engine vllm --limit 200"
    ):
        refuse_other_settings(edited)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bases": ["tiny-hnt"]}, "no base named 'tiny-hnt': did you mean tiny-hint"),
        ({"recipes": ["dapoo"]}, "no recipe named 'dapoo': did you mean dapo"),
        ({"audits": {"suites": ["gsm8"], "templates": ["qa"]}}, "no suite named 'gsm8': did you mean gsm8k"),
        ({"audits": {"suites": ["gsm8k"], "templates": ["qaa"]}}, "no template named 'qaa': did you mean qa"),
        ({"audits": {"suites": ["gsm8k"], "templates": []}}, "at least 1 item"),
        ({"bases": ["tiny-hint", "tiny-hint"]}, "tiny-hint is named more than once"),
        ({"recipes": []}, "recipes .to train., audits .to measure., or both"),
        ({"controls": ["randm"]}, "'random', 'format' or 'inverted'"),
        ({"recipe": "tiny"}, "recipe or recipes, not both"),
        ({"slurm": {"gpu": 8}}, "slurm.gpu"),
        (
            {"recipes": [], "audits": {"suites": ["sums"], "templates": ["qa"], "trained": True}},
            "audits of trained models go with recipes",
        ),
    ],
)
def test_a_wrong_study_file_is_refused_when_it_is_read(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    right = {"name": "mine", "question": "?", "bases": ["tiny-hint", "org/model"], "recipes": ["tiny"]}
    path.write_text(yaml.safe_dump(right))
    assert load.load_study(str(path)).recipes == ["tiny"]
    path.write_text(yaml.safe_dump(right | change))
    with pytest.raises(UsageError, match=message):
        load.load_study(str(path))


def test_one_recipe_may_be_written_without_brackets() -> None:
    assert study(recipe="tiny").recipes == ["tiny"]


def audit_of(right: list[int], samples: int = 4) -> dict[str, Any]:
    share = {"value": sum(right) / len(right) / samples, "low": 0.0, "high": 1.0, "n": len(right)}
    return {
        "pass_at_k": {"read": {"1": share}, "lenient": {"1": share}},
        "problems": [{"id": str(i), "samples": samples, "correct": count} for i, count in enumerate(right)],
        **dict.fromkeys(("answer_rate", "stop_rate", "context_overflow"), share),
    }


def test_the_best_template_is_best_over_all_suites_and_only_where_all_were_measured(tmp_path: Path) -> None:
    right = {  # samples right of 4, two problems each: means of 3/8 and 1/8 for one, 1/8 and 2/8 for two
        ("b", "x", "one"): [2, 1],
        ("b", "y", "one"): [1, 0],
        ("b", "x", "two"): [1, 0],
        ("b", "y", "two"): [2, 0],
        ("b", "x", "three"): [4, 4],  # on y it is missing
        ("c", "x", "one"): [0, 0],
        ("c", "y", "one"): [0, 0],
    }
    cells = [
        Cell(base=base, origin=base, suite=suite, template=template, shots=0, folder=tmp_path / base / suite / template)
        for base in "bc"
        for suite in "xy"
        for template in ("one", "two", "three")
    ]
    for cell in cells:
        if counts := right.get((cell.base, cell.suite, cell.template)):
            finish(cell.folder, "", audit_of(counts))
    found = grid(cells)
    assert found["best"].keys() == {"b"}
    best = found["best"]["b"]
    assert (best["template"], best["of"], best["not_told_apart"]) == ("one", 2, ["two"])
    assert best["mean_pass_at_1"]["value"] == pytest.approx((3 / 8 + 1 / 8) / 2)
    assert len(found["rows"]) == len(right)
    assert len(found["missing"]) == len(cells) - len(right)
    behind = {(row["suite"], row["template"]): row["behind_best"] for row in found["rows"] if row["base"] == "b"}
    assert behind["y", "one"]["value"] == pytest.approx(1 / 8)
    assert behind["y", "two"] is None
    marked = {row[:3] for row in grid_table(found) if row[-1] == "*"}
    assert marked == {("b", "x", "one"), ("b", "y", "one")}
    assert "best template of b: one" in verdict(found)
    assert "not told apart from it: two" in verdict(found)
    assert "~: inside the noise" in verdict(found)
    noise = {row[:3] for row in grid_table(found) if row[-2].endswith("~")}
    assert ("b", "y", "one") in noise  # an eighth behind, in two problems
    assert ("b", "y", "two") not in noise  # the best there
    assert "looks better than it is" in verdict(found)
    assert "no best template: c" in verdict(found)
    rows = list(csv.DictReader(write_grid(found, tmp_path)[1].open()))
    assert [float(row["pass_at_1"]) for row in rows[:1]] == [3 / 8]
    assert json.loads((tmp_path / "study.json").read_text()) == found


def test_a_template_that_is_far_behind_on_many_problems_is_told_apart(tmp_path: Path) -> None:
    cells = [
        Cell(base="b", origin="b", suite=suite, template=template, shots=0, folder=tmp_path / suite / template)
        for suite in "xy"
        for template in ("good", "near", "bad")
    ]
    good = [4, 3, 2, 1] * 20
    for cell in cells:
        counts = {"good": good, "near": [*good[1:], 0], "bad": [0] * 80}[cell.template]
        finish(cell.folder, "", audit_of(counts))
    found = grid(cells)
    assert (found["best"]["b"]["template"], found["best"]["b"]["not_told_apart"]) == ("good", ["near"])


REAL = load.load_study("real")


def test_the_real_study_fetches_trains_two_arms_and_measures_all_three_models_with_and_without_examples(
    tmp_path: Path,
) -> None:
    fetch, *rest = planner(tmp_path).plan(REAL, [0, 1])
    assert fetch.command[-2:] == ("--base", "smollm2-135m-instruct")
    training = [job for job in rest if job.name.startswith("grpo")]
    audits = [job for job in rest if job.name.startswith("audit")]
    assert len(training) == 2 * 2  # reward and control, two seeds
    assert len(audits) == (1 + 4) * 2 * 2  # the base and four models, two suites, none and two examples
    assert len({job.name for job in rest}) == len(rest)
    assert {job.needs for job in training} == {(fetch.name,)}
    for job in audits:
        (need,) = job.needs
        asked = job.command[job.command.index("--base") + 1]
        assert need == fetch.name if asked == "smollm2-135m-instruct" else asked.endswith("/model")
        if asked.endswith("/model"):
            (trainer,) = (one for one in training if one.name == need)
            assert Path(asked).parent == trainer.makes[0]
            assert ("--shots" in job.command) == ("--shots-from" in job.command)
    assert {cell.origin for cell in planner(tmp_path).cells(REAL, [0, 1])} == {"smollm2-135m-instruct"}


def test_what_examples_show_is_told_apart_from_what_training_adds(tmp_path: Path) -> None:
    cells = planner(tmp_path).cells(REAL, [0])
    right = {  # of 4 samples, three problems each
        ("smollm2-135m-instruct", "qa-number"): [0, 1, 2],
        ("smollm2-135m-instruct", "qa-number+2shot"): [2, 2, 2],
        ("smollm2-135m-instruct-s0", "qa-number"): [4, 4, 3],
    }
    for cell in cells:
        if cell.suite == "asked-sums-1" and (counts := right.get((cell.base, cell.template))):
            finish(cell.folder, "", audit_of(counts))
    (one,) = elicited(cells)
    assert (one.model, one.suite, one.shots) == ("smollm2-135m-instruct-s0", "asked-sums-1", 2)
    twelfths = [round(12 * each.value, 9) for each in (one.gain, one.by_examples, one.beyond_examples)]
    assert twelfths == [8, 3, 5]
    (sentence,) = told([one])
    assert "25.0% before training, 91.7% after (+66.7 points" in sentence
    assert "shown 2 worked examples, has 50.0% (+25.0 points" in sentence
    behind = {(row["base"], row["template"]): row["behind_best"] for row in grid(cells)["rows"]}
    assert behind["smollm2-135m-instruct-s0", "qa-number"] is None
    assert behind["smollm2-135m-instruct", "qa-number+2shot"]["value"] == pytest.approx(5 / 12)


def test_the_script_audits_lists_and_does_nothing_twice(short_base: Path, script: Script, tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    audits = {"suites": ["sum-of-1-digits"], "templates": ["qa", "none"], "samples": 2, "limit": 4, "max_tokens": 16}
    small = {"name": "small", "question": "Which?", "bases": [str(short_base), "./nowhere"], "audits": audits}
    path.write_text(yaml.safe_dump(small))
    out = tmp_path / "out"
    done = script("study", path, "--out", out)
    assert done.returncode == 2
    assert "failed: audit nowhere sum-of-1-digits: error: no base named './nowhere'" in done.stderr
    assert "1 of 2 jobs failed" in done.stderr
    rows = list(csv.DictReader((out / "study.csv").open()))
    assert [(row["template"], row["problems"], row["samples"]) for row in rows] == [
        ("qa", "4", "2"),
        ("none", "4", "2"),
    ]
    listed = script("study", path, "--out", out, "--list").stdout.splitlines()
    assert [line.split()[0] for line in listed[1::2]] == ["finished", "failed"]
    path.write_text(yaml.safe_dump(small | {"bases": [str(short_base)]}))
    again = script("study", path, "--out", out)
    assert again.returncode == 0, again.stderr
    assert "0 jobs" in again.stdout
