"""What goes wrong while a run is under way: it ends with what to type, and goes on from there."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from safetensors.numpy import save_file
from test_train import ROOT, lines, plan_of, rollouts, timeless

from configs.errors import UsageError
from evals.rollouts import RolloutStore
from rewards.suites import load_problems
from rl.record import last_checkpoint
from rl.train import train


@pytest.fixture(scope="module")
def whole(short_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four steps that nobody disturbed."""
    plan = plan_of(short_base, tmp_path_factory.mktemp("trouble") / "whole")
    train(plan, load_problems("sums"), load_problems("sums-train"), resume=False)
    return plan.out


def same_end(one: Path, other: Path) -> bool:
    weights = [(out / "model/model.safetensors").read_bytes() for out in (one, other)]
    metrics = [timeless(lines(out / "metrics.jsonl")) for out in (one, other)]
    return rollouts(one) == rollouts(other) and weights[0] == weights[1] and metrics[0] == metrics[1]


def test_a_full_disk_ends_a_run_with_what_to_do_and_it_goes_on_to_the_same_end(
    whole: Path, short_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = RolloutStore.write

    def full(self: RolloutStore, name: str, rows: Any) -> Path:
        if self.folder.name == "train" and name.startswith("000004"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(self, name, rows)

    monkeypatch.setattr(RolloutStore, "write", full)
    plan, sets = plan_of(short_base, tmp_path / "run"), (load_problems("sums"), load_problems("sums-train"))
    with pytest.raises(UsageError, match=r"no space is left in .*run: free some.*--resume.*checkpoint-2"):
        train(plan, *sets, resume=False)
    monkeypatch.undo()
    train(plan, *sets, resume=True)
    assert same_end(plan.out, whole)


def test_torch_names_no_errno_when_the_disk_is_full_and_another_error_is_not_taken_for_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from rl.train import _full

    error = RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0")
    assert not _full(error, tmp_path)
    assert not _full(OSError(errno.EACCES, "Permission denied"), tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=4096))
    assert _full(error, tmp_path)


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.pt", "trainer_state.json"])
def test_a_checkpoint_that_was_cut_short_is_left_out_for_the_one_before(
    name: str, whole: Path, short_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    file = out / "checkpoints" / "checkpoint-4" / name
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    found = last_checkpoint(out / "checkpoints")
    assert found is not None
    assert found.name == "checkpoint-2"
    assert f"checkpoint-4 is left out: {name} was not written whole" in capsys.readouterr().err
    if name == "model.safetensors":
        (out / "audit-end.json").unlink()
        train(plan_of(short_base, out), load_problems("sums"), load_problems("sums-train"), resume=True)
        assert same_end(out, whole)


def test_a_checkpoint_without_safetensors_or_optimizer_is_judged_by_its_state(tmp_path: Path) -> None:
    for step in (1, 2):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text("{}")
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-2"
    import numpy as np

    save_file({"a": np.zeros(9)}, tmp_path / "checkpoint-2" / "model.safetensors")
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-2"


def test_another_run_is_kept_out_of_a_folder_while_one_works_there(
    whole: Path, short_base: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    before = (out / "manifest.json").read_text()
    plan, sets = plan_of(short_base, out), (load_problems("sums"), load_problems("sums-train"))
    holding = "import sys; from pathlib import Path; from evals.manifest import only_one\nwith only_one(Path(sys.argv[1]), ''): print(); input()"
    holder = subprocess.Popen(
        [sys.executable, "-c", holding, str(out)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout
    holder.stdout.readline()
    with pytest.raises(UsageError, match=r"another process is at work in .*run; wait for it"):
        train(plan, *sets, resume=True)
    assert (out / "manifest.json").read_text() == before
    holder.kill()  # however it ends, the folder is free again
    holder.wait()
    train(plan, *sets, resume=True)
    assert json.loads((out / "manifest.json").read_text())["starts"] == 2


class Server(BaseHTTPRequestHandler):
    """As much of a vLLM server as TRL's client looks at when it starts."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"data": [{"id": "base"}]}).encode())

    def log_message(self, *_: Any) -> None:
        pass


def test_a_server_that_is_gone_is_tried_again_and_then_ends_the_run_with_what_to_type(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("vllm")
    from trl import GRPOTrainer
    from trl.generation.vllm_client import VLLMClient

    from rl.trainer import Trainer

    server = HTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    client = VLLMClient(base_url=f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    server.server_close()
    retries = client.session.get_adapter("http://").max_retries
    assert retries.connect >= 3  # what follows waits for none of them
    tried: list[int] = []
    monkeypatch.setattr(type(retries), "sleep", lambda self, response=None: tried.append(self.total))

    trainer: Any = object.__new__(Trainer)
    trainer.use_vllm, trainer._last_loaded_step, trainer.state = True, 7, SimpleNamespace(global_step=7)
    monkeypatch.setattr(GRPOTrainer, "_generate", lambda _, prompts: client.generate(prompts))
    with pytest.raises(UsageError, match=r"does not answer any more at step 7.*start it again, then add --resume"):
        trainer._generate([[1, 2, 3]])
    assert len(tried) == retries.connect


def test_a_run_reports_to_a_local_trackio_project_that_can_be_read_back(whole: Path, short_base: Path) -> None:
    from trackio.sqlite_storage import SQLiteStorage

    told = {
        row["step"]: row
        for row in SQLiteStorage.get_logs(short_base.name, f"{whole.parent.name}-whole")
        if "train/reward" in row
    }
    assert len(told) == 4
    for row in lines(whole / "metrics.jsonl"):
        for name in ("accuracy", "informative/expected", "rollout_seconds"):
            assert told[row["step"]][f"train/{name}"] == pytest.approx(row[name]), name
