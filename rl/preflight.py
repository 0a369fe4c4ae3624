"""Looked at before any GPU time is spent: files, tokens, golds, lengths, the server, and the machine; no model is loaded."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from configs.errors import UsageError, nearest
from rewards.suites import ProblemSet
from rl.files import Files, files_of
from rl.machine import Check, disk, hours, memory, versions
from rl.plan import Plan


def preflight(plan: Plan, suites: Sequence[ProblemSet], *, root: Path) -> list[Check]:
    """All checks, in the order of the table. `suites` are those that could be read: training first; `root` has the pins."""
    files = files_of(plan)
    looks: list[Callable[[], Check]] = [
        lambda: _model(plan, files),
        lambda: _ends(plan, files),
        lambda: _adapter(plan, files),
        *[partial(_golds, suite) for suite in suites],
        lambda: _lengths(plan, files, suites),
        lambda: versions(plan, root),
        lambda: disk(plan, files),
        lambda: memory(plan, files),
        lambda: hours(plan, files),
        lambda: _server(plan),
    ]
    return [check for look in looks if (check := look()).found]


def refuse(checks: Sequence[Check]) -> None:
    """Raises UsageError with all that would stop the run, so that it is mended in one go."""
    stops = [f"{check.what}: {check.found}" for check in checks if check.verdict == "stop"]
    if stops:
        raise UsageError("; ".join(stops))


def _model(plan: Plan, files: Files) -> Check:
    if plan.origin.endswith(".gguf"):
        size = Path(plan.origin).stat().st_size / 1e9
        return Check(what="model", found=f"a GGUF file of {size:,.2f} GB; its tokens are read when it is loaded")
    if files.folder is None:
        found = f"{plan.origin} is not in this machine's cache: fetched at the start, which needs a network"
        return Check(what="model", found=found, verdict="note")
    if missing := files.missing():
        found = f"{files.folder} lacks {', '.join(missing[:3])}; fetch or save the model again"
        return Check(what="model", found=found, verdict="stop")
    return Check(what="model", found=f"all files in {files.folder}")


def _ends(plan: Plan, files: Files) -> Check:
    """Tokens that end a completion, and whether what the template writes as special is so to the tokenizer."""
    tokenizer = files.tokenizer()
    if tokenizer is None:
        return Check(what="end of text", found="")
    ends = sorted(files.ends() | set(plan.stop_token_ids or []))
    if not [one for one in ends if tokenizer.id_to_token(one) is not None]:
        found = f"no token ends a text (ids {ends} are not in the tokenizer); add eos_token_id to its config.json"
        return Check(what="end of text", found=found, verdict="stop")
    named = ", ".join(f"{one} {tokenizer.id_to_token(one)}" for one in ends)
    special = set(re.findall(r"<\|[^|>]+\|>", plan.template.prompt))
    unknown = sorted(one for one in special if tokenizer.token_to_id(one) is None)
    if unknown:
        found = f"{named}; template {plan.template.name} writes {', '.join(unknown)}, to this tokenizer plain text"
        return Check(what="end of text", found=found, verdict="note")
    return Check(what="end of text", found=f"{named}; template {plan.template.name} agrees")


def _adapter(plan: Plan, files: Files) -> Check:
    """Whether the modules that --lora or `lora` names are in the model, as peft looks for them."""
    lora, modules = plan.recipe.lora or {}, files.modules()
    targets = lora.get("target_modules", "all-linear")
    if not lora or not modules or targets == "all-linear":
        return Check(what="adapter", found="")
    if isinstance(targets, str):
        wrong = [] if any(re.fullmatch(targets, module) for module in modules) else [targets]
    else:
        wrong = [one for one in targets if not any(module == one or module.endswith(f".{one}") for module in modules)]
    if wrong:
        last = {module.rsplit(".", 1)[-1] for module in modules}
        found = f"lora.target_modules names {wrong[0]!r}, which this model has not: {nearest(wrong[0], last)}"
        return Check(what="adapter", found=found, verdict="stop")
    return Check(what="adapter", found=f"on {targets if isinstance(targets, str) else ', '.join(targets)}")


def _golds(suite: ProblemSet) -> Check:
    bad, total = len(suite.bad_gold), len(suite.problems)
    if bad:
        found = (
            f"{bad:,} of {total:,} golds are rejected by their own verifier and pay nothing, {suite.bad_gold[0]} first"
        )
        return Check(what=f"golds of {suite.name}", found=found, verdict="note")
    return Check(what=f"golds of {suite.name}", found=f"all {total:,} accept themselves")


def _lengths(plan: Plan, files: Files, suites: Sequence[ProblemSet]) -> Check:
    tokenizer = files.tokenizer()
    contexts = (files.json("config.json").get("max_position_embeddings") or plan.context_length, plan.vllm_room)
    context = min((one for one in contexts if one), default=None)
    prompts = [plan.template.ask(one.question) for suite in suites for one in suite.problems]
    if tokenizer is None or not prompts:
        return Check(what="lengths", found="")
    longest = max(len(each.ids) for each in tokenizer.encode_batch(prompts))
    limit = int(plan.recipe.grpo["max_completion_length"])
    told = f"the longest prompt has {longest:,} tokens, with {limit:,} new ones {longest + limit:,}"
    if context and longest + limit > context:
        found = f"{told}, in a context of {context:,}; --set grpo.max_completion_length={max(1, context - longest)}"
        return Check(what="lengths", found=found, verdict="stop")
    return Check(what="lengths", found=f"{told}, in a context of {context or 'unknown length'}")


def _server(plan: Plan) -> Check:
    """Whether TRL's vLLM server answers, and serves this base."""
    grpo = plan.recipe.grpo
    if plan.recipe.engine != "vllm" or grpo.get("vllm_mode") != "server":
        return Check(what="vLLM server", found="")
    import httpx

    host, port = grpo.get("vllm_server_host", "0.0.0.0"), grpo.get("vllm_server_port", 8000)
    url = str(grpo.get("vllm_server_base_url") or f"http://{host}:{port}").rstrip("/")
    start = f"start one: trl vllm-serve --model {plan.origin}, then --set grpo.vllm_server_base_url=http://HOST:8000"
    try:
        models = httpx.get(f"{url}/v1/models", timeout=10).raise_for_status().json()["data"]
        served = sorted({str(one[key]) for one in models for key in ("id", "root") if one.get(key)})
    except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError) as error:
        return Check(what="vLLM server", found=f"{url} does not answer ({error}); {start}", verdict="stop")
    if plan.origin not in served:
        found = f"{url} serves {', '.join(served)}, not {plan.origin}; {start}"
        return Check(what="vLLM server", found=found, verdict="stop")
    return Check(what="vLLM server", found=f"{url} serves {plan.origin}")
