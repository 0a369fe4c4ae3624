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
    parser.add_argument("--base", required=True, help="name of configs/bases, hub id, model folder or .gguf file")
    parser.add_argument("--suite", help="name of configs/suites or a .jsonl file (default: the base's first suite)")
    parser.add_argument("--template", help="name of configs/templates (default: the base's own)")
    parser.add_argument("--samples", type=int, default=16, help="samples per problem (default 16)")
    parser.add_argument("--limit", type=int, help="only the first so many problems")
    parser.add_argument("--temperature", type=float, default=1.0, help="0 is greedy (default 1.0, as GRPO samples)")
    parser.add_argument("--top-p", type=float, default=1.0, help="nucleus sampling (default 1.0: off)")
    parser.add_argument("--max-tokens", type=int, help="per completion (default: half the context, at most 2048)")
    parser.add_argument(
        "--read", choices=["strict", "lenient"], default="strict", help="reading of the verdict kept (default strict)"
    )
    parser.add_argument("--engine", choices=["transformers"], default="transformers", help="what draws the samples")
    parser.add_argument(
        "--dtype", default="auto", choices=["auto", "float32", "bfloat16", "float16"], help="of the weights"
    )
    parser.add_argument("--batch-tokens", type=int, default=40_000, help="rows x tokens of one batch (default 40000)")
    parser.add_argument("--seed", type=int, default=0, help="of sampling, and of a tiny base's pretraining (default 0)")
    parser.add_argument("--out", type=Path, help="run folder (default runs/audits/BASE-SUITE-TEMPLATE)")
    args = parser.parse_args()

    from baselines.bases import find_base
    from configs.load import load_template
    from rewards.suites import load_problems

    if args.samples < 1:
        raise UsageError("--samples takes 1 or more; pass@k needs at least k of them")
    if args.temperature < 0 or not 0 < args.top_p <= 1:
        raise UsageError("--temperature takes 0 or more, --top-p more than 0 and at most 1")
    base = find_base(args.base, seed=args.seed)
    template = load_template(base.default("template", args.template))
    asked = base.default("suite", args.suite)
    suite = load_problems(asked)
    if args.limit is not None:
        suite = suite.first(args.limit)
    if args.max_tokens is not None and args.max_tokens < 1:
        raise UsageError("--max-tokens takes 1 or more")

    import json

    from evals.manifest import claim, open_run, write_json

    stem = Path(suite.name).stem
    out = args.out or Path("runs/audits") / f"{base.name}-{stem}-{template.name}"
    context = base.known.context_length if base.known else None
    max_tokens = args.max_tokens or min(2048, (context or 4096) // 2)
    settings = {
        "base": base.name,
        "origin": base.origin,
        "revision": base.revision,
        "suite": suite.fingerprint,
        "template": template.model_dump(),
        "samples": args.samples,
        "temperature": args.temperature,
        "top_p": args.top_p,
        "max_tokens": max_tokens,
        "read": args.read,
        "dtype": args.dtype,
        "seed": args.seed,
    }
    claim(out, settings, resume=None)

    from transformers.utils import logging

    from evals.audit import AuditSpec, audit_table, run_audit
    from evals.engine import Sampling, TransformersEngine
    from evals.models import load_base as load_weights
    from evals.rollouts import RolloutStore

    logging.disable_progress_bar()
    began = time.perf_counter()
    facts = {
        "base": base.name,
        "template": template.name,
        "suite": {"name": suite.name, "fingerprint": suite.fingerprint},
    }
    loaded = load_weights(base.origin, revision=base.revision, stop_token_ids=base.stop_token_ids, dtype=args.dtype)
    engine = TransformersEngine(
        loaded.model,
        loaded.tokenizer,
        stop_token_ids=loaded.stop_token_ids,
        stop_strings=template.stop,
        batch_tokens=args.batch_tokens,
    )
    spec = AuditSpec(
        base=base.name,
        step=0,
        suite=suite,
        template=template,
        reading=args.read,
        samples=args.samples,
        sampling=Sampling(temperature=args.temperature, top_p=args.top_p, max_tokens=max_tokens, seed=args.seed),
    )
    with open_run(out, "audit", settings, facts) as manifest:
        audit = run_audit(engine, spec, RolloutStore(out / "rollouts"))
        write_json(out / "audit.json", audit)
        manifest["split"] = {"audit": round(time.perf_counter() - began, 2)}

    title = f"{base.name} on {suite.name}, template {template.name}"
    show(title, ("measure", "value (95% interval over problems)"), audit_table(audit))
    print(json.dumps({"rollouts": len(audit["problems"]) * args.samples, "out": str(out / "audit.json")}))
    rest = (
        "" if base.known else f" --recipe dr-grpo --template {template.name} --suite TRAIN.jsonl --eval-suite {asked}"
    )
    print(f"next: python scripts/grpo.py --base {args.base}{rest} --dry-run")


if __name__ == "__main__":
    sys.exit(run(main))
