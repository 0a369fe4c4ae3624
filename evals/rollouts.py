"""Kept rollouts: Parquet parts, each written whole and renamed into place."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

pc: Any = pyarrow.compute  # its functions are made when it is imported, where no type checker sees them

SCHEMA = pa.schema(
    [
        ("problem_id", pa.string()),
        ("sample", pa.int32()),
        ("completion", pa.string()),
        ("prompt_tokens", pa.int32()),
        ("completion_tokens", pa.int32()),
        ("finish", pa.string()),
        ("logprob", pa.float64()),
        ("seed", pa.int64()),
        ("answer", pa.string()),
        ("correct", pa.bool_()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("lenient_correct", pa.bool_()),
        ("reward", pa.float64()),
        ("step", pa.int32()),
    ]
)
"""`answer`, `correct` and `status` are by strict reading unless the recipe says otherwise; `reward` is null in audits."""

BATCH = 4096  # rows; a completion may be 100 kB


class RolloutStore:
    """A folder of `part-*.parquet`. A part is there whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._next: int | None = None  # looked up once: a folder of many parts takes long to list

    def parts(self) -> list[Path]:
        """All whole parts in order; one that cannot be read is set aside as `*.broken` and left out."""
        whole = []
        for path in sorted(self.folder.glob("part-*.parquet")):
            try:
                pq.read_metadata(path)
                whole.append(path)
            except (pa.ArrowInvalid, OSError):
                with suppress(FileNotFoundError):  # another process of the run was first
                    path.rename(path.with_suffix(".broken"))
        return whole

    def write(self, name: str, rows: Sequence[Mapping[str, Any]]) -> Path:
        """Write one part of this name: to a hidden file first, then renamed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        final = self.folder / f"part-{name}.parquet"
        unfinished = self.folder / f".{final.name}.{os.getpid()}"
        try:
            pq.write_table(pa.Table.from_pylist(list(rows), schema=SCHEMA), unfinished, compression="zstd")
            unfinished.replace(final)
        except OSError:
            unfinished.unlink(missing_ok=True)  # on a full disk it is in the way of what comes after
            raise
        return final

    def append(self, rows: Sequence[Mapping[str, Any]], *, writer: int = 0) -> Path:
        """Write the next part of a numbered series. Processes that write into one folder have a number each."""
        by = f"-{writer}" if writer else ""
        if self._next is None or (self.folder / f"part-{self._next:06d}{by}.parquet").exists():
            taken = [int(path.stem.split("-")[1]) for path in self.folder.glob("part-*.*")]
            self._next = max(taken, default=-1) + 1
        path = self.write(f"{self._next:06d}{by}", rows)
        self._next += 1
        return path

    def rows(self, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
        """All kept rows, part by part, so that memory stays flat."""
        for path in self.parts():
            yield from pq.read_table(path, columns=columns).to_pylist()

    def batches(self, columns: list[str]) -> Iterator[pa.Table]:
        """These columns of all kept rows, some thousand rows at a time: memory stays flat however large a part is.

        A column that older parts lack is null there.
        """
        for path in self.parts():
            file = pq.ParquetFile(path, memory_map=True)
            kept = [name for name in columns if name in file.schema_arrow.names]
            for batch in file.iter_batches(BATCH, columns=kept):
                whole = [
                    batch[name] if name in kept else pa.nulls(len(batch), SCHEMA.field(name).type) for name in columns
                ]
                yield pa.table(whole, schema=pa.schema([SCHEMA.field(name) for name in columns]))

    def drop_after(self, step: int) -> None:
        """Delete the parts of training steps beyond `step`, as a resumed run draws them again."""
        for path in self.parts():
            if pq.read_table(path, columns=["step"])["step"][0].as_py() > step:
                path.unlink()
