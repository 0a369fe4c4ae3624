"""Pure RL from a base: TRL's GRPO on rule-based rewards, measured before, during and after by the audit's own path."""

from __future__ import annotations

import errno
import shutil
import time
from contextlib import nullcontext
from copy import deepcopy
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from datasets import Dataset
from safetensors import SafetensorError
from transformers import PrinterCallback
from trl import GRPOConfig, GRPOTrainer

from configs.errors import UsageError
from evals.card import write_card
from evals.engine import TransformersEngine
from evals.manifest import hardware, open_run, write_json
from evals.models import BaseText, LoadedBase, load_base
from evals.rollouts import RolloutStore
from evals.vllm_engine import VllmEngine
from rewards.suites import ProblemSet
from rewards.types import Problem
from rewards.verify import VERIFIER_VERSION
from rl.budget import Limit, tokens_seen
from rl.colocate import DriftGuard, Inside, prepare
from rl.measure import Measures, wait_for_all
from rl.plan import Plan, rank, sharded
from rl.record import KINDS, Clock, Pace, Record, Silence, cut_jsonl, last_checkpoint, read_jsonl
from rl.resample import Resampler
from rl.rollouts import Rollouts, training_sampling
from rl.sampler import Posterior, replayed
from rl.sharding import refresh
from rl.trainer import Trainer
from rl.utilization import Utilization

LONGEST_WAIT = timedelta(hours=12)
"""How long processes wait for one another: for the slowest share of an audit, say."""
FULL = 2**20
"""Bytes: with less than this free, what failed to write failed for want of space."""


def train(plan: Plan, suite: ProblemSet, train_suite: ProblemSet, *, resume: bool) -> None:
    """Audit, train, audit, in `plan.out`, and write the model's card. With `resume`, goes on from the last whole checkpoint.

    Of several processes the first one writes the manifest and sums up the audits, of which each draws a share.
    Raises UsageError when no problem of the training suite has a usable gold, a prompt exceeds the context, or the disk is full.
    """
    facts = {
        "base": plan.base,
        "recipe": plan.recipe.name,
        "reward": plan.recipe.reward,
        "control_of": plan.recipe.control_of,
        "sampler": plan.recipe.sampler,
        "seed": plan.seed,
        "template": plan.template.name,
        "suite": {"name": suite.name, "fingerprint": suite.fingerprint},
        "train_suite": {"name": train_suite.name, "fingerprint": train_suite.fingerprint},
        "sampling": {key: getattr(training_sampling(plan), key) for key in ("temperature", "top_p", "max_tokens")},
        "verifier": VERIFIER_VERSION,
        "group_size": plan.group_size,
        "groups_per_step": plan.prompts_per_rollout,
        "training_rollouts": plan.rollouts,
    }
    if plan.processes > 1:  # named before TRL does, as its 10 to 30 minutes would end an audit that others wait for
        PartialState(cpu=not torch.cuda.is_available(), timeout=LONGEST_WAIT)
    try:
        _train(plan, suite, train_suite, facts, resume=resume)
    except (OSError, RuntimeError, SafetensorError) as error:  # each writer of a checkpoint has a kind of its own
        if _full(error, plan.out):
            raise UsageError(
                f"no space is left in {plan.out}: free some, or lower grpo.save_total_limit, then add --resume; it goes on from "
                f"{last_checkpoint(plan.out / 'checkpoints') or 'the start'}"
            ) from error
        raise


def _full(error: Exception, folder: Path) -> bool:
    """Whether it was the disk. torch and safetensors do not pass the number of the error on."""
    return getattr(error, "errno", None) in {errno.ENOSPC, errno.EDQUOT} or _free(folder) < FULL


def _free(folder: Path) -> int:
    return shutil.disk_usage(next(one for one in (folder.absolute(), *folder.absolute().parents) if one.is_dir())).free


