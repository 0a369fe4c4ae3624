"""One thread, no network, and one small base that every test of a session shares."""

from __future__ import annotations

import os
import tempfile

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: two busy pairs of threads slow one another
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
os.environ.setdefault("TRACKIO_DIR", tempfile.mkdtemp(prefix="trackio-"))  # runs report there by default

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from transformers import LlamaForCausalLM

    from evals.vllm_engine import VllmEngines

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def model() -> LlamaForCausalLM:
    """A random Llama whose next-token distributions are far from flat."""
    import torch
    from transformers import LlamaForCausalLM

    from baselines.tiny import architecture

    torch.manual_seed(0)
    config = architecture()
    config.initializer_range = 0.15
    return LlamaForCausalLM(config).eval()


@pytest.fixture(scope="session")
def short_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny base of half worked questions, stopped after a few steps: it ends its replies and boxes digits."""
    from baselines import tiny
    from configs.schema import TinyCorpus

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny, "TRUNK_STEPS", 30)
        patch.setattr(tiny, "ANNEAL_STEPS", 30)
        spec = tiny.TinySpec(name="tiny-short", corpus=TinyCorpus(knowledge=1.0, worked=0.5), seed=0)
        return tiny.pretrain(spec, tmp_path_factory.mktemp("bases"))


@pytest.fixture(scope="session")
def vllm(short_base: Path) -> Iterator[VllmEngines]:
    """vLLM on the short base: one engine for all tests, as it takes 15 seconds to start."""
    from evals.models import load_text
    from evals.vllm_engine import Placement, VllmEngines

    text = load_text(str(short_base), revision=None, stop_token_ids=None, cache=short_base.parent)
    with VllmEngines(text, [Placement(devices="", tensor_parallel=1)], dtype="auto", room=512) as engines:
        yield engines


@pytest.fixture(scope="session")
def script(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a script of scripts/ to its end, from a folder that is not the project's."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")

    def call(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(ROOT / "scripts" / f"{name}.py"), *map(str, arguments)]
        return subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, timeout=300)

    return call


LACKING = "report.html was not opened: no chromium or google-chrome is on the PATH (Debian: apt-get install chromium)"
FLAGS = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]


@pytest.fixture(scope="module")  # no longer, as asyncio has no other loop in this thread meanwhile
def chromium() -> Iterator[Browser]:
    """A headless browser; without one the test is skipped, and fails where .ci/run says that one is required."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if not program:
        if os.environ.get("BROWSER_TESTS") == "required":
            pytest.fail(LACKING)
        pytest.skip(LACKING)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=program, args=FLAGS)
