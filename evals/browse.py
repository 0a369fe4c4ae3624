"""The kept rollouts of a comparison as report.html takes them: sampled, cut, with the answer's place, packed in columns."""

from __future__ import annotations

import base64
import gzip
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from configs.errors import UsageError
from configs.schema import Reading, Template
from evals.compare import Comparison
from evals.rollouts import RolloutStore, pc
from evals.runs import Baseline, Run, SavedAudit
from rewards.reading import read
from rewards.suites import load_problems
from rewards.types import Problem

LIMIT = 50_000
"""Rollouts in a page; of more, a sample is taken."""
LONGEST = 20_000
"""Characters of one completion in a page, and of a question or a prompt."""
TEXT = 60_000_000
"""Characters of all completions in a page: about 60 MB of a browser's memory."""
LONGEST_ANSWER = 300
CHUNK = 5_000  # rollouts that are unpacked at once: a page answers between two chunks
PACKING = 3  # gzip's level: a quarter of the time of its default, for a page a tenth larger
REREAD = 20_000  # characters read again, at most, to find where one answer was read: about 0.2 ms at worst

COLUMNS = ["problem_id", "sample", "completion", "completion_tokens", "finish", "logprob", "answer"]
COLUMNS += ["correct", "status", "reason", "lenient_correct"]
_OTHER = str.maketrans("0123456789abcdefghijklmnopqrstuvwxyz", "1234567890bcdefghijklmnopqrstuvwxyza")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One audit whose rollouts can be looked through."""

    store: Path
    arm: str
    run: str
    seed: int
    after: bool
    template: str
    asked: Template | None
    """How it asked and read; None where the run does not say, or asked with examples that it did not keep."""
    reading: Reading

    def to_json(self) -> dict[str, Any]:
        return {
            "arm": self.arm,
            "run": self.run,
            "seed": str(self.seed),
            "when": "after" if self.after else "before",
            "template": self.template,
            "prompt": self.asked.prompt if self.asked else None,
            "store": str(self.store),
        }


def sources(comparison: Comparison) -> list[Source]:
    """Both audits of every run and baseline that kept its rollouts."""
    listed = [(arm.label, run) for arm in comparison.arms for run in arm.runs]
    listed += [(f"{one.manifest.base}, {one.manifest.kind}", one) for one in comparison.baselines]
    found = [_source(arm, run, after=after) for arm, run in listed for after in (False, True)]
    return [one for one in found if any(one.store.glob("part-*.parquet"))]


def _source(arm: str, run: Run | Baseline, *, after: bool) -> Source:
    audit: SavedAudit = run.end if after else run.start
    asked = _settings(run.folder).get("template")
    return Source(
        store=run.folder / "rollouts" / ("audit-end" if after else "audit-start"),
        arm=arm,
        run=run.manifest.run,
        seed=run.manifest.seed,
        after=after,
        template=audit.template,
        asked=Template.model_validate(asked) if asked and asked["name"] == audit.template else None,
        reading=audit.reading,
    )


def _settings(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8")).get("settings", {})


def audited_problems(run: Run) -> tuple[dict[str, Problem], str]:
    """The problems of a comparison by id, and what to say where they cannot be had: the suite is gone, or has changed.

    Nothing is fetched: a set of the hub is shown where an earlier command has left it on this disk.
    """
    name = _settings(run.folder).get("suite", run.start.suite.name)
    count = json.loads((run.folder / "audit-start.json").read_text(encoding="utf-8"))["suite"]["problems"]
    try:
        suite = load_problems(name, fetch=False).first(count)
    except UsageError as error:
        return {}, f"Questions and golds are not shown: {error}."
    if suite.fingerprint != run.start.suite.fingerprint:
        return {}, f"Questions and golds are not shown: the problems of {name} have changed since they were audited."
    return {problem.id: problem for problem in suite.problems}, ""


def browse(comparison: Comparison, *, limit: int = LIMIT, seed: int = 0) -> dict[str, Any] | None:
    """All that the rollout browser needs, as JSON but for `chunks`, which are base64 of gzipped JSON; None without rollouts.

    With a `limit` below 1 nothing is read. Of more than `limit` rollouts it holds a sample, drawn by `seed` evenly over arm,
    before and after, and problem.
    A completion longer than `longest` keeps its beginning and its end.
    """
    if limit < 1:
        return None
    found = sources(comparison)
    known, missing = audited_problems(comparison.arms[0].runs[0])
    places = {id: place for place, id in enumerate(known)}
    problem, size, source = _index(found, places)
    if not problem.size:
        return None
    arms = {name: code for code, name in enumerate(dict.fromkeys(one.arm for one in found))}
    strata = np.array([2 * arms[one.arm] + one.after for one in found])[source] * len(places) + problem
    kept = stratified(strata, limit, np.random.default_rng(seed))
    longest = longest_that_fits(size[kept], TEXT)
    codes: dict[str, dict[str, int]] = {"status": {}, "reason": {}, "finish": {}}
    rows = _rows(found, kept, source)
    chunks = [_packed(part, places, longest, codes) for part in _parts(rows, CHUNK)]
    chunks.append(_pack([_problem(id, known.get(id)) for id in places]))
    return {
        "total": int(problem.size),
        "count": int(kept.sum()),
        "longest": longest,
        "missing": missing,
        "sources": [one.to_json() for one in found],
        **{name: list(values) for name, values in codes.items()},
        "chunks": [chunks[-1], *chunks[:-1]],
    }


def stratified(strata: np.ndarray, limit: int, rng: np.random.Generator) -> np.ndarray:
    """Which of N things to keep, as a mask of `limit` (or all): of every stratum nearly the same share, at random.

    Each thing gets a random rank in its stratum; kept are the lowest of (rank + u) / size of the stratum, where u is one uniform
    number a stratum, so that small strata are rounded up as often as their share says.
    """
    if strata.size <= limit:
        return np.ones(strata.size, dtype=bool)
    _, code, sizes = np.unique(strata, return_inverse=True, return_counts=True)
    order = np.lexsort((rng.random(strata.size), code))
    rank = np.empty(strata.size)
    rank[order] = np.arange(strata.size) - (np.cumsum(sizes) - sizes)[code[order]]
    score = (rank + rng.random(sizes.size)[code]) / sizes[code]
    mask = np.zeros(strata.size, dtype=bool)
    mask[np.argpartition(score, limit - 1)[:limit]] = True
    return mask


def longest_that_fits(sizes: np.ndarray, total: int) -> int:
    """The length at which texts of these sizes are cut so that they sum to `total` at most, but `LONGEST` at most.

    >>> longest_that_fits(np.array([10, 10, 1000]), 120)
    100
    """
    ascending = np.sort(np.minimum(sizes, LONGEST))
    before = np.concatenate(([0], np.cumsum(ascending)[:-1]))
    room = (total - before) // np.arange(ascending.size, 0, -1)  # for each of those from here on
    over = np.flatnonzero(ascending > room)
    return int(room[over[0]]) if over.size else LONGEST


def where_read(completion: str, answer: str, template: Template | None, reading: Reading) -> int:
    """Where in a completion its answer was read, or -1 where it does not stand there literally.

    Of several places it is the one at which another text is read as another answer; where that cannot be told, the last.
    """
    places, at = [], completion.rfind(answer)
    while at >= 0 and len(places) * len(completion) < REREAD:
        places.append(at)
        at = completion.rfind(answer, 0, at)
    if template and len(places) > 1:
        other = answer.translate(_OTHER)
        for place in places:
            if read(completion[:place] + other + completion[place + len(answer) :], template, reading) != answer:
                return place
    return places[0] if places else -1


def _index(found: Sequence[Source], places: dict[str, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of every kept rollout its problem's place, its completion's bytes and its source; new problems get a place."""
    problems, sizes, of = [], [], []
    for code, source in enumerate(found):
        for batch in RolloutStore(source.store).batches(["problem_id", "completion"]):
            problems += [places.setdefault(id, len(places)) for id in batch["problem_id"].to_pylist()]
            sizes.append(pc.binary_length(batch["completion"]).to_numpy())
            of.append(np.full(len(batch), code))
    join = [np.concatenate(each) if each else np.array([], dtype=int) for each in (sizes, of)]
    return np.array(problems, dtype=int), join[0], join[1]