def _train(plan: Plan, suite: ProblemSet, train_suite: ProblemSet, facts: dict[str, Any], *, resume: bool) -> None:
    """Open the run and go."""
    first = rank() == 0
    logged = read_jsonl(plan.out / "metrics.jsonl")
    with (
        open_run(plan.out, "grpo", plan.settings(), facts)
        if first
        else nullcontext({"split": {}, "seconds": 0.0}) as manifest
    ):
        for row in logged:  # a killed run did not close its books
            manifest["seconds"] = max(manifest["seconds"], row.get("seconds", 0.0))
        for kind in ("update", *KINDS):
            spent = sum(row.get(f"{kind}_seconds", 0.0) for row in logged)
            manifest["split"][kind] = max(manifest["split"].get(kind, 0.0), spent)
        if first:
            write_json(plan.out / "manifest.json", manifest)
        clock = Clock(manifest["split"], manifest["seconds"])
        loaded = load_base(
            plan.origin, revision=plan.revision, stop_token_ids=plan.stop_token_ids, dtype=plan.weights_dtype
        )
        manifest |= _Run(plan, suite, train_suite, loaded, clock).go(resume=resume)
    if first:
        write_card(plan.out)


class _Run:
    """One training run; everything it needs in one place."""

    def __init__(
        self, plan: Plan, suite: ProblemSet, train_suite: ProblemSet, loaded: LoadedBase, clock: Clock
    ) -> None:
        self.plan, self.clock, self.loaded, self.train_suite = plan, clock, loaded, train_suite
        self.suite = suite
        self.engine = TransformersEngine(
            loaded.model, loaded.tokenizer, stop_token_ids=loaded.stop_token_ids, stop_strings=plan.template.stop
        )
        self.trained = loaded.model
        if sharded():
            self.trained = deepcopy(loaded.model)
            if plan.recipe.engine == "vllm":  # it draws; the first process saves, and audits where vLLM does not
                spare = "meta" if rank() > 0 else "cpu" if plan.audits_inside else loaded.model.device
                torch.nn.Module.to(loaded.model, spare)
        self.kept = RolloutStore(plan.out / "rollouts" / "train")
        self.limit = Limit(plan, clock)

    def go(self, *, resume: bool) -> dict[str, Any]:
        """What ended the training, and after how many steps and tokens."""
        plan = self.plan
        usable = [problem for problem in self.train_suite.problems if problem.id not in self.train_suite.bad_gold]
        if not usable:
            raise UsageError(f"no problem of {self.train_suite.name} has a gold that its own verifier accepts")
        rows = _rows(plan, usable)
        self.engine.check_fits([row["prompt"] for row in rows], training_sampling(plan).max_tokens, room=plan.vllm_room)
        checkpoint = last_checkpoint(plan.out / "checkpoints") if resume else None
        step = int(checkpoint.name.split("-")[1]) if checkpoint else 0
        tokens = tokens_seen(checkpoint) if checkpoint else 0
        over = bool(checkpoint) and (step >= int(plan.recipe.grpo["max_steps"]) or self.limit.reached(tokens))
        if rank() == 0:
            self._drop_after(step, over=over)
        wait_for_all(plan)  # what is dropped is read by all
        trainer = self._trainer(usable, rows)
        self.measures = self._measures(trainer)
        self.measures.before(step)
        if plan.recipe.sampler == "edge":
            rows = _rows(plan, self._at_the_edge(usable))
            trainer.train_dataset = Dataset.from_list(rows)
        if len(rows) < plan.prompts_per_rollout:  # TRL would draw nothing and end well
            raise UsageError(
                f"{len(rows)} problems of {self.train_suite.name} are fewer than the {plan.prompts_per_rollout} that one rollout "
                "asks; choose a larger --suite, or lower grpo.per_device_train_batch_size with --set"
            )
        trainer.posterior, trainer.steered = self._posterior(usable), plan.recipe.sampler == "posterior"
        began = time.perf_counter()
        before = {kind: self.clock.split.get(kind, 0.0) for kind in KINDS}
        if over:
            self._load(trainer, str(checkpoint))
        else:
            trainer.pace.begin()
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
            step, tokens = trainer.state.global_step, int(trainer.state.num_input_tokens_seen)
        elsewhere = sum(self.clock.split.get(kind, 0.0) - seconds for kind, seconds in before.items())
        self.clock.add("update", began + elsewhere)
        self.measures.after(step)
        self._renew()
        if trainer.accelerator.is_main_process:
            self._save(trainer)
        return {"stopped_by": self.limit.reason or "steps", "trained_steps": step, "trained_tokens": tokens}

    def _load(self, trainer: Trainer, checkpoint: str) -> None:
        """The weights of a checkpoint that is the last: train() would take one step beyond it. FSDP loads into spread ones."""
        if trainer.is_fsdp_enabled:
            trainer.create_optimizer()  # which accelerate wants beside the model
            trainer.model_wrapped, trainer.optimizer = trainer.accelerator.prepare(trainer.model, trainer.optimizer)
            trainer._load_from_checkpoint(checkpoint, trainer.model_wrapped)
        else:
            trainer._load_from_checkpoint(checkpoint)

    def _drop_after(self, step: int, *, over: bool) -> None:
        """Drop what a killed run wrote after its last checkpoint, and an audit of its end where there is training left."""
        self.kept.drop_after(step)
        if not over:
            (self.plan.out / "audit-end.json").unlink(missing_ok=True)
            shutil.rmtree(self.plan.out / "rollouts" / "audit-end", ignore_errors=True)
        for name in ("metrics.jsonl", "heldout.jsonl"):
            cut_jsonl(self.plan.out / name, step)
        for folder in (self.plan.out / "rollouts").glob("heldout-*"):
            if int(folder.name.split("-")[1]) > step:
                shutil.rmtree(folder)

    def _at_the_edge(self, usable: list[Problem]) -> list[Problem]:
        """The problems that the base solves sometimes and not always, of those that the signal audit asked."""
        counts = self.measures.signal()
        edge = [one for one in usable if one.id in counts and 0 < counts[one.id][0] < counts[one.id][1]]
        if not edge:
            raise UsageError(
                f"sampler: edge finds none: of {len(counts)} audited problems the base solves each always or never; type "
                "--set audit.signal_problems=N to audit more, or --set sampler=posterior"
            )
        return edge

    def _trainer(self, usable: list[Problem], rows: list[dict[str, str]]) -> Trainer:
        """TRL's trainer on these problems, drawing by this run's engine."""
        plan = self.plan
        problems = {one.id: one for one in usable}
        rollouts = Rollouts(plan, self.engine, problems, self.kept, self.clock, self._renew)
        vllm = plan.recipe.engine == "vllm"
        if vllm:
            prepare(self.loaded.model)
        trainer = Trainer(
            model=self.trained,
            reward_funcs=self._rewards(rollouts),
            args=self._config(),
            train_dataset=Dataset.from_list(rows),
            processing_class=self.loaded.tokenizer,
            callbacks=[
                Record(plan, lambda step: self.measures.held_out(step)),
                self.limit,
                Silence(plan),
                *([DriftGuard()] if vllm else []),
            ],
            peft_config=self._lora(),
            rollout_func=None if vllm else rollouts.draw,
        )
        trainer.remove_callback(PrinterCallback)
        trainer.rows = {row["problem_id"]: row for row in rows}
        trainer.pace = Pace(self.clock, Utilization.known(plan, hardware().get("gpus", []), self.kept))
        if plan.recipe.sampler == "resample":
            drawn = sum(1 for _ in self.kept.rows(["step"])) // plan.group_size
            trainer.resampler = Resampler(
                trainer.rows, rollouts, group_size=plan.group_size, seed=plan.seed, drawn=drawn
            )
        return trainer

    def _measures(self, trainer: Trainer) -> Measures:
        """Audits by what draws the training rollouts: vLLM where it is in every process, else the model itself."""
        plan, loaded = self.plan, self.loaded
        if not plan.audits_inside:
            shared = not (sharded() and plan.recipe.engine == "vllm")
            return Measures(
                plan, self.engine, self.suite, self.train_suite, self.clock, shared=shared, renew=self._renew
            )
        inside = Inside(
            trainer,
            BaseText(
                folder=plan.origin,
                revision=plan.revision,
                tokenizer=loaded.tokenizer,
                stop_token_ids=loaded.stop_token_ids,
                context=None,
            ),
        )
        engine = VllmEngine(inside, plan.template.stop)
        return Measures(plan, engine, self.suite, self.train_suite, self.clock, shared=True, renew=inside.renew)

    def _renew(self) -> None:
        """Bring the whole copy up to date where the weights are spread; all processes together."""
        if self.trained is not self.loaded.model:
            refresh(self.loaded.model, self.trained)

    def _posterior(self, usable: list[Problem]) -> Posterior:
        """Pass rates from the signal audit and from all groups that were drawn since."""
        sampler = Posterior(usable, group_size=self.plan.group_size, seed=self.plan.seed)
        if (
            self.plan.recipe.reward == "correctness"
        ):  # what the audit counts; what a control pays is seen in training only
            sampler.update({id: counts for id, counts in self.measures.signal().items() if id in sampler.place})
        return replayed(sampler, self.kept.rows(["problem_id", "reward", "step"]))

    def _rewards(self, rollouts: Rollouts) -> list[Any]:
        """The recipe's reward, and DAPO's penalty for running long where the recipe has one."""
        functions: list[Any] = [rollouts.reward]
        if self.plan.recipe.overlong_cache is not None:
            from trl.rewards import get_soft_overlong_punishment

            functions.append(
                get_soft_overlong_punishment(
                    max_completion_len=training_sampling(self.plan).max_tokens,
                    soft_punish_cache=self.plan.recipe.overlong_cache,
                )
            )
        return functions

    def _config(self) -> GRPOConfig:
        plan = self.plan
        vllm = plan.recipe.engine == "vllm"
        defaults: dict[str, Any] = {
            "output_dir": str(plan.out / "checkpoints"),
            "seed": plan.seed,
            "logging_steps": 1,
            "save_strategy": "steps",
            "save_total_limit": 2,
            "report_to": "trackio",  # a local database, no account
            "project": plan.base,
            "run_name": "-".join(plan.out.absolute().parts[-2:]),  # studies name their runs alike
            "disable_tqdm": True,
            "remove_unused_columns": False,
            "use_cpu": not torch.cuda.is_available(),
            "use_vllm": vllm,
        }
        if vllm:
            stops = {"stop": plan.template.stop, "include_stop_str_in_output": True} if plan.template.stop else {}
            defaults["generation_kwargs"] = {**stops, "stop_token_ids": self.loaded.stop_token_ids}
        return GRPOConfig(**{**defaults, **plan.recipe.grpo})

    def _lora(self) -> Any:
        if self.plan.recipe.lora is None:
            return None
        from peft import LoraConfig

        return LoraConfig(task_type="CAUSAL_LM", **self.plan.recipe.lora)

    def _save(self, trainer: GRPOTrainer) -> None:
        """The trained model as an ordinary folder, an adapter merged in, so that --base takes it."""
        model: Any = self.loaded.model
        if self.plan.recipe.lora is not None:
            model = trainer.accelerator.unwrap_model(trainer.model)
            model = model.merge_and_unload()
        if self.plan.recipe.grpo.get("bf16"):  # the precision it was drawn from in
            model.to(torch.bfloat16)
        model.save_pretrained(self.plan.out / "model")
        self.loaded.tokenizer.save_pretrained(self.plan.out / "model")


def _rows(plan: Plan, problems: list[Problem]) -> list[dict[str, str]]:
    """What TRL reads of each problem."""
    return [{"prompt": plan.template.ask(one.question), "problem_id": one.id} for one in problems]
