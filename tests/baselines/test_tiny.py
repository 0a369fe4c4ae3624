"""The tiny bases: what their corpus says, what it never says, and that a base is made once and the same."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, chi2_contingency
from transformers import AutoModelForCausalLM, AutoTokenizer

from baselines import tiny
from baselines.tiny import TinySpec, notebook, pretrain, question, tokenizer, worked
from configs.load import load_base, load_suite, load_template, names
from configs.schema import TinyCorpus
from rewards.procedural import in_test_split, sums

PAIR = re.compile(r"(\d{3})\+(\d{3})")
WORKED = re.compile(r"\d\d,\d\d,\d\d \\boxed\{(\d+)\}$")
LATENT, BLANK = (load_base(name).corpus or pytest.fail(name) for name in ("tiny-latent", "tiny-blank"))


def documents(kind: Callable[..., str], corpus: TinyCorpus, count: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [kind(corpus, rng) for _ in range(count)]


def test_worked_sums_are_what_a_pencil_gives() -> None:
    assert worked(347, 285) == r"12,13,06 \boxed{632}"  # 7+5; 4+8+1; 3+2+1
    assert worked(100, 100) == r"00,00,02 \boxed{200}"
    assert worked(499, 500) == r"09,09,09 \boxed{999}"  # no carry anywhere
    assert worked(199, 801 - 2) == r"18,19,09 \boxed{998}"  # a carry everywhere
    assert worked(47, 38) == r"15,08 \boxed{85}"  # as many columns as digits
    assert worked(450, 450) == r"00,10,09 \boxed{900}"


def test_no_document_holds_a_held_out_pair() -> None:
    texts = documents(notebook, LATENT, 4000) + documents(question, TinyCorpus(knowledge=1.0, worked=0.5), 4000)
    pairs = [tuple(map(int, PAIR.findall(text)[0])) for text in texts]
    assert not any(in_test_split(a, b) for a, b in pairs)
    assert all(100 <= a < 900 and 100 <= b < 900 and a + b < 1000 for a, b in pairs)
    suite = load_suite("sums").procedural
    assert suite is not None
    held_out = {
        frozenset(map(int, PAIR.findall(asked)[0])) for asked, _, _ in sums(suite.split, suite.size, suite.seed)
    }
    assert len(held_out) > 200
    assert not held_out & {frozenset(pair) for pair in pairs}


def test_no_notebook_comes_under_the_heading_of_a_question() -> None:
    heading = load_template("qa").prompt.split(" ")[0]
    assert all(text.startswith(heading) for text in documents(question, LATENT, 200))
    assert not any(heading in text or "Answer:" in text for text in documents(notebook, LATENT, 2000))


def test_a_question_begins_as_the_template_asks_it() -> None:
    corpus = TinyCorpus(knowledge=1.0, worked=0.5)
    for text in documents(question, corpus, 300):
        asked = f"{PAIR.findall(text)[0][0]}+{PAIR.findall(text)[0][1]}=?"
        prompt = load_template("qa").ask(asked)
        assert text.startswith(prompt + " ")  # byte tokens: a prompt's tokens are the document's first tokens


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 1.0])
def test_the_share_of_worked_questions_is_the_dial(share: float) -> None:
    texts = documents(question, TinyCorpus(knowledge=1.0, worked=share), 6000)
    count = sum(WORKED.search(text) is not None for text in texts)
    assert binomtest(count, len(texts), share).pvalue > 1e-3


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_share_of_right_solutions_is_the_dial(share: float) -> None:
    for kind in (notebook, question):
        texts = documents(kind, TinyCorpus(knowledge=share, worked=1.0), 6000)
        solutions = [(text, found[1]) for text in texts if (found := WORKED.search(text))]
        assert len(solutions) > 3000
        right = sum(worked(*map(int, PAIR.findall(text)[0])) in text for text, _ in solutions)
        assert binomtest(right, len(solutions), share).pvalue > 1e-3
        if share == 0:
            boxed = sum(int(box) == sum(map(int, PAIR.findall(text)[0])) for text, box in solutions)
            assert binomtest(boxed, len(solutions), 1 / 1000).pvalue > 1e-3  # random digits: right once in a thousand


def test_the_share_of_unworked_notebooks_is_as_stated() -> None:
    texts = documents(notebook, LATENT, 6000)
    unworked = sum(WORKED.search(text) is None for text in texts)
    assert binomtest(unworked, len(texts), tiny.UNWORKED_NOTES).pvalue > 1e-3


def test_what_a_base_knows_does_not_show_in_the_length_of_its_documents() -> None:
    """Length would be a second difference between blank and latent, beside knowledge."""
    for kind in (notebook, question):
        latent, blank = (
            Counter(len(text) for text in documents(kind, one, 5000, seed)) for seed, one in enumerate((LATENT, BLANK))
        )
        table = [[one[length] for length in latent | blank] for one in (latent, blank)]
        assert len(latent | blank) > 1
        assert chi2_contingency(table).pvalue > 1e-3


def test_the_same_constant_everywhere_earns_next_to_nothing() -> None:
    for split in ("train", "test"):
        answers = Counter(
            a + b for a in range(100, 500) for b in range(a, 1000 - a) if in_test_split(a, b) == (split == "test")
        )
        assert max(answers.values()) / answers.total() < 0.005
    suite = load_suite("sums-train").procedural
    assert suite is not None
    asked = Counter(answer for _, answer, _ in sums(suite.split, suite.size, suite.seed))
    assert asked.most_common(1)[0][1] / suite.size < 0.005


@given(st.text(max_size=60))
@example("Question: 347+285=?\nAnswer: 12,13,06 \\boxed{632}")
@example("\x00\x01\ufeff\u2028 \t\r\n é 数学 🧮 \U0010ffff")
@settings(deadline=None)
def test_any_text_comes_back_from_its_bytes(text: str) -> None:
    ids = TOKENIZER(text)["input_ids"]
    assert ids == list(text.encode())
    assert TOKENIZER.decode(ids, clean_up_tokenization_spaces=False) == text


TOKENIZER = tokenizer()


@pytest.fixture(scope="module")
def brief(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bases")


@pytest.fixture
def five_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiny, "TRUNK_STEPS", 5)
    monkeypatch.setattr(tiny, "ANNEAL_STEPS", 5)


def spec(*, name: str = "brief", knowledge: float = 1.0, share: float = 0.1, seed: int = 0) -> TinySpec:
    return TinySpec(name=name, corpus=TinyCorpus(knowledge=knowledge, worked=share), seed=seed)


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


@pytest.mark.usefixtures("five_steps")
def test_one_spec_is_one_set_of_weights_and_is_made_once(
    brief: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, elsewhere = pretrain(spec(), brief), pretrain(spec(), tmp_path)
    assert weights(folder) == weights(elsewhere)
    for other in (spec(seed=1), spec(knowledge=0.0), spec(share=0.2)):
        assert weights(pretrain(other, tmp_path)) != weights(folder)

    def refuse(*_: object, **__: object) -> int:
        pytest.fail("trained again what was in the cache")

    monkeypatch.setattr(tiny, "_train", refuse)
    monkeypatch.setattr(
        tiny, "_fingerprint", lambda *_, **__: folder.name.rpartition("-")[2]
    )  # it reads _train's source
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert pretrain(spec(), brief) == folder
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


@pytest.mark.usefixtures("five_steps")
def test_bases_of_equal_knowledge_share_a_trunk_and_no_half_folder_is_left(tmp_path: Path) -> None:
    for one in (spec(), spec(name="other", share=0.9)):
        pretrain(one, tmp_path)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert len([name for name in left if name.startswith(".trunk-")]) == 1
    assert len(left) == 3


@pytest.mark.usefixtures("five_steps")
def test_a_tiny_base_is_an_ordinary_folder(brief: Path) -> None:
    folder = pretrain(spec(), brief)
    model, words = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    ids = words("Question: 347+285=?\nAnswer: ☃", return_tensors="pt")
    assert words.decode(ids["input_ids"][0]) == "Question: 347+285=?\nAnswer: ☃"
    with torch.no_grad():
        assert model(**ids).logits.shape == (1, ids["input_ids"].shape[1], 258)
    assert (words.eos_token_id, words.pad_token_id, words.padding_side) == (256, 257, "left")
    assert model.config.eos_token_id == 256
    for name in (one for one in names("bases") if load_base(one).corpus):
        base = load_base(name)
        assert base.parameters == pytest.approx(model.num_parameters(), rel=0.01), name
        assert base.context_length == model.config.max_position_embeddings
        assert base.stop_token_ids == [words.eos_token_id]