def _rows(found: Sequence[Source], kept: np.ndarray, source: np.ndarray) -> Iterator[dict[str, Any]]:
    for code, one in enumerate(found):
        mask, at = kept[source == code], 0
        for batch in RolloutStore(one.store).batches(COLUMNS):
            chosen = batch.filter(pa.array(mask[at : at + len(batch)]))
            at += len(batch)
            # by way of bytes, as a file may hold what is no UTF-8
            texts = chosen["completion"].cast(pa.binary()).to_pylist()
            for row, text in zip(chosen.drop_columns("completion").to_pylist(), texts, strict=True):
                yield {**row, "completion": text.decode("utf-8", "replace"), "source": code, "asked": one}


def _parts(rows: Iterator[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    part: list[dict[str, Any]] = []
    for row in rows:
        part.append(row)
        if len(part) == size:
            yield part
            part = []
    if part:
        yield part


def _packed(
    rows: Sequence[dict[str, Any]], places: dict[str, int], longest: int, codes: dict[str, dict[str, int]]
) -> str:
    """Some rollouts in columns; offsets count UTF-16 units, as browsers do."""
    columns: dict[str, list[Any]] = {}
    for row in rows:
        text, shown = row["completion"], _shown(row, longest)
        cells = {
            "source": row["source"],
            "problem": places[row["problem_id"]],
            "sample": row["sample"],
            "tokens": row["completion_tokens"],
            "correct": int(bool(row["correct"])),
            "lenient": int(bool(row["lenient_correct"])),
            "logprob": _finite(row["logprob"]),
            "answer": None if row["answer"] is None else _short(row["answer"], LONGEST_ANSWER),
            **{name: code.setdefault(str(row[name] or "-"), len(code)) for name, code in codes.items()},
            **shown,
            "length": len(text),
        }
        for name, value in cells.items():
            columns.setdefault(name, []).append(value)
    return _pack(columns)


def _shown(row: dict[str, Any], longest: int) -> dict[str, Any]:
    """A completion cut in its middle to `longest` characters; where the cut is (0: none), and the answer (-1: nowhere, -2: cut out)."""
    text, answer, source = row["completion"], row["answer"], row["asked"]
    at = where_read(text, answer, source.asked, source.reading) if answer else -1
    end = at + len(answer or "")
    head = longest - longest // 2
    if len(text) > longest:
        skip = len(text) - longest
        if at >= head + skip:
            at, end = at - skip, end - skip
        elif end > head:
            at = -2
        text = text[:head] + text[head + skip :]
        cut = _units(text[:head])
    else:
        cut = 0
    place = at if at < 0 else _units(text[:at])
    return {"text": text, "cut": cut, "at": place, "end": place if at < 0 else _units(text[:end])}


def _problem(key: str, problem: Problem | None) -> dict[str, Any]:
    if problem is None:
        return {"id": key, "question": None, "gold": None}
    return {"id": key, "question": _short(problem.question, LONGEST), "gold": _short(problem.answer, LONGEST)}


def _short(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]}… ({len(text):,} characters)"


def _finite(value: float | None) -> float | None:
    return round(value, 2) if value is not None and math.isfinite(value) else None


def _units(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def _pack(content: Any) -> str:
    """JSON in ASCII, so that a lone surrogate passes too; gzipped without a date; in base64."""
    return base64.b64encode(
        gzip.compress(json.dumps(content, allow_nan=False).encode("ascii"), PACKING, mtime=0)
    ).decode()
