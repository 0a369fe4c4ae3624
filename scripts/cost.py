"""What a run will cost, or did: FLOPs, GPU hours, MFU, memory, dollars, and dollars per point gained.

python scripts/cost.py --base qwen2.5-7b --recipe r1-zero --gpus 8 --device h100
python scripts/cost.py --run runs/tiny/tiny-latent-s0
python scripts/cost.py --claims
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from configs.cli import run, show
from configs.errors import UsageError

if TYPE_CHECKING:
    from configs.schema import Architecture, Price
    from evals.spending import Account, Estimated, Job


def main() -> None:
    """Parse, then plan, account or list the claims; print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", help="plan a run of this base: name of configs/bases, or a model folder")
    parser.add_argument("--run", type=Path, help="account for this run folder")
    parser.add_argument("--claims", action="store_true", help="published cost figures, recomputed")
    parser.add_argument("--recipe", help="name of configs/recipes (default: the base's own)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings", help="as grpo.py")
    parser.add_argument("--lora", action="store_true", help="as grpo.py")
    parser.add_argument("--gpus", type=int, default=8, help="GPUs of the planned run (default 8)")
    parser.add_argument("--device", help="name of configs/devices (default h100; of a run: what its manifest says)")
    parser.add_argument("--prompt", type=float, help="mean prompt in tokens, when known")
    parser.add_argument("--completion", type=float, help="mean completion in tokens, when known")
    parser.add_argument("--price", type=float, help="US dollars per GPU hour (default: the device's range)")
    parser.add_argument("--peak", type=float, help="TFLOP/s of a device that no file describes, for the MFU of a run")
    args = parser.parse_args()
    for name in ("gpus", "prompt", "completion", "peak"):
        if getattr(args, name) is not None and getattr(args, name) <= 0:
            raise UsageError(f"--{name} takes a number above 0")
    if args.price is not None and args.price < 0:
        raise UsageError("--price takes dollars per GPU hour, 0 or more")

    if args.claims:
        from evals.claims import claims

        show("published figures", ("figure", "recomputed"), [(claim.what, claim.verdict) for claim in claims()])
    elif args.run:
        _account(args)
    elif args.base:
        _plan(args)
    else:
        raise UsageError("name what to cost: --base NAME, --run FOLDER or --claims")


def _plan(args: argparse.Namespace) -> None:
    from configs.load import load_base, load_device, load_recipe, load_template, names
    from configs.overrides import LORA, apply_overrides
    from configs.schema import Price
    from evals.spending import Job, plan_spending
    from rl.plan import Plan

    known = load_base(args.base) if args.base in names("bases") else None
    shape = _shape(args.base)
    recipe_name = args.recipe or (known and known.recipe)
    if recipe_name is None:
        raise UsageError(f"nothing is known of {args.base}, so it has no default recipe; add --recipe NAME")
    recipe = load_recipe(recipe_name)
    if args.lora:
        recipe = recipe.model_copy(update={"lora": LORA})
    recipe = apply_overrides(recipe, args.settings)
    plan = Plan(
        base=args.base,
        origin=args.base,
        revision=None,
        stop_token_ids=None,
        parameters=known.parameters if known else None,
        context_length=known.context_length if known else None,
        recipe=recipe,
        template=load_template(known.template if known else "none"),
        suite="",
        train_suite="",
        seed=0,
        out=Path(),
        processes=args.gpus,
    )
    plan.check()
    device = load_device(args.device or "h100")
    job = Job(
        shape=shape,
        recipe=recipe.model_dump(),
        device=device,
        gpus=args.gpus,
        rollouts=plan.rollouts,
        batches=plan.rollouts / plan.completions_per_rollout,
        audit_rollouts=plan.audit_rollouts,
        price=Price(low=args.price, high=args.price) if args.price is not None else device.usd_per_hour,
        prompt=args.prompt,
        completion=args.completion,
    )
    cheap, middle, dear = plan_spending(job)
    show(
        f"{args.base}, {recipe.name}, {args.gpus} x {device.name}",
        ("what", "estimate"),
        _plan_rows(job, cheap, middle, dear),
    )
    show("stated assumptions", ("what", "cheap to dear, and why"), _assumption_rows(job))
    print("each end takes all assumptions at that end, the middle their geometric means: a range of what is not known")


