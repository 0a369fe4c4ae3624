"""The model card, read back by the hub's own library and held against the files it was made from."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace

import pytest
from huggingface_hub import ModelCard
from synthetic import LATENT, Changes, Fate, write_run, write_training

from configs.errors import UsageError
from evals.card import rerun, write_card
from evals.compare import compare
from evals.runs import load_run

SHAPES = {
    "num_hidden_layers": 2,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "vocab_size": 258,
}
COMMAND = "/home/me/lab/scripts/grpo.py --base qwen2.5-7b --set 'grpo.top_p=[1, 2]' --resume --out runs/mine"


def finished(root, fate=LATENT, *, processes=1, origin=None, **changes):
    facts = {
        "reward": "correctness",
        "trained_steps": 80,
        "hardware": {"cores": 2},
        "versions": {"python": "3.11", "trl": "1.16.0"},
        "command": COMMAND,
        "train_suite": {"name": "sums-train", "fingerprint": "bbbb"},
    }
    folder = write_run(root, fate, changes=Changes(manifest=facts | changes))
    write_training(folder, 1000)
    grpo = {"learning_rate": 4e-4, "loss_type": "dapo", "beta": 0.0}
    recipe = {"grpo": grpo, "reading": "strict", "engine": "transformers", "lora": None}
    origin = origin or {"qwen2.5-7b": "Qwen/Qwen2.5-7B"}.get(fate.base, f"runs/bases/{fate.base}-s0-0123abcd")
    settings = {
        "recipe": recipe,
        "revision": None,
        "train_suite": "math-train",
        "processes": processes,
        "origin": origin,
    }
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"settings": settings}))
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text(json.dumps(SHAPES))
    return folder


def test_the_hub_reads_where_a_checkpoint_came_from(tmp_path):
    folder = finished(tmp_path, Fate(base="qwen2.5-7b", start=0.3, end=0.5))
    read = ModelCard.load(write_card(folder))
    assert read.data.base_model == "Qwen/Qwen2.5-7B"
    assert read.data.datasets == ["nlile/hendrycks-MATH-benchmark"]
    assert (read.data.library_name, read.data.tags) == ("transformers", ["grpo", "trl"])
    assert read.data.license is None  # the config knows the base's, not this one's
    assert "Licence of the base: Apache-2.0" in read.text


def test_the_numbers_are_those_of_the_run_with_intervals(tmp_path):
    folder = finished(tmp_path)
    text = ModelCard.load(write_card(folder)).text
    run = load_run(folder)
    (arm,) = compare([run]).arms
    for estimate in (run.start.pass_at_k.read[64], run.end.pass_at_k.read[1], run.end.stop_rate):
        assert f"{100 * estimate.value:.1f}% [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]" in text
    assert f"{100 * arm.gain.value:+.1f} points [{100 * arm.gain.low:+.1f}, {100 * arm.gain.high:+.1f}]." in text
    assert f"Observed: {arm.forecasts[0].observed:.0%}" in text
    assert "1,000 completions" in text
    assert "dollars: unknown, as no price is known for a CPU" in text
    assert "one training seed" in text
    assert f"git checkout {'0' * 40}\n" in text
    assert "trl 1.16.0" in text


def test_the_command_is_the_one_typed_first_from_the_projects_root(tmp_path):
    facts = {"command": COMMAND, "settings": {}}
    assert rerun(facts) == "python scripts/grpo.py --base qwen2.5-7b --set 'grpo.top_p=[1, 2]' --out runs/mine"
    text = ModelCard.load(write_card(finished(tmp_path))).text
    assert rerun(facts) in text
    assert "/home/me" not in text


def test_several_processes_are_launched_so_that_a_cpu_starts_them_too_and_the_reader_is_told_what_was_not_recorded(
    tmp_path,
):
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser

    text = ModelCard.load(write_card(finished(tmp_path, processes=2))).text
    (line,) = [each for each in text.splitlines() if each.startswith("accelerate launch ")]
    parsed = launch_command_parser().parse_args(shlex.split(line)[2:])
    assert (parsed.multi_gpu, parsed.num_processes, parsed.training_script) == (True, 2, "scripts/grpo.py")
    assert _validate_launch_command(parsed)[0].multi_gpu
    assert "add the `--config_file`" in text
    assert "--config_file" not in ModelCard.load(write_card(finished(tmp_path / "alone"))).text


@pytest.mark.parametrize(("name", "origin"), [("model", "runs/sft/model"), ("tiny-latent", "elsewhere/tiny-latent")])
def test_only_of_a_base_known_by_name_is_said_that_no_supervised_step_lies_before(tmp_path, name, origin):
    claimed, licence = "No supervised step", "Licence of the base"
    known = ModelCard.load(write_card(finished(tmp_path / "known"))).text
    assert claimed in known
    assert licence in known
    fate = replace(LATENT, base=name)
    text = ModelCard.load(write_card(finished(tmp_path / "local", fate, origin=origin))).text
    assert claimed not in text
    assert licence not in text
    assert f"`{origin}`" in text


def test_a_control_says_so_and_an_unknown_base_has_no_link_and_no_licence(tmp_path):
    control = Fate(base="mine", start=0.2, end=0.2, recipe="tiny-random", control_of="tiny")
    read = ModelCard.load(write_card(finished(tmp_path, control, reward="random", commit="abc-dirty")))
    assert "control" in read.data.tags
    assert "This is a control of recipe `tiny`" in read.text
    assert "paid for the fall of a coin" in read.text
    assert read.data.base_model is None
    assert "Licence" not in read.text
    assert "zero is inside" in read.text
    assert "was not a commit of the project" in read.text


def test_dollars_are_hours_of_all_gpus_at_public_prices(tmp_path):
    gpus = ["NVIDIA H100 80GB HBM3"] * 4
    text = write_card(finished(tmp_path, hardware={"cores": 8, "gpus": gpus}, seconds=7200.0)).read_text()
    assert "2.00 hours, audits included, on 4 x NVIDIA H100 80GB HBM3" in text
    assert "8.00 GPU hours, 15.92 to 40.00 dollars" in text  # 1.99 to 5.00 an hour


def test_a_run_without_its_last_audit_gets_no_card(tmp_path):
    folder = finished(tmp_path)
    (folder / "audit-end.json").unlink()
    with pytest.raises(UsageError, match=r"no audit-end\.json"):
        write_card(folder)
