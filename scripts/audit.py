"""Measure a base before RL: pass@k, maj@k, what it does and whether GRPO would find a signal, with intervals."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from configs.cli import run, show
from configs.errors import UsageError


def main() -> None:
    """Parse, check all that can be checked without the model, audit, print the table and the next command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", help="name of configs/bases, hub id, model folder or .gguf file")
    parser.add_argument("--suite", help="name of configs/suites or a .jsonl file (default: the base's first suite)")
    parser.add_argument(
        "--template", help="of configs/templates: a name, several by comma, or all (default: the base's own)"
    )
    shots_from_help = "set of the examples; none is taken that --suite asks (default: the base's suite to train on)"
    parser.add_argument("--shots", type=int, default=0, help="worked examples before every question (default 0)")
    parser.add_argument("--shots-from", metavar="SUITE", help=shots_from_help)
    parser.add_argument("--samples", type=int, help="samples per problem (default 16; 32 for sets such as AIME)")
    parser.add_argument("--limit", type=int, help="only the first so many problems")
    parser.add_argument("--temperature", type=float, default=1.0, help="0 is greedy (default 1.0, as GRPO samples)")
    parser.add_argument("--top-p", type=float, default=1.0, help="nucleus sampling (default 1.0: off)")
    parser.add_argument("--max-tokens", type=int, help="per completion (default: half the context, at most 2048)")
    parser.add_argument(
        "--read", choices=["strict", "lenient"], default="strict", help="reading of the verdict kept (default strict)"
    )
    parser.add_argument(
        "--engine",
        choices=["transformers", "vllm", "openai"],
        help="what draws the samples (default: vllm where it is installed and a GPU is visible, else transformers)",
    )
    parser.add_argument(
        "--url", help="of an OpenAI-compatible server, such as http://localhost:8000/v1 (--engine openai)"
    )
    parser.add_argument("--concurrency", type=int, default=64, help="requests at a server at a time (default 64)")
    parser.add_argument("--tensor-parallel", type=int, default=1, help="GPUs that one vLLM engine spans (default 1)")
    parser.add_argument(
        "--dtype", default="auto", choices=["auto", "float32", "bfloat16", "float16"], help="of the weights"
    )
    parser.add_argument("--batch-tokens", type=int, default=40_000, help="rows x tokens of one batch (default 40000)")
    parser.add_argument("--seed", type=int, default=0, help="of sampling, and of a tiny base's pretraining (default 0)")
    parser.add_argument("--out", type=Path, help="run folder (default runs/audits/BASE-SUITE-TEMPLATE)")
    regrade_help = "grade the rollouts of this audit again (--read as now), without sampling; needs no --base"
    parser.add_argument("--regrade", type=Path, metavar="RUN", help=regrade_help)
    parser.add_argument("--workers", type=int, default=1, help="processes that grade again (default 1)")
    args = parser.parse_args()
    if args.regrade:
        _regrade(args)
        return
    if not args.base:
        raise UsageError("--base says what to audit; type --base NAME, or --regrade RUN to grade kept rollouts again")

    from baselines.bases import TINY_ROOT, find_base
    from configs.load import load_template, names
    from rewards.suites import load_problems

    if args.samples is not None and args.samples < 1:
        raise UsageError("--samples takes 1 or more; pass@k needs at least k of them")
    if args.temperature < 0 or not 0 < args.top_p <= 1:
        raise UsageError("--temperature takes 0 or more, --top-p more than 0 and at most 1")
    if args.concurrency < 1 or args.tensor_parallel < 1:
        raise UsageError("--concurrency and --tensor-parallel take 1 or more")
    if (args.url is None) == (args.engine == "openai"):
        raise UsageError(
            "--engine openai and --url go together, such as --engine openai --url http://localhost:8000/v1"
        )
    base = find_base(args.base, seed=args.seed)
    wanted = base.default("template", args.template)
    templates = [load_template(name) for name in (names("templates") if wanted == "all" else wanted.split(","))]
    asked = base.default("suite", args.suite)
    suite = load_problems(asked)
    if args.shots < 0 or (args.shots_from and not args.shots):
        raise UsageError("--shots takes 0 or more, and --shots-from goes with it")
    if args.shots:
        from evals.fewshot import few_shot

        if not args.shots_from and not base.known:
            raise UsageError(
                "nothing is known of this base, so it has no set to take examples from; add --shots-from SUITE"
            )
        source = load_problems(args.shots_from or base.default("train_suite", None))
        templates = [few_shot(one, suite, source, shots=args.shots, seed=args.seed) for one in templates]
    if args.samples is None:  # thirty questions need more of each
        args.samples = 32 if suite.problems[0].form == "aime" else 16
    if args.limit is not None:
        suite = suite.first(args.limit)
    if args.max_tokens is not None and args.max_tokens < 1:
        raise UsageError("--max-tokens takes 1 or more")

    import json

    from evals.engines import EngineSpec, default_kind, open_engine
    from evals.manifest import claim, open_run, write_json

    stem = Path(suite.name).stem
    several = len(templates) > 1
    out = args.out or Path("runs/audits") / f"{base.name}-{stem}-{'sweep' if several else templates[0].name}"
    context = base.known.context_length if base.known else None
    max_tokens = args.max_tokens or min(2048, (context or 4096) // 2)
    kind = args.engine or default_kind()
    settings = {
        "base": base.name,
        "origin": base.origin,
        "revision": base.revision,
        "suite": suite.fingerprint,
        "samples": args.samples,
        "temperature": args.temperature,
        "top_p": args.top_p,
        "max_tokens": max_tokens,
        "read": args.read,
        "engine": kind,
        "dtype": args.dtype,
        "seed": args.seed,
    }
    folders = {one.name: out / one.name if several else out for one in templates}
    for one in templates:
        claim(folders[one.name], {**settings, "template": one.model_dump()}, resume=None)

    from transformers.utils import logging

    from evals.audit import AuditSpec, audit_table, run_audit
    from evals.rollouts import RolloutStore
    from evals.sampling import NothingToDrawError, Sampling, split_markers
    from evals.summary import edge
    from evals.sweep import COLUMNS, sweep, sweep_table, verdict

    logging.disable_progress_bar()
    spec = EngineSpec(
        kind=kind,
        name=base.name,
        origin=base.origin,
        revision=base.revision,
        stop_token_ids=base.stop_token_ids,
        dtype=args.dtype,
        prompts=[one.ask(problem.question) for one in templates for problem in suite.problems],
        max_tokens=max_tokens,
        cache=TINY_ROOT,
        batch_tokens=args.batch_tokens,
        tensor_parallel=args.tensor_parallel,
        url=args.url or "",
        concurrency=args.concurrency,
    )
    audits, left_out = {}, {}
    with open_engine(spec) as opened:
        for template in templates:
            began = time.perf_counter()
            folder = folders[template.name]
            if split := split_markers(opened.tokenizer, template.prompt):
                print(
                    f"note: {', '.join(split)} of template {template.name}: no token of this base, which reads the letters"
                )
            audited = AuditSpec(
                base=base.name,
                step=0,
                suite=suite,
                template=template,
                reading=args.read,
                samples=args.samples,
                sampling=Sampling(
                    temperature=args.temperature, top_p=args.top_p, max_tokens=max_tokens, seed=args.seed
                ),
            )
            facts = {
                "base": base.name,
                "template": template.name,
                "suite": {"name": suite.name, "fingerprint": suite.fingerprint},
                "url": args.url,
            }
            try:
                with open_run(folder, "audit", {**settings, "template": template.model_dump()}, facts) as manifest:
                    audit = run_audit(opened.with_stops(template.stop), audited, RolloutStore(folder / "rollouts"))
                    write_json(folder / "audit.json", audit)
                    promising = "".join(json.dumps(row) + "\n" for row in edge(audit, suite))
                    (folder / "edge.jsonl").write_text(promising, encoding="utf-8")
                    manifest["split"] = {"audit": round(time.perf_counter() - began, 2)}
            except NothingToDrawError as error:
                if not several:
                    raise
                left_out[template.name] = str(error)
                continue
            audits[template.name] = audit

    if not audits:
        raise UsageError(f"no template of {wanted} leaves room for {max_tokens} tokens; lower --max-tokens")
    written = out / "audit.json"
    if several:
        found = sweep(audits)
        written = out / "sweep.json"
        write_json(written, found)
        show(f"{base.name} on {suite.name}, {len(templates)} templates", COLUMNS, sweep_table(found, left_out))
        print(verdict(found))
    else:
        title = f"{base.name} on {suite.name}, template {templates[0].name}"
        show(title, ("measure", "value (95% interval over problems)"), audit_table(audits[templates[0].name]))
    print(json.dumps({"rollouts": len(audits) * len(suite.problems) * args.samples, "out": str(written)}))
    rest = (
        ""
        if base.known
        else f" --recipe dr-grpo --template {next(iter(audits))} --suite TRAIN.jsonl --eval-suite {asked}"
    )
    print(f"next: python scripts/grpo.py --base {args.base}{rest} --dry-run")


def _regrade(args: argparse.Namespace) -> None:
    """Regrade a kept audit, print the new table and how many verdicts changed."""
    import json

    from evals.audit import audit_table
    from evals.manifest import only_one
    from evals.regrade import kept_audit, regrade, told
    from rewards.suites import load_problems

    before = kept_audit(args.regrade)
    suite = load_problems(args.suite or before["suite"]["name"])
    asked = suite.first(before["suite"]["problems"])
    with only_one(args.regrade, f"another process is at work in {args.regrade}; wait for it"):
        out = regrade(args.regrade, asked, reading=args.read, workers=args.workers)
    audit = json.loads((out / "audit.json").read_text(encoding="utf-8"))
    show(
        f"{audit['base']} on {suite.name}, graded again",
        ("measure", "value (95% interval over problems)"),
        audit_table(audit),
    )
    with (out / "differences.jsonl").open(encoding="utf-8") as lines:
        changed = [json.loads(line) for line in lines]
    print(told(audit, [(one["before"]["correct"], one["after"]["correct"]) for one in changed]))
    print(f"{len(changed)} verdicts or answers changed, listed in {out / 'differences.jsonl'}")


if __name__ == "__main__":
    sys.exit(run(main))