def _shape(asked: str) -> Architecture:
    """Shapes of a base by name, else by the config.json of a folder."""
    from configs.errors import nearest
    from configs.load import load_base, names
    from evals.cost import read_architecture

    if asked in names("bases"):
        shape = load_base(asked).architecture
        if shape is None:
            raise UsageError(f"configs/bases/{asked}.yaml has no architecture; add one as qwen2.5-7b.yaml has it")
        return shape
    config = Path(asked) / "config.json"
    if not config.is_file():
        raise UsageError(f"no base named {asked!r}, and no {config}: {nearest(asked, names('bases'))}")
    return read_architecture(json.loads(config.read_text(encoding="utf-8")))


def _few(value: float, digits: int = 3) -> str:
    """A number in few digits, never with an exponent where it is large."""
    return f"{value:,.{digits}g}" if value < 1000 else f"{value:,.0f}"


def _span(low: float, high: float, unit: str = "", digits: int = 3) -> str:
    """A range in few digits; one number where both ends are one."""
    ends = [_few(value, digits) for value in sorted((low, high))]
    return f"{ends[0] if ends[0] == ends[1] else ' to '.join(ends)} {unit}".rstrip()


def _plan_rows(job: Job, cheap: Estimated, middle: Estimated, dear: Estimated) -> list[tuple[str, str]]:
    from evals.cost import BYTES, activation_bytes, kv_bytes, kv_values, kv_variants, training_bytes, weights
    from evals.spending import precision_of

    shape, grpo = job.shape, job.recipe["grpo"]
    states = [training_bytes(weights(shape), precision_of(job.recipe), master=master) for master in (False, True)]
    sizes = [one.weights if job.recipe["lora"] else one.total for one in states]
    each = [size / 1e9 / job.gpus for size in sizes]
    fits = "" if each[1] < job.device.memory_gb else "; only without float32 master weights"
    if each[0] > job.device.memory_gb:
        fits = "; does not fit"
    stored = ", ".join(f"{name} {_few(weights(shape) * BYTES[name] / 1e9)}" for name in ("fp32", "bf16", "fp8", "fp4"))
    micro = int(grpo["per_device_train_batch_size"])
    longest = micro * (cheap.prompt + float(grpo["max_completion_length"]))
    kept = grpo.get("gradient_checkpointing", True)
    variants = ", ".join(f"{name} {2 * values:,}" for name, values in kv_variants(shape).items())
    hours = [(kind, _span(cheap.gpu_hours[kind], dear.gpu_hours[kind])) for kind in cheap.gpu_hours]
    return [
        ("weights, those one token meets", f"{weights(shape):.4g}, {weights(shape, active=True):.4g}"),
        ("completions: to train on, to measure by", f"{job.rollouts:,.0f}, {job.audit_rollouts:,.0f}"),
        ("completions a rollout, on these GPUs", f"{job.rollouts / job.batches:,.0f}"),
        ("completion tokens to train on", _span(job.rollouts * cheap.completion, job.rollouts * dear.completion)),
        ("model FLOPs", f"{cheap.work.total:.2e} to {dear.work.total:.2e}"),
        ("GPU hours", f"{_span(cheap.hours, dear.hours)}, middle {_few(middle.hours)}"),
        ("of which", ", ".join(f"{kind} {span}" for kind, span in hours)),
        ("wall time, hours", _span(cheap.hours / job.gpus, dear.hours / job.gpus)),
        ("MFU over all time", _span(100 * cheap.mfu, 100 * dear.mfu, "%", 2)),
        ("dollars", f"{_span(cheap.usd, dear.usd)}, middle {_few(middle.usd)}"),
        ("weights alone, GB", stored),
        (
            "weights, gradients, Adam: GB in all",
            f"{_span(sizes[0] / 1e9, sizes[1] / 1e9)} "
            + (
                "(frozen; the adapter's on top)"
                if job.recipe["lora"]
                else "(all in one precision; with float32 master weights)"
            ),
        ),
        ("the same: GB a GPU when sharded", f"{_span(each[0], each[1])} of {job.device.memory_gb:g}{fits}"),
        (
            "activations: GB a GPU at the longest",
            f"{activation_bytes(shape, longest, checkpointed=kept) / 1e9:,.3g} for {micro} sequences, logits in float32",
        ),
        ("KV cache, bytes a token in bf16", f"{2 * kv_values(shape):,} ({variants})"),
        (
            "KV cache, GB of one longest sequence",
            f"{kv_bytes(shape, longest / micro) / 1e9:.3g}",
        ),
    ]


