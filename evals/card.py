"""The model card of a trained checkpoint: what it is, what was measured of it, what it took, how to make it again.

Every sentence is read off the run's own files, and what configs/bases says of a base, its licence too. What neither says, such
as a licence of the checkpoint, the card does not say either.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.errors import UsageError
from configs.load import load_base, load_suite, names
from configs.schema import Base
from evals.compare import Forecast, compare
from evals.cost import HOUR, device_of, read_architecture
from evals.estimate import Estimate
from evals.runs import SavedAudit, load_baseline, load_manifest, load_run
from evals.spending import account

PAID = {
    "correctness": "right answers",
    "format": "an answer in the asked form, right or wrong",
    "random": "the fall of a coin",
    "inverted": "wrong answers",
}
MADE = {"sft": "SFT on worked solutions", "rejection": "rejection fine-tuning on its own right answers"}


def write_card(folder: Path) -> Path:
    """Write `model/README.md` into a finished run. Raises UsageError where a file of the run is missing or malformed."""
    path = folder / "model" / "README.md"
    path.write_text(card(folder), encoding="utf-8")
    return path


def card(folder: Path) -> str:
    """The card of a finished GRPO run, SFT or rejection baseline, front matter first."""
    from huggingface_hub import ModelCard, ModelCardData  # 0.4 s to import

    facts = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    known = _known(facts)
    trained = load_manifest(folder).kind == "grpo"
    measured = _of_training(folder) if trained else _of_baseline(folder)
    suite = facts["settings"]["train_suite"]
    hub = load_suite(suite).hub if suite in names("suites") else None
    data = ModelCardData(
        base_model=known and known.hub_id,
        datasets=hub and [hub.id],
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=[facts["kind"], "trl", *(["control"] if facts.get("control_of") else [])],
    )
    parts = [
        f"# {facts['run']}",
        *_what(facts, known, trained=trained),
        "## Measured before and after",
        *_measured(measured),
        "## What it took",
        *_took(folder, facts, trained=trained),
        "## How to make it again",
        *_again(facts),
    ]
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n" + "\n\n".join(parts) + "\n").content


def _known(facts: dict[str, Any]) -> Base | None:
    """The base of configs/bases that a run began from; None for any other, a folder of the same name too."""
    if facts["base"] not in names("bases"):
        return None
    known, origin = load_base(facts["base"]), facts["settings"]["origin"]
    made = Path(origin).name.startswith(f"{known.name}-")  # with its fingerprint, as pretrain.py and fetch.py name it
    return known if (origin == known.hub_id if known.hub_id else made) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    start: SavedAudit
    end: SavedAudit
    gain: Estimate
    forecast: Forecast | None


def _of_training(folder: Path) -> _Measured:
    run = load_run(folder)
    (arm,) = compare([run]).arms
    return _Measured(start=run.start, end=run.end, gain=arm.gain, forecast=arm.forecasts[0])


def _of_baseline(folder: Path) -> _Measured:
    one = load_baseline(folder)
    return _Measured(start=one.start, end=one.end, gain=one.manifest.gain, forecast=None)


# --- sections ---------------------------------------------------------------------------------------------------------


def _what(facts: dict[str, Any], known: Base | None, *, trained: bool) -> Iterable[str]:
    settings = facts["settings"]
    revision = f" at revision {settings['revision']}" if settings["revision"] else ""
    origin = known.hub_id if known else f"from `{settings['origin']}`"
    base = f"`{facts['base']}` ({origin}{revision})" if origin else f"`{facts['base']}`"
    where = f"problems of `{facts['train_suite']['name']}`, asked by template `{facts['template']}`"
    if trained:
        recipe = settings["recipe"]
        before = (
            "No supervised step lies between the base and this checkpoint."
            if known
            else "What was done to it before, supervised or not, is not known here."
        )
        yield (
            f"{base} after {facts['trained_steps']:,} steps of GRPO by recipe `{facts['recipe']}`, paid for "
            f"{PAID[facts['reward']]} ({recipe['reading']} reading) on {where}. {before}"
        )
        yield (
            f"- {facts['groups_per_step']} prompts x {facts['group_size']} completions a rollout, learning rate "
            f"{recipe['grpo'].get('learning_rate')}, loss {recipe['grpo'].get('loss_type')}, beta "
            f"{recipe['grpo'].get('beta')}, seed {facts['seed']}; the whole recipe is in the run's manifest.json"
            + ("; a low-rank adapter, merged" if recipe.get("lora") else "")
        )
    else:
        yield f"{base} after {MADE[facts['kind']]}, {where}, seed {facts['seed']}. It is a baseline: no RL was done."
    if facts.get("control_of"):
        yield (
            f"**This is a control of recipe `{facts['control_of']}`, not an attempt at a good model.** It was paid for "
            f"{PAID[facts['reward']]}: what it gained was not learnt from right answers."
        )
    yield (
        "It is a checkpoint of an experiment: measured on one problem set under one template, not aligned, not tuned to "
        "follow instructions, and not checked for anything else."
    )
    if known:
        yield f"Licence of the base: {known.licence}. What follows from it for this checkpoint is not stated here."


def _measured(found: _Measured) -> Iterable[str]:
    start, end, sampling = found.start, found.end, found.start.sampling
    shared = sorted(start.pass_at_k.read.keys() & end.pass_at_k.read.keys())
    rows = [(f"pass@{k}", start.pass_at_k.read[k], end.pass_at_k.read[k]) for k in {shared[0], shared[-1]}]
    rows.sort(key=lambda row: int(row[0].split("@")[1]))
    rows += [
        ("an answer could be read", start.answer_rate, end.answer_rate),
        ("ended by itself", start.stop_rate, end.stop_rate),
    ]
    lines = ["| | before | after |", "|---|---|---|"]
    lines += [f"| {name} | {_share(before)} | {_share(after)} |" for name, before, after in rows]
    yield "\n".join(lines)
    gain = found.gain
    noise = "; zero is inside, so this may be noise" if gain.low <= 0 <= gain.high else ""
    yield (
        f"Gain in pass@1, paired by problem: {100 * gain.value:+.1f} points "
        f"[{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]{noise}."
    )
    yield (
        f"On {gain.n} held-out problems of `{start.suite.name}` ({start.suite.fingerprint}), "
        f"{int(start.samples.min())} samples each before and {int(end.samples.min())} after; temperature "
        f"{sampling.temperature:g}, top_p {sampling.top_p:g}, at most {sampling.max_tokens} tokens, {start.reading} reading, "
        f"verifier {start.verifier}. Intervals are 95% over problems. It is one training seed, and another can differ by more."
    )
    if found.forecast:
        one = found.forecast
        yield (
            f"Forecast from the audit before training: {one.low:.0%} to {one.high:.0%} of the groups of step 1 would be "
            f"informative. Observed: {one.observed:.0%} ({'held' if one.held else 'missed'})."
        )


def _took(folder: Path, facts: dict[str, Any], *, trained: bool) -> Iterable[str]:
    gpus = facts["hardware"].get("gpus", [])
    device = ", ".join(sorted(set(gpus))) or "a CPU"
    held = f"{len(gpus)} x {device}" if gpus else f"{facts['hardware']['cores']} CPU cores"
    hours = facts["seconds"] / HOUR
    lines = [f"- wall time {hours:.2f} hours, audits included, on {held}"]
    if trained:
        lines += _training_cost(folder)
    else:
        budget = facts["budget"]
        lines.append(f"- {budget['sampled_tokens']:,} tokens sampled, {budget['training_tokens']:,} tokens trained on")
    price = device_of(gpus)
    if price is None:
        lines.append(f"- dollars: unknown, as no price is known for {device}")
    else:
        dollars = [len(gpus) * hours * usd for usd in (price.usd_per_hour.low, price.usd_per_hour.high)]
        lines.append(
            f"- {len(gpus) * hours:.2f} GPU hours, {dollars[0]:,.2f} to {dollars[1]:,.2f} dollars at public prices"
        )
    yield "\n".join(lines)


def _training_cost(folder: Path) -> list[str]:
    try:
        config = json.loads((folder / "model" / "config.json").read_text(encoding="utf-8"))
        done = account(folder, read_architecture(config))
    except UsageError as error:
        return [f"- tokens and FLOPs: unknown ({error})"]
    prompt, completion = done.trained.tokens
    return [
        f"- {len(done.trained.prompt):,} completions of {completion:,.0f} tokens drawn to train on, to prompts of "
        f"{prompt:,.0f} tokens that were run; {len(done.audited.prompt):,} more to measure by",
        f"- {done.work.total:.2e} model FLOPs, audits included",
    ]


def _again(facts: dict[str, Any]) -> Iterable[str]:
    commit = facts.get("commit")
    lines = [f"git checkout {commit.removesuffix('-dirty')}"] if commit else []
    yield "```sh\n" + "\n".join([*lines, rerun(facts)]) + "\n```"
    if _processes(facts) > 1:
        yield (
            "How these processes were launched was not recorded: if weights or optimizer state were spread over them, or more "
            "nodes than one took part, add the `--config_file` of configs/accelerate that it was launched with, in the "
            "place of `--multi_gpu`."
        )
    if commit is None or commit.endswith("-dirty"):
        yield "The code was not a commit of the project: it had changes, or no repository."
    yield "Versions: " + ", ".join(f"{name} {version}" for name, version in facts["versions"].items()) + "."


def rerun(facts: dict[str, Any]) -> str:
    """The command of a manifest from the project's root, as it was typed before any resume.

    >>> rerun({"command": "/tmp/a/scripts/grpo.py --base x --resume", "settings": {"processes": 2}})
    'accelerate launch --multi_gpu --num_processes 2 scripts/grpo.py --base x'
    """
    script, *words = shlex.split(facts["command"])
    processes = _processes(facts)
    launch = ["accelerate", "launch", "--multi_gpu", "--num_processes", str(processes)]  # without it a CPU starts one
    start = launch if processes > 1 else ["python"]
    return shlex.join([*start, f"scripts/{Path(script).name}", *(word for word in words if word != "--resume")])


def _processes(facts: dict[str, Any]) -> int:
    return facts["settings"].get("processes", 1)


def _share(estimate: Estimate) -> str:
    return f"{100 * estimate.value:.1f}% [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"
