"""The layout as DESIGN states it: who imports whom, that every YAML loads, that every script starts, that the README tells the truth."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from configs import load
from configs.overrides import check_fields

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "configs": set(),
    "rewards": {"configs"},
    "evals": {"rewards", "configs"},
    "baselines": {"evals", "rewards", "configs"},
    "rl": {"evals", "rewards", "configs"},
    "scripts": {"rl", "baselines", "evals", "rewards", "configs"},
}
SFT = ROOT / "baselines" / "sft.py"
MODULES = sorted(path for folder in MAY_IMPORT for path in (ROOT / folder).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """First names of everything that a file imports, inside functions and type checks too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            found.add(str(node.module).split(".")[0])
    return found


def test_imports_point_downwards_only() -> None:
    wrong = [
        (str(path.relative_to(ROOT)), name)
        for path in MODULES
        for name in imported(path) & MAY_IMPORT.keys()
        if name not in MAY_IMPORT[path.relative_to(ROOT).parts[0]] | {path.relative_to(ROOT).parts[0]} - {"scripts"}
    ]
    assert wrong == []


def test_only_rl_and_sft_import_trl_and_rewards_import_no_torch() -> None:
    heavy = {"torch", "transformers", "trl", "vllm", "peft"}
    for path in MODULES:
        folder = path.relative_to(ROOT).parts[0]
        assert folder == "rl" or path == SFT or "trl" not in imported(path), path
        assert folder not in {"configs", "rewards"} or not heavy & imported(path), path


@pytest.mark.parametrize(
    "modules",
    [
        [
            f"evals.{name}"
            for name in ("compare", "figures", "findings", "runs", "tables", "card", "browse", "report_parts")
        ],
        [
            f"{path.parent.name}.{path.stem}"
            for path in MODULES
            if path.parent.name in {"configs", "rewards"} and path.stem not in {"__init__", "worker"}
        ],
        ["rl.plan", "baselines.asked", "baselines.bases", "baselines.bench", "baselines.kinds", "evals.manifest"],
        ["evals.cost", "evals.spending", "evals.claims"],
        ["baselines.published", "baselines.published_figure"],
        ["evals.study", "evals.jobs", "evals.launchers", "evals.grid"],
    ],
    ids=["comparison", "grading", "planning", "costs", "published", "studies"],
)
def test_what_needs_no_model_loads_no_torch(modules: list[str]) -> None:
    code = (
        f"import sys, {', '.join(modules)}; print(*{{'torch', 'transformers', 'trl', 'datasets'}} & sys.modules.keys())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == []


def test_every_yaml_loads_and_every_name_it_refers_to_exists() -> None:
    for name in load.names("templates"):
        load.load_template(name)
    for name in load.names("suites"):
        load.load_suite(name)
    for name in load.names("recipes"):
        check_fields("grpo", load.load_recipe(name).grpo)
    for name in load.names("sft"):
        check_fields("sft", load.load_sft(name).sft)
    for name in load.names("devices"):
        load.load_device(name)
    for name in load.names("bases"):
        base = load.load_base(name)
        assert base.template in load.names("templates"), name
        assert base.recipe in load.names("recipes"), name
        assert base.sft in load.names("sft"), name
        assert {*base.suites, base.train_suite} <= set(load.names("suites")), name
        assert base.train_suite not in base.suites, name
    for name in load.names("studies"):
        study = load.load_study(name)
        assert set(study.recipes) <= set(load.names("recipes")), name
        assert set(study.bases) <= set(load.names("bases")), name
    for folder in ("bases", "recipes", "suites", "templates", "studies", "devices", "sft"):
        assert load.names(folder), folder
        strays = [path.name for path in (ROOT / "configs" / folder).iterdir() if path.suffix != ".yaml"]
        assert strays == [], folder


SCRIPTS = sorted(path.name for path in (ROOT / "scripts").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_starts_quickly_from_any_folder(script: str, tmp_path: Path) -> None:
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, str(ROOT / "scripts" / script), "--help"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )
        seconds.append(time.perf_counter() - began)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("usage:")
    assert min(seconds) < 1.5


def test_no_script_shadows_a_library_and_no_two_tests_share_a_name() -> None:
    assert not {"datasets.py", "evaluate.py", "accelerate.py", "types.py"} & set(SCRIPTS)
    counts = Counter(path.name for path in (ROOT / "tests").rglob("*.py"))
    assert [name for name, count in counts.items() if count > 1] == []
    assert not list((ROOT / "tests").rglob("__init__.py"))


def listed_in_readme() -> dict[str, str]:
    """The README's ```tree block: the first word of each line is a path, the rest says what it is."""
    readme = ROOT / "README.md"
    rest = readme.read_text(encoding="utf-8").split("\n```tree\n")
    assert len(rest) == 2, "README.md holds one block that starts with the line ```tree"
    lines = [line.split(maxsplit=1) for line in rest[1].split("\n```")[0].splitlines() if line.strip()]
    assert len({name for name, *_ in lines}) == len(lines)
    return {name: " ".join(what) for name, *what in lines}


def test_the_readme_tree_equals_the_disk() -> None:
    listed = listed_in_readme()
    for name in listed:
        path = ROOT / name
        assert path.is_dir() if name.endswith("/") else path.is_file(), name
    if "scripts/" in listed:  # named in one line, all of them
        assert sorted(f"{name}.py" for name in listed["scripts/"].split(", ")) == SCRIPTS
    modules = [path for path in MODULES if path.name != "__init__.py" and path.parent.name != "scripts"]
    files = {str(path.relative_to(ROOT)) for path in modules}
    assert files - set(listed) == set()
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode == 0:  # a tarball has no git
        folders = {
            name.split("/")[0] for name in tracked.stdout.split("\0") if "/" in name and not name.startswith(".")
        }
        assert folders - {name.split("/")[0] for name in listed} == set()
