"""Ask bases what their scores leave open: have they read the test, do they see letters, how far do they calculate?"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from configs.cli import run, show
from configs.errors import UsageError


def main() -> None:
    """Parse, draw greedily, print a table with a column a base; everything drawn stays in --out."""
    parser = argparse.ArgumentParser(description=__doc__)
    kind_help = "contamination of --suite, counting letters in words, or arithmetic by digits and by terms"
    parser.add_argument("kind", choices=["contamination", "letters", "arithmetic"], help=kind_help)
    base_help = "one base or several, side by side: names of configs/bases, hub ids, model folders or .gguf files"
    parser.add_argument("--base", required=True, nargs="+", help=base_help)
    parser.add_argument(
        "--suite", help="test set whose memory is probed (contamination; default: the base's first suite)"
    )
    parser.add_argument("--template", help="how problems are asked (arithmetic; default: the base's own)")
    parser.add_argument("--limit", type=int, default=64, help="questions, for arithmetic at each level (default 64)")
    parser.add_argument("--max-tokens", type=int, default=256, help="per completion (default 256)")
    parser.add_argument("--engine", choices=["transformers", "vllm", "openai"], help="as for scripts/audit.py")
    parser.add_argument("--url", default="", help="of an OpenAI-compatible server (--engine openai)")
    parser.add_argument("--seed", type=int, default=0, help="of the questions (default 0)")
    parser.add_argument("--out", type=Path, help="folder of the runs BASE-KIND (default runs/probes)")
    args = parser.parse_args()
    if args.limit < 1 or args.max_tokens < 1:
        raise UsageError("--limit and --max-tokens take 1 or more")
    if (args.engine == "openai") != bool(args.url):
        raise UsageError(
            "--engine openai and --url go together, such as --engine openai --url http://localhost:8000/v1"
        )
    if args.url and len(args.base) > 1:
        raise UsageError("a server holds one base; name one --base with --engine openai")

    from baselines.bases import find_base
    from evals.manifest import claim, open_run, write_json

    bases = [find_base(name, seed=args.seed) for name in args.base]
    folders = {base.name: (args.out or Path("runs/probes")) / f"{base.name}-{args.kind}" for base in bases}
    if len(folders) < len(bases):
        raise UsageError("two of these bases have one name; give each folder a name of its own")
    asked = {key: str(value) for key, value in vars(args).items() if key not in ("out", "base")}
    settings = {base.name: {**asked, "origin": base.origin} for base in bases}
    for name, folder in folders.items():
        claim(folder, settings[name], resume=None)
    probe = {"contamination": _contamination, "letters": _letters, "arithmetic": _arithmetic}[args.kind]
    columns: dict[str, dict[str, str]] = {}
    for base in bases:
        with open_run(folders[base.name], "probe", settings[base.name], {"base": base.name, "kind": args.kind}):
            found, rows = probe(args, base, folders[base.name])
            write_json(folders[base.name] / "probe.json", {"base": base.name, "kind": args.kind, **found})
        columns[base.name] = dict(rows)
    labels = dict.fromkeys(label for rows in columns.values() for label in rows)
    cells = [[label, *(rows.get(label, "") for rows in columns.values())] for label in labels]
    show(f"{args.kind}, value (95% interval)", ["what", *columns], cells)
    print("  completions and numbers: " + " ".join(map(str, folders.values())))


def _draw(
    args: argparse.Namespace, base: Any, out: Path, requests: list[Any], *, stops: list[str], max_tokens: int
) -> dict[str, str]:
    """Greedy completions by problem id, of those that could be drawn; what is kept in `out` is not drawn again."""
    from dataclasses import asdict

    from transformers.utils import logging

    from baselines.bases import TINY_ROOT
    from evals.engines import EngineSpec, default_kind, open_engine
    from evals.rollouts import RolloutStore
    from evals.sampling import NOT_DRAWN, Sampling

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
    with open_engine(spec) as opened:
        sampling = Sampling(temperature=0.0, top_p=1.0, max_tokens=max_tokens, seed=args.seed)
        missing = [request for request in requests if request.problem_id not in kept]
        for rollouts in opened.with_stops(stops).stream(missing, sampling):
            store.append([asdict(rollout) for rollout in rollouts])
    rows = store.rows(["problem_id", "completion", "finish"])
    return {row["problem_id"]: row["completion"] for row in rows if row["finish"] not in NOT_DRAWN}


def _not_drawn(asked: int, kept: int) -> list[tuple[str, str]]:
    if asked == kept:
        return []
    return [("left out: a prompt has no room or no tokens", f"{asked - kept:,} of {asked:,} questions")]


def _share(estimate: Any) -> str:
    return f"{estimate.value:.1%}  ({estimate.low:.1%} to {estimate.high:.1%})"


def _contamination(args: argparse.Namespace, base: Any, out: Path) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    from evals.probes import contamination, cuts, drawn_whole
    from rewards.suites import load_problems

    suite = load_problems(base.default("suite", args.suite))
    asked = cuts(suite.first(args.limit).problems, seed=args.seed)
    completions = _draw(args, base, out, [cut.request for cut in asked], stops=[], max_tokens=args.max_tokens)
    kept = drawn_whole(asked, lambda cut: cut.pair, completions)
    found = contamination(kept, completions)
    what = {
        "exact": "hidden words come back whole",
        "rouge_l": "hidden words come back in order",
        "answer": "the gold follows",
    }
    rows = [
        (f"{text}, {arm}", _share(estimate)) for name, text in what.items() for arm, estimate in found[name].items()
    ]
    rows += _not_drawn(len(asked) // 2, len(kept) // 2)
    return {
        "suite": suite.name,
        "not_drawn": (len(asked) - len(kept)) // 2,
        **{name: {arm: one.to_json() for arm, one in each.items()} for name, each in found.items()},
    }, rows


def _letters(args: argparse.Namespace, base: Any, out: Path) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    from baselines.bases import TINY_ROOT
    from evals.models import load_text
    from evals.probes import drawn_whole, letter_questions, letters

    asked = letter_questions(size=args.limit, seed=args.seed)
    requests = {one: [one.request(spelled=spelled) for spelled in (False, True)] for one in asked}
    completions = _draw(
        args, base, out, [each for pair in requests.values() for each in pair], stops=["\n"], max_tokens=8
    )
    questions = drawn_whole(asked, lambda one: [each.problem_id for each in requests[one]], completions)
    text = load_text(base.origin, revision=base.revision, stop_token_ids=base.stop_token_ids, cache=TINY_ROOT)
    tokens = {one.word: len(text.tokenizer(" " + one.word, add_special_tokens=False)["input_ids"]) for one in questions}
    found = letters(questions, completions, tokens)
    rows = [(f"right, words {arm}", _share(found[arm])) for arm in ("whole", "spelled")]
    rows += [("spelled out less whole, by word", _share(found["difference"]))]
    rows += [("the commonest count alone", f"{found['floor']:.1%}")]
    rows += [("tokens a word, letters a token", f"{found['tokens_per_word']:.2f}, {found['letters_per_token']:.2f}")]
    for size, each in sorted(found["by_tokens"].items()):
        rows.append((f"right, whole words of {size} tokens", f"{_share(each['whole'])}, n = {each['whole'].n}"))
        rows.append((f"  spelled out less whole, {size} tokens", _share(each["hidden"])))
    rows += _not_drawn(len(asked), len(questions))
    shares = {key: found.pop(key).to_json() for key in ("whole", "spelled", "difference")}
    by_tokens = {
        size: {key: one.to_json() for key, one in each.items()} for size, each in found.pop("by_tokens").items()
    }
    return {"not_drawn": len(asked) - len(questions), **shares, **found, "by_tokens": by_tokens}, rows


def _arithmetic(args: argparse.Namespace, base: Any, out: Path) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    from configs.load import load_template
    from evals.arithmetic import by_level, reach, rungs
    from evals.probes import drawn_whole
    from evals.sampling import Request
    from rewards.grade import grade

    template = load_template(base.default("template", args.template))
    asked = rungs(size=args.limit, seed=args.seed)
    problems = [one.problem for one in asked]
    requests = [Request(problem_id=each.id, sample=0, prompt=template.ask(each.question)) for each in problems]
    completions = _draw(args, base, out, requests, stops=template.stop, max_tokens=args.max_tokens)
    drawn = drawn_whole(asked, lambda one: [one.problem.id], completions)
    right = {
        one.problem.id: grade(one.problem, completions[one.problem.id], template, reading="lenient").correct
        for one in drawn
    }
    found = by_level(drawn, right)
    rows = _not_drawn(len(asked), len(drawn))
    for ladder, levels in found.items():
        rows += [(f"{ladder}: {level}", _share(one)) for level, one in levels.items()]
        rows.append((f"{ladder}: half is right up to", str(reach(levels) or "none")))
    kept = {ladder: {str(level): one.to_json() for level, one in levels.items()} for ladder, levels in found.items()}
    return {
        "template": template.name,
        "not_drawn": len(asked) - len(drawn),
        "ladders": kept,
        "reach": {name: reach(each) for name, each in found.items()},
    }, rows


if __name__ == "__main__":
    sys.exit(run(main))
