"""Ask a base what its scores leave open: has it read the test, can it see letters, how many digits does it add?"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from configs.cli import run, show
from configs.errors import UsageError

DIGITS = range(1, 6)


def main() -> None:
    """Parse, draw greedily, print the table; everything drawn stays in --out."""
    parser = argparse.ArgumentParser(description=__doc__)
    kind_help = "contamination of --suite, counting letters in words, or arithmetic by number of digits"
    parser.add_argument("kind", choices=["contamination", "letters", "arithmetic"], help=kind_help)
    parser.add_argument("--base", required=True, help="name of configs/bases, hub id, model folder or .gguf file")
    parser.add_argument(
        "--suite", help="test set whose memory is probed (contamination; default: the base's first suite)"
    )
    parser.add_argument("--template", help="how sums are asked (arithmetic; default: the base's own)")
    parser.add_argument(
        "--limit", type=int, default=64, help="questions, for arithmetic at each number of digits (default 64)"
    )
    parser.add_argument("--max-tokens", type=int, default=256, help="per completion (default 256)")
    parser.add_argument("--engine", choices=["transformers", "vllm", "openai"], help="as for scripts/audit.py")
    parser.add_argument("--url", default="", help="of an OpenAI-compatible server (--engine openai)")
    parser.add_argument("--seed", type=int, default=0, help="of the questions (default 0)")
    parser.add_argument("--out", type=Path, help="run folder (default runs/probes/BASE-KIND)")
    args = parser.parse_args()
    if args.limit < 1 or args.max_tokens < 1:
        raise UsageError("--limit and --max-tokens take 1 or more")
    if (args.engine == "openai") != bool(args.url):
        raise UsageError(
            "--engine openai and --url go together, such as --engine openai --url http://localhost:8000/v1"
        )

    from baselines.bases import find_base
    from evals.manifest import open_run, write_json

    base = find_base(args.base, seed=args.seed)
    out = args.out or Path("runs/probes") / f"{base.name}-{args.kind}"
    settings = {key: str(value) for key, value in vars(args).items() if key != "out"}
    with open_run(out, "probe", settings, {"base": base.name, "kind": args.kind}):
        found, rows = {"contamination": _contamination, "letters": _letters, "arithmetic": _arithmetic}[args.kind](
            args, base, out
        )
        write_json(out / "probe.json", {"base": base.name, "kind": args.kind, **found})
    show(f"{base.name}: {args.kind}", ["what", "value (95% interval)"], rows)
    print(f"  completions and numbers: {out}")


def _draw(
    args: argparse.Namespace, base: Any, out: Path, requests: list[Any], *, stops: list[str], max_tokens: int
) -> dict[str, str]:
    """Greedy completions by problem id; what is kept in `out` is not drawn again."""
    from dataclasses import asdict

    from transformers.utils import logging

    from baselines.bases import TINY_ROOT
    from evals.engines import EngineSpec, default_kind, open_engine
    from evals.rollouts import RolloutStore
    from evals.sampling import Sampling

    logging.disable_progress_bar()
    store = RolloutStore(out / "rollouts")
    kept = {row["problem_id"] for row in store.rows(["problem_id"])}
    spec = EngineSpec(
        kind=args.engine or default_kind(),
        name=base.name,
        origin=base.origin,
        revision=base.revision,
        stop_token_ids=base.stop_token_ids,
        dtype="auto",
        prompts=[request.prompt for request in requests],
        max_tokens=max_tokens,
        cache=TINY_ROOT,
        batch_tokens=40_000,
        tensor_parallel=1,
        url=args.url,
        concurrency=64,
    )
    with open_engine(spec) as engine_with:
        sampling = Sampling(temperature=0.0, top_p=1.0, max_tokens=max_tokens, seed=args.seed)
        missing = [request for request in requests if request.problem_id not in kept]
        for rollouts in engine_with(stops).stream(missing, sampling):
            store.append([asdict(rollout) for rollout in rollouts])
    return {row["problem_id"]: row["completion"] for row in store.rows(["problem_id", "completion"])}


def _share(estimate: Any) -> str:
    return f"{estimate.value:.1%}  ({estimate.low:.1%} to {estimate.high:.1%})"


def _contamination(args: argparse.Namespace, base: Any, out: Path) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    from evals.probes import contamination, cuts
    from rewards.suites import load_problems

    suite = load_problems(base.default("suite", args.suite))
    asked = cuts(suite.first(args.limit).problems, seed=args.seed)
    completions = _draw(args, base, out, [cut.request for cut in asked], stops=[], max_tokens=args.max_tokens)
    found = contamination(asked, completions)
    what = {
        "exact": "hidden words come back whole",
        "rouge_l": "hidden words come back in order",
        "answer": "the gold follows",
    }
    rows = [
        (f"{text}, {arm}", _share(estimate)) for name, text in what.items() for arm, estimate in found[name].items()
    ]
    return {
        "suite": suite.name,
        **{name: {arm: one.to_json() for arm, one in each.items()} for name, each in found.items()},
    }, rows


def _letters(args: argparse.Namespace, base: Any, out: Path) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    from baselines.bases import TINY_ROOT
    from evals.models import load_text
    from evals.probes import letter_questions, letters

    questions = letter_questions(size=args.limit, seed=args.seed)
    requests = [one.request(spelled=spelled) for one in questions for spelled in (False, True)]
    completions = _draw(args, base, out, requests, stops=["\n"], max_tokens=8)
    text = load_text(base.origin, revision=base.revision, stop_token_ids=base.stop_token_ids, cache=TINY_ROOT)
    tokens = {one.word: len(text.tokenizer(" " + one.word, add_special_tokens=False)["input_ids"]) for one in questions}
    found = letters(questions, completions, tokens)
    rows = [(f"right, words {arm}", _share(found[arm])) for arm in ("whole", "spelled")]
    rows += [("spelled out less whole, by word", _share(found["difference"]))]
    rows += [("the commonest count alone", f"{found['floor']:.1%}")]
    rows += [
        (f"right, words of {size} tokens", f"{_share(one)}, n = {one.n}") for size, one in found["by_tokens"].items()
    ]
    kept = {key: value.to_json() for key, value in found.items() if key in ("whole", "spelled", "difference")}
    by_tokens = {size: one.to_json() for size, one in found["by_tokens"].items()}
    return {**kept, "floor": found["floor"], "by_tokens": by_tokens}, rows


def _arithmetic(args: argparse.Namespace, base: Any, out: Path) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    import numpy as np

    from configs.load import load_template
    from evals.estimate import mean_over_problems
    from evals.sampling import Request
    from rewards.grade import grade
    from rewards.suites import load_problems

    template = load_template(base.default("template", args.template))
    problems = [each for digits in DIGITS for each in load_problems(f"sum-of-{digits}-digits").problems[: args.limit]]
    requests = [Request(problem_id=each.id, sample=0, prompt=template.ask(each.question)) for each in problems]
    completions = _draw(args, base, out, requests, stops=template.stop, max_tokens=args.max_tokens)
    right: dict[str, list[bool]] = {}
    for each in problems:
        verdict = grade(each, completions[each.id], template, reading="lenient")
        right.setdefault(str(each.level), []).append(verdict.correct)
    found = {digits: mean_over_problems(np.array(values, dtype=float)) for digits, values in right.items()}
    rows = [(f"sums of {digits} digits, lenient reading", _share(one)) for digits, one in found.items()]
    return {"template": template.name, "by_digits": {digits: one.to_json() for digits, one in found.items()}}, rows


if __name__ == "__main__":
    sys.exit(run(main))