def _assumption_rows(job: Job) -> list[tuple[str, str]]:
    from evals.spending import COMPLETION_SHARE, CONCURRENT, DECODING, LAYER, PROMPT_TOKENS, UPDATE_MFU, WAITING, passes

    unknown = [(PROMPT_TOKENS, job.prompt), (COMPLETION_SHARE, job.completion)]
    assumed = [one for one, given in unknown if given is None] + [UPDATE_MFU, DECODING, LAYER, WAITING]
    how = passes(job.recipe)
    return [
        *((one.what, f"{one.cheap:g} to {one.dear:g}: {one.why}") for one in assumed),
        (
            "dollars a GPU hour",
            f"{_span(job.price.low, job.price.high, digits=4)}; configs/devices/{job.device.name}.yaml has where its range is from",
        ),
        (
            "passes over a completion",
            f"{how.scoring} forward, then {how.updates} with k = {how.k:g}, {how.k_hardware:g} with recomputation",
        ),
        ("sequences side by side", f"at most {CONCURRENT} a replica, and what the KV cache leaves room for"),
    ]


def _account(args: argparse.Namespace) -> None:
    from configs.load import load_device
    from configs.schema import Price
    from evals.cost import device_of, peak
    from evals.spending import account

    done = account(args.run, _shape(args.base) if args.base else _shape_of_run(args.run))
    device = load_device(args.device) if args.device else device_of(done.gpu_names)
    best = args.peak or (peak(device, done.precision) if device else None)
    price = device.usd_per_hour if device else None
    if args.price is not None:
        price = Price(low=args.price, high=args.price)
    show(f"{args.run} ({done.status})", ("what", "found"), _account_rows(done, best, price))


def _shape_of_run(folder: Path) -> Architecture:
    """The trained model's own config.json, else that of its origin, else the base's YAML."""
    from evals.runs import load_manifest

    load_manifest(folder)  # says what to type when this is no run
    settings = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["settings"]
    for place in (folder / "model", Path(settings["origin"])):
        if (place / "config.json").is_file():
            return _shape(str(place))
    try:
        return _shape(settings["base"])
    except UsageError as error:
        raise UsageError(f"the shapes of {settings['base']} lie beside no file of {folder}; add --base") from error


def _account_rows(done: Account, best: float | None, price: Price | None) -> list[tuple[str, str]]:
    work = done.work
    prompt, completion = done.trained.tokens
    audit_prompt, audit_completion = done.audited.tokens
    rows = [
        (
            "tokens trained on",
            f"{prompt:,.0f} of prompts and {completion:,.0f} of {len(done.trained.prompt):,} completions",
        ),
        (
            "tokens to measure",
            f"{audit_prompt:,.0f} and {audit_completion:,.0f} of {len(done.audited.prompt):,} completions",
        ),
        ("model FLOPs", f"{work.total:.3e}"),
        (
            "of which",
            f"drawing {work.rollout:.2e}, scoring {work.scoring:.2e}, updates {work.update:.2e}, audits {work.audit:.2e}",
        ),
        (
            "GPU hours" if done.gpu_names else "hours",
            f"{done.gpu_hours:,.4g} on {done.gpus} x {', '.join(sorted(set(done.gpu_names))) or 'CPU process'}",
        ),
    ]
    if not done.seconds:
        return [*rows, ("MFU, dollars", f"unknown: a run that is {done.status} has not written down its time yet")]
    if best is None:
        rows.append(("MFU", "unknown: no peak for this device; add --device NAME or --peak TFLOPS"))
    else:
        rows.append(("MFU", ", ".join(f"{phase} {share:.2%}" for phase, share in done.mfu(best).items())))
    if price is None:
        return [
            *rows,
            ("dollars", "unknown: no price for this device; add --device NAME or --price DOLLARS_PER_GPU_HOUR"),
        ]
    usd = price.model_copy(update={"low": price.low * done.gpu_hours, "high": price.high * done.gpu_hours})
    return [*rows, ("dollars", _span(usd.low, usd.high)), ("dollars per point gained", _per_point(done, usd))]


def _per_point(done: Account, usd: Price) -> str:
    from evals.spending import usd_per_point

    gain = done.gain
    if gain is None:
        return "unknown: only a finished training run has an audit before and one after"
    measured = f"gain {100 * gain.value:+.1f} [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}] points of pass@1"
    found = usd_per_point(usd, gain)
    if found is None:
        return f"none: {measured}, {'a loss' if gain.high < 0 else 'which is inside the noise'}"
    return f"{_span(*found)}; {measured}, 95% over problems, one seed"


if __name__ == "__main__":
    sys.exit(run(main))
