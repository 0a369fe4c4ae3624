"""Pure RL from a base: TRL's GRPO on rule-based rewards, measured before, during and after by the audit's own path."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from datasets import Dataset
from tqdm import tqdm
from transformers import PrinterCallback, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from configs.errors import UsageError
from evals.audit import AuditSpec, as_row, both_readings, run_audit
from evals.engine import TransformersEngine
from evals.manifest import open_run, write_json
from evals.models import LoadedBase, load_base
from evals.rollouts import RolloutStore
from evals.sampling import Finish, Rollout, Sampling
from rewards.functions import REWARDS, sample_rng
from rewards.suites import ProblemSet
from rewards.types import STATUSES, Problem
from rewards.verify import VERIFIER_VERSION
from rl.colocate import DriftGuard, prepare
from rl.plan import Plan, rank
from rl.sampler import Posterior

TRAINING_SEEDS = 1_000_003
"""Offset of the seeds of training rollouts from those of audits, so that no sample is drawn twice."""

LONGEST_WAIT = timedelta(hours=12)
"""How long other processes wait while the first one audits."""


class Clock:
    """Seconds by kind of work, summed over a run and over its resumes."""

    def __init__(self, split: dict[str, float]) -> None:
        self.split = split

    def add(self, kind: str, began: float) -> None:
        self.split[kind] = round(self.split.get(kind, 0.0) + time.perf_counter() - began, 3)


class Rollouts:
    """What TRL asks for completions and for rewards; keeps every rollout with its verdict."""

    def __init__(
        self, plan: Plan, engine: TransformersEngine, problems: dict[str, Problem], store: RolloutStore, clock: Clock
    ) -> None:
        self.plan, self.engine, self.problems, self.store, self.clock = plan, engine, problems, store, clock
        self.sampling = training_sampling(plan)
        self.stop_ids = set(engine.stop_token_ids)
        self.rank = rank()

    def draw(self, prompts: list[str], trainer: GRPOTrainer) -> dict[str, Any]:
        """TRL's rollout function: token ids of prompts and completions, in order, with how each one finished.

        A sample's seed is its step, process and place, so a resumed run draws what the uninterrupted one drew.
        """
        began = time.perf_counter()
        ids = self.engine.tokenizer(prompts)["input_ids"]
        here = f"train|{trainer.state.global_step}|{self.rank}"
        identities = [f"{here}|{place}" for place in range(len(ids))]
        drawn = []
        for part in self.engine.cuts([len(one) for one in ids], self.sampling.max_tokens):
            drawn += self.engine.draw(ids[part], identities[part], self.sampling)
        self.clock.add("rollout", began)
        return {
            "prompt_ids": ids,
            "completion_ids": [one.token_ids for one in drawn],
            "logprobs": None,
            "finish": [one.finish for one in drawn],
            "logprob": [float(sum(one.logprobs)) for one in drawn],
        }

    def reward(
        self,
        prompts: list[str],
        completions: list[str],
        completion_ids: list[list[int]],
        problem_id: list[str],
        trainer_state: Any,
        log_metric: Callable[[str, float], None],
        **columns: Any,
    ) -> list[float | None]:
        """TRL's reward function: the same `grade` as the audit, then the recipe's reward of the verdict."""
        began = time.perf_counter()
        step = int(trainer_state.global_step)
        rows, rewards = [], []
        finishes: list[Finish] = columns.get("finish") or [self._finish(ids) for ids in completion_ids]
        logprobs = columns.get("logprob") or [float("nan")] * len(completions)
        prompt_tokens = {prompt: len(self.engine.tokenizer(prompt)["input_ids"]) for prompt in set(prompts)}
        for place, id in enumerate(problem_id):
            rollout = Rollout(
                problem_id=id,
                sample=self.rank * len(completions) + place,
                completion=completions[place],
                prompt_tokens=prompt_tokens[prompts[place]],
                completion_tokens=len(completion_ids[place]),
                finish=finishes[place],
                logprob=logprobs[place],
                seed=self.sampling.seed,
            )
            verdict, lenient = both_readings(
                self.problems[id], rollout.completion, self.plan.template, self.plan.recipe.reading
            )
            rng = sample_rng(seed=self.plan.seed, step=step, problem_id=id, sample=rollout.sample)
            rewards.append(REWARDS[self.plan.recipe.reward](verdict, rng))
            rows.append({**as_row(rollout, verdict, lenient), "reward": rewards[-1], "step": step + 1})
        self.store.write(f"{step + 1:06d}-{self.rank}", rows)
        for status in STATUSES:
            log_metric(f"status/{status}", float(np.mean([row["status"] == status for row in rows])))
        log_metric("stop_rate", float(np.mean([row["finish"] == "stop" for row in rows])))
        log_metric("accuracy", float(np.mean([row["correct"] for row in rows])))
        self.clock.add("grading", began)
        return rewards

    def _finish(self, ids: list[int]) -> Finish:
        """vLLM through TRL does not say how a completion ended: an end token, a stop string or the limit."""
        if ids and ids[-1] in self.stop_ids:
            return "stop"
        return "stop" if len(ids) < self.sampling.max_tokens else "length"


class Trainer(GRPOTrainer):
    """TRL's trainer, asking the problems that a sampler chooses instead of those that come next in the data set."""

    sampler: Posterior | None = None
    rows: dict[str, dict[str, Any]]

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        if self.sampler:
            size, first = self.sampler.group_size, self.accelerator.process_index * len(inputs)
            drawn = self.sampler.draw(self.state.global_step, self.accelerator.num_processes * len(inputs) // size)
            inputs = [self.rows[drawn[(first + place) // size]] for place in range(len(inputs))]
            self.drawn = drawn
        return super()._generate_and_score_completions(inputs)

    def _calculate_rewards(self, *args: Any) -> torch.Tensor:
        rewards = super()._calculate_rewards(*args)  # of all processes, group by group
        if self.sampler:
            paid = rewards[:, 0].view(-1, self.sampler.group_size).gt(0.5).sum(dim=1).tolist()
            self._metrics["train"]["sampler/expected_informative"].append(self.sampler.expected(self.drawn))
            self.sampler.update(group_counts(self.drawn, paid, self.sampler.group_size))
        return rewards


def group_counts(ids: Sequence[str], paid: Sequence[int], size: int) -> dict[str, tuple[int, int]]:
    """Paid and all completions by problem, of groups given one by one."""
    counts: dict[str, tuple[int, int]] = {}
    for id, right in zip(ids, paid, strict=True):
        before = counts.get(id, (0, 0))
        counts[id] = before[0] + right, before[1] + size
    return counts


def replayed(sampler: Posterior, rows: Iterable[dict[str, Any]]) -> Posterior:
    """The sampler as it was after the steps whose rollouts are kept."""
    steps: dict[int, dict[str, list[int]]] = {}
    for row in rows:
        counts = steps.setdefault(row["step"], {}).setdefault(row["problem_id"], [0, 0])
        counts[0] += (row["reward"] or 0.0) > 0.5
        counts[1] += 1
    for _, counts in sorted(steps.items()):
        sampler.update({id: (right, drawn) for id, (right, drawn) in counts.items()})
    return sampler


class Record(TrainerCallback):
    """Writes metrics.jsonl a step at a time and measures held-out pass@1 while training goes on."""

    def __init__(self, plan: Plan, clock: Clock, measure: Callable[[int], None]) -> None:
        self.plan, self.clock, self.measure = plan, clock, measure
        self.path = plan.out / "metrics.jsonl"
        self.bar: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.bar = tqdm(
            total=state.max_steps,
            initial=state.global_step,
            desc=f"{self.plan.base} {self.plan.recipe.name}",
            unit="step",
            disable=not state.is_world_process_zero,
            mininterval=1,
        )

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.bar.close()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        if state.is_world_process_zero and logs and "reward" in logs:
            numbers = {key: value for key, value in logs.items() if isinstance(value, int | float)}
            append_jsonl(self.path, {"step": state.global_step, **numbers})
            self.bar.set_postfix_str(f"reward {logs['reward']:.3f}, informative {1 - logs['frac_reward_zero_std']:.0%}")
            self.bar.update()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        every = self.plan.recipe.audit.every
        if (
            state.is_world_process_zero
            and every
            and state.global_step % every == 0
            and state.global_step < state.max_steps
        ):
            self.measure(state.global_step)


def training_sampling(plan: Plan) -> Sampling:
    """How training draws, which is also how its audits draw: base and result are measured alike."""
    grpo = plan.recipe.grpo
    return Sampling(
        temperature=float(grpo["temperature"]),
        top_p=float(grpo["top_p"]),
        max_tokens=int(grpo["max_completion_length"]),
        seed=TRAINING_SEEDS + plan.seed,
    )


def append_jsonl(path: Path, row: dict[str, Any]) -> None:
    """Add one line to a JSON Lines file."""
    with path.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(row) + "\n")


def _cut_jsonl(path: Path, step: int) -> None:
    """Drop the rows of steps beyond `step`, and a last line that was cut short."""
    if not path.is_file():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            break
        if row["step"] <= step:
            kept.append(line + "\n")
    path.write_text("".join(kept), encoding="utf-8")


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written whole: its trainer state, the last file written, can be read."""
    for path in sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]), reverse=True):
        try:
            json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError):
            continue
        return path
    return None


def train(plan: Plan, suite: ProblemSet, train_suite: ProblemSet, *, resume: bool) -> None:
    """Audit, train, audit, in `plan.out`. With `resume`, goes on from the last whole checkpoint.

    Of several processes the first one writes the manifest and the audits; the others wait for it and then train along.
    Raises UsageError when no problem of the training suite has a usable gold or a prompt exceeds the context.
    """
    facts = {
        "base": plan.base,
        "recipe": plan.recipe.name,
        "reward": plan.recipe.reward,
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
    first = rank() == 0
    with open_run(plan.out, "grpo", plan.settings(), facts) if first else nullcontext({"split": {}}) as manifest:
        loaded = load_base(plan.origin, revision=plan.revision, stop_token_ids=plan.stop_token_ids, dtype="auto")
        _Run(plan, suite, train_suite, loaded, Clock(manifest["split"])).go(resume=resume)


class _Run:
    """One training run; everything it needs in one place."""

    def __init__(
        self, plan: Plan, suite: ProblemSet, train_suite: ProblemSet, loaded: LoadedBase, clock: Clock
    ) -> None:
        self.plan, self.clock = plan, clock
        self.suite = suite.first(plan.recipe.audit.problems)
        self.train_suite = train_suite
        self.loaded = loaded
        self.engine = TransformersEngine(
            loaded.model, loaded.tokenizer, stop_token_ids=loaded.stop_token_ids, stop_strings=plan.template.stop
        )

    def go(self, *, resume: bool) -> None:
        plan, out = self.plan, self.plan.out
        usable = [problem for problem in self.train_suite.problems if problem.id not in self.train_suite.bad_gold]
        if not usable:
            raise UsageError(f"no problem of {self.train_suite.name} has a gold that its own verifier accepts")
        self.engine.check_fits([plan.template.ask(one.question) for one in usable], training_sampling(plan).max_tokens)
        checkpoint = last_checkpoint(out / "checkpoints") if resume else None
        step = int(checkpoint.name.split("-")[1]) if checkpoint else 0
        kept = RolloutStore(out / "rollouts" / "train")
        if rank() == 0:
            self._before(step, kept)
        if plan.processes > 1:
            PartialState().wait_for_everyone()
        if plan.recipe.sampler == "edge":
            usable = self._at_the_edge(usable)

        rollouts = Rollouts(plan, self.engine, {one.id: one for one in usable}, kept, self.clock)
        vllm = plan.recipe.engine == "vllm"
        if vllm:
            prepare(self.loaded.model)
        rows = [{"prompt": plan.template.ask(one.question), "problem_id": one.id} for one in usable]
        trainer = Trainer(
            model=self.loaded.model,
            reward_funcs=self._rewards(rollouts),
            args=self._config(),
            train_dataset=Dataset.from_list(rows),
            processing_class=self.loaded.tokenizer,
            callbacks=[Record(plan, self.clock, self.measure), *([DriftGuard()] if vllm else [])],
            peft_config=self._lora(),
            rollout_func=None if vllm else rollouts.draw,
        )
        trainer.remove_callback(PrinterCallback)
        if plan.recipe.sampler == "posterior":
            trainer.rows = {row["problem_id"]: row for row in rows}
            trainer.sampler = self._posterior(usable, kept)
        began = time.perf_counter()
        before = {kind: self.clock.split.get(kind, 0.0) for kind in ("rollout", "grading", "audit")}
        if checkpoint and step >= int(plan.recipe.grpo["max_steps"]):
            trainer._load_from_checkpoint(str(checkpoint))  # train() would take one step beyond the last
        else:
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        elsewhere = sum(self.clock.split.get(kind, 0.0) - seconds for kind, seconds in before.items())
        self.clock.add("update", began + elsewhere)
        self.loaded.model.eval()
        if trainer.accelerator.is_main_process:
            self.audit("end", int(plan.recipe.grpo["max_steps"]), self.suite, plan.recipe.audit.samples)
            self.measure(int(plan.recipe.grpo["max_steps"]))
            self._save(trainer)

    def _signal(self) -> dict[str, tuple[int, int]]:
        """Right and all samples of each problem of the signal audit."""
        audit = json.loads((self.plan.out / "audit-signal.json").read_text(encoding="utf-8"))
        return {one["id"]: (one["correct"], one["samples"]) for one in audit["problems"]}

    def _at_the_edge(self, usable: list[Problem]) -> list[Problem]:
        """The problems that the base solves sometimes and not always, of those that the signal audit asked."""
        counts = self._signal()
        edge = [one for one in usable if one.id in counts and 0 < counts[one.id][0] < counts[one.id][1]]
        if not edge:
            raise UsageError(
                f"sampler: edge finds none: of {len(counts)} audited problems the base solves each always or never; type "
                "--set audit.signal_problems=N to audit more, or --set sampler=posterior"
            )
        return edge

    def _posterior(self, usable: list[Problem], kept: RolloutStore) -> Posterior:
        """Pass rates from the signal audit and from all groups that were drawn since."""
        sampler = Posterior(usable, group_size=self.plan.group_size, seed=self.plan.seed)
        sampler.update({id: counts for id, counts in self._signal().items() if id in sampler.place})
        return replayed(sampler, kept.rows(["problem_id", "reward", "step"]))

    def _before(self, step: int, kept: RolloutStore) -> None:
        """Drop what a killed run wrote after its last checkpoint, and measure the base if that is not done."""
        kept.drop_after(step)
        for name in ("metrics.jsonl", "heldout.jsonl"):
            _cut_jsonl(self.plan.out / name, step)
        for folder in (self.plan.out / "rollouts").glob("heldout-*"):
            if int(folder.name.split("-")[1]) > step:
                shutil.rmtree(folder)
        self.audit("start", 0, self.suite, self.plan.recipe.audit.samples)
        signal = self.train_suite.first(self.plan.recipe.audit.signal_problems)
        self.audit("signal", 0, signal, self.plan.group_size)
        if step == 0:
            self.measure(0)

    def audit(self, name: str, step: int, suite: ProblemSet, samples: int) -> None:
        """Run or finish one audit of the model as it is now; its rollouts stay in rollouts/audit-NAME."""
        target = self.plan.out / f"audit-{name}.json"
        if target.is_file():
            return
        began = time.perf_counter()
        spec = self._spec(step, suite, samples)
        store = RolloutStore(self.plan.out / "rollouts" / f"audit-{name}")
        write_json(target, run_audit(self.engine, spec, store))
        self.clock.add("audit", began)

    def measure(self, step: int) -> None:
        """Held-out pass@1 now, on the first problems of the suite, into heldout.jsonl; once a step, resumed or not."""
        path = self.plan.out / "heldout.jsonl"
        if path.is_file() and step in {
            json.loads(line)["step"] for line in path.read_text(encoding="utf-8").splitlines()
        }:
            return
        began = time.perf_counter()
        audit = self.plan.recipe.audit
        spec = self._spec(step, self.suite.first(audit.every_problems), audit.every_samples)
        store = RolloutStore(self.plan.out / "rollouts" / f"heldout-{step:06d}")
        training = self.loaded.model.training
        self.loaded.model.eval()
        found = run_audit(self.engine, spec, store, progress=False)
        self.loaded.model.train(training)
        append_jsonl(path, {"step": step, "pass_at_1": found["pass_at_k"]["read"]["1"]})
        self.clock.add("audit", began)

    def _spec(self, step: int, suite: ProblemSet, samples: int) -> AuditSpec:
        return AuditSpec(
            base=self.plan.base,
            step=step,
            suite=suite,
            template=self.plan.template,
            reading=self.plan.recipe.reading,
            sampling=replace(training_sampling(self.plan), seed=self.plan.seed),
            samples=samples,
        )

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
            "report_to": "none",
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
        model: Any = trainer.accelerator.unwrap_model(trainer.model)
        if self.plan.recipe.lora is not None:
            model = model.merge_and_unload()
        model.save_pretrained(self.plan.out / "model")
        self.loaded.tokenizer.save_pretrained(self.plan.out / "model")
