"""SFT: a base imitates replies, with TRL's SFTTrainer. Loss on the reply alone; what comes out is an ordinary model folder."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from tqdm import tqdm
from transformers import PrinterCallback, TrainerCallback
from trl import SFTConfig, SFTTrainer

from baselines.bases import FoundBase
from baselines.replies import Example
from configs.errors import UsageError
from configs.schema import Sft
from evals.manifest import write_json
from evals.models import LoadedBase, load_base

IGNORED = -100  # label of a token without loss


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What a fine-tuning did. Tokens are summed over epochs; padding is not counted."""

    steps: int
    examples: int
    left_out: int
    """Examples that exceed the context, or the length at which audits cut a completion."""
    training_tokens: int
    """Read by the optimizer, prompts included."""
    loss_tokens: int
    """Of replies: those that were learnt."""
    metrics: list[dict[str, Any]]
    """TRL's rows, one per step counted from 1."""


def as_tokens(example: Example, base: LoadedBase, stops: Sequence[str]) -> dict[str, list[int]]:
    """Token ids and labels. The prompt is tokenized alone, as the engine does before it draws.

    A reply ends as a completion does: at the first stop string of the template where it holds one, else with the end
    token.
    """
    tokenizer: Any = base.tokenizer
    ends = [example.completion.index(stop) + len(stop) for stop in stops if stop in example.completion]
    prompt = tokenizer(example.prompt)["input_ids"]
    reply = tokenizer(example.completion[: min(ends, default=None)], add_special_tokens=False)["input_ids"]
    if not ends:
        known = tokenizer.eos_token_id in base.stop_token_ids
        reply = [*reply, tokenizer.eos_token_id if known else base.stop_token_ids[0]]
    return {"input_ids": prompt + reply, "labels": [IGNORED] * len(prompt) + reply}


class _Progress(TrainerCallback):
    def __init__(self, label: str) -> None:
        self.label = label

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.bar = tqdm(total=state.max_steps, desc=self.label, unit="step", mininterval=1)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.bar.update()

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.bar.close()


def fine_tune(
    base: FoundBase,
    start: Path | None,
    examples: Sequence[Example],
    sft: Sft,
    *,
    stops: Sequence[str],
    max_tokens: int,
    seed: int,
    out: Path,
) -> Trained:
    """Imitate `examples` from the base, or from the model folder `start`; writes the folder `out` whole, or finds it there.

    Replies longer than `max_tokens`, where audits cut, are left out. Raises UsageError when nothing is left.
    """
    facts = out / "training.json"
    if facts.is_file():
        return Trained(**json.loads(facts.read_text(encoding="utf-8")))
    origin, revision = (str(start), None) if start else (base.origin, base.revision)
    loaded = load_base(origin, revision=revision, stop_token_ids=base.stop_token_ids, dtype="float32")
    rows = [as_tokens(example, loaded, stops) for example in examples]
    context = getattr(loaded.model.config.get_text_config(), "max_position_embeddings", None) or math.inf
    fit = [row for row in rows if len(row["input_ids"]) <= context and replied(row) <= max_tokens]
    if not fit:
        raise UsageError(
            f"none of {len(rows)} replies fits: the shortest has {min(map(replied, rows))} tokens, audits cut at "
            f"{max_tokens} and the context holds {context}; raise --set grpo.max_completion_length"
        )
    for left in out.parent.glob(f".{out.name}.*"):  # by a run that was killed
        shutil.rmtree(left)
    unfinished = out.with_name(f".{out.name}.{os.getpid()}")
    trainer = _trainer(loaded, fit, sft, seed=seed, folder=unfinished, label=f"{base.name} sft")
    trainer.train()
    log = [row for row in trainer.state.log_history if "loss" in row]
    trained = Trained(
        steps=trainer.state.global_step,
        examples=len(fit),
        left_out=len(rows) - len(fit),
        training_tokens=round(log[-1]["num_tokens"]),
        loss_tokens=round((trainer.state.epoch or 0.0) * sum(map(replied, fit))),
        metrics=log,
    )
    model: Any = trainer.accelerator.unwrap_model(trainer.model)
    model.generation_config.eos_token_id = loaded.stop_token_ids  # so that the folder alone says how a reply ends
    model.save_pretrained(unfinished)
    loaded.tokenizer.save_pretrained(unfinished)
    write_json(unfinished / facts.name, asdict(trained))
    unfinished.rename(out)
    return trained


def replied(row: dict[str, list[int]]) -> int:
    """Tokens of the reply, its end token included."""
    return sum(label != IGNORED for label in row["labels"])


def _trainer(
    loaded: LoadedBase, rows: list[dict[str, list[int]]], sft: Sft, *, seed: int, folder: Path, label: str
) -> SFTTrainer:
    gpu = torch.cuda.is_available()
    defaults: dict[str, Any] = {
        "output_dir": str(folder),
        "seed": seed,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": not gpu,
        "max_length": None,  # what is too long was left out: a reply cut short would teach not to end
    }
    here = {} if gpu else {"bf16": False}
    trainer = SFTTrainer(
        model=loaded.model,
        args=SFTConfig(**{**defaults, **sft.sft, **here}),
        train_dataset=Dataset.from_list(rows),
        processing_class=loaded.tokenizer,
        callbacks=[_Progress(label)],
    )
    trainer.remove_callback(PrinterCallback)
    return trainer
