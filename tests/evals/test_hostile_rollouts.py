"""report.html against what models may write: markup, control characters, bytes that are no text, megabytes."""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kept import sums_suite, write_kept
from pages import counts, loaded, opened, report
from synthetic import LATENT

from evals.browse import LONGEST, browse
from evals.compare import compare
from evals.report import Axis, Chart, Column, Section, Series, render, write
from evals.rollouts import SCHEMA
from evals.runs import load_runs

INJECTED = "window.ran = (window.ran || 0) + 1; alert(1)"
HOSTILE = [
    f"<script>{INJECTED}</script>",
    f"</script><script>{INJECTED}</script>",
    f"</SCRIPT ><script>{INJECTED}</script>",
    f"<!--<script>{INJECTED}</script>-->",
    f"<!-- --!><script>{INJECTED}</script>",
    f"<img src=x onerror='{INJECTED}'>",
    f'<svg onload="{INJECTED}"></svg>',
    f"<iframe srcdoc='<script>{INJECTED}</script>'></iframe>",
    f"<details open ontoggle='{INJECTED}'><summary>x</summary></details>",
    "<a href='javascript:alert(1)' id='data'>x</a>",
    "[x](javascript:alert(1))",
    "<meta http-equiv=refresh content='0;url=https://example.org/'>",
    "<base href='https://example.org/'><link rel=stylesheet href='//example.org/x.css'>",
    "<form action='https://example.org/'><input name=words autofocus></form>",
    "{{ 7 * 7 }} {% for x in range(9) %}{{ x }}{% endfor %} {# gone #} ${alert(1)} <%= 7 %>",
    f'"></pre></article><script>{INJECTED}</script>',
    "]]></style></textarea></title></noscript><plaintext>",
    "__proto__ constructor \\u003cscript\\u003e \\x3cimg\\x3e &lt;b&gt;&amp;&#60;i&#62;",
    "line\u2028separator\u2029paragraph",
    "\u202eright to left\u202c \u2067isolate\u2069 \u200fmark",
    "zero\x00 bell\x07 escape\x1b[31m delete\x7f",
    "\U0001f600 astral, then \\boxed{\U0001f600}",
]


@pytest.fixture(scope="module")
def attacked(tmp_path_factory):
    """Every hostile text as a completion, its answer, a question, a gold and in a run's name, and a megabyte of text."""
    root = tmp_path_factory.mktemp("attacked")
    suite = sums_suite(root / "sums.jsonl", len(HOSTILE) + 1)
    megabyte = "<b>" + "x" * 1_000_000 + "</b> \\boxed{7}"

    def say(rng, problem, right):
        text = HOSTILE[problem] if problem < len(HOSTILE) else megabyte
        return text, text if problem < len(HOSTILE) else "7"

    folder = write_kept(root, LATENT, suite, say=say, samples=1)
    path = root / "report.html"
    comparison = compare(*load_runs([folder]))
    rows = [{"run": text} for text in [*HOSTILE, "a lone \ud800 surrogate"]]
    section = Section(title=HOSTILE[0], note=HOSTILE[1], columns={"run": Column(title=HOSTILE[2])}, rows=rows)
    series = [Series(name=text, look=at, points=[{"x": [1], "y": at, "note": text}]) for at, text in enumerate(HOSTILE)]
    axis = Axis(label=HOSTILE[5])
    chart = Chart(title=HOSTILE[3], note=HOSTILE[4], x=[axis, axis], y=axis, panels={HOSTILE[6]: series})
    kept = browse(comparison)
    page = render(paragraph="\n".join(HOSTILE), facts={HOSTILE[7]: HOSTILE[8]}, parts=[chart, section], rollouts=kept)
    write(path, page)
    return path


def literal(text):
    """As the browser spells it: what is not seen, by its sign or its number."""

    def sign(found):
        code = ord(found[0])
        return chr(0x2400 + code) if code < 32 else f"⟨U+{code:04X}⟩"

    return re.sub("[\x00-\x08\x0b-\x1f\x7f\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]", sign, text)


def test_nothing_that_a_completion_says_runs_and_all_of_it_is_shown(chromium, attacked):
    with opened(chromium, attacked) as page:
        loaded(page)
        texts = []
        page.locator(".list").focus()
        for _ in range(2 * (len(HOSTILE) + 1)):
            texts.append(page.locator("#completion").text_content())
            page.keyboard.press("ArrowDown")
        for text in HOSTILE:
            assert texts.count(literal(text)) == 2  # before and after
        assert page.evaluate("window.ran") is None
        strange = (
            "iframe, img, form, base, link, plaintext, [srcdoc], [onerror], [onload], [ontoggle], a[href^='javascript']"
        )
        assert page.locator(strange).count() == 0
        assert page.locator("script:not([type]), script[type='text/javascript']").count() == 1
        assert page.url == attacked.as_uri()
        assert page.locator(".verdict").text_content().split("\n")[0] == HOSTILE[0]
        page.locator(".filters [name=words]").fill("<img src=x")
        counts(page, 2)
        figure = page.locator("figure")
        figure.locator("svg[role=group]").focus()
        page.keyboard.press("ArrowRight")
        assert HOSTILE[0] in figure.locator(".tip").text_content()
        assert "a lone \ufffd surrogate" in page.locator("#tables").inner_text()


def test_the_browser_itself_refuses_scripts_and_markup_that_are_not_the_pages_own(chromium, attacked):
    """The second wall: were a text ever put in as markup, the page's policy would stop it."""
    context = chromium.new_context()
    page = context.new_page()
    page.goto(attacked.as_uri())
    with pytest.raises(Exception, match="TrustedHTML"):
        page.evaluate("document.body.innerHTML = '<img src=x onerror=alert(1)>'")
    page.evaluate(
        "() => { const script = document.createElement('script'); script.append('window.ran = 1'); document.body.append(script); }"
    )
    page.evaluate(
        "() => { const img = document.createElement('img'); img.src = 'https://example.org/x.png'; document.body.append(img); }"
    )
    assert page.evaluate("window.ran") is None
    context.close()


def test_a_megabyte_keeps_its_beginning_and_end_and_says_how_much_is_missing_and_where_it_lies(chromium, attacked):
    with opened(chromium, attacked) as page:
        loaded(page)
        page.locator(".list").focus()
        page.keyboard.press("End")
        text = page.locator("#completion").text_content()
        assert text.startswith("<b>xxx")
        assert text.endswith("x</b> \\boxed{7}")
        total = len("<b>" + "x" * 1_000_000 + "</b> \\boxed{7}")
        assert f"{total - LONGEST:,} of {total:,} characters are left out here" in text
        assert "rollouts/audit-end, problem sums-test/22, sample 0" in text
        assert page.locator("#completion mark").inner_text() == "7"
        assert attacked.stat().st_size < 300_000


def test_bytes_that_are_no_text_are_shown_as_unknown_characters(chromium, tmp_path):
    """Kept rollouts are UTF-8, but a file from elsewhere may hold a lone surrogate, in the bytes it would have."""
    suite = sums_suite(tmp_path / "sums.jsonl", 2)
    folder = write_kept(tmp_path, LATENT, suite, samples=1)
    part = folder / "rollouts" / "audit-end" / "part-000000.parquet"
    table = pq.read_table(part)
    raw = pa.array([b"lone \xed\xa0\x80 surrogate", b"\xff\xfe"], pa.binary()).view(pa.string())
    pq.write_table(table.set_column(SCHEMA.get_field_index("completion"), "completion", raw), part)
    report([folder], tmp_path / "report.html")
    with opened(chromium, tmp_path / "report.html") as page:
        loaded(page)
        page.locator(".list").focus()
        page.keyboard.press("End")
        assert page.locator("#completion").text_content() == "\ufffd\ufffd"


def test_a_suite_that_changed_or_is_gone_leaves_the_completions_and_says_so(chromium, tmp_path):
    suite = sums_suite(tmp_path / "sums.jsonl", 3)
    folder = write_kept(tmp_path, LATENT, suite)
    sums_suite(tmp_path / "sums.jsonl", 2)
    report([folder], tmp_path / "report.html")
    with opened(chromium, tmp_path / "report.html") as page:
        loaded(page)
        assert "have changed since they were audited" in page.locator("#rollouts-note").inner_text()
        assert "The question is not at hand." in page.locator(".detail").inner_text()
    (tmp_path / "sums.jsonl").unlink()
    report([folder], tmp_path / "report.html")
    with opened(chromium, tmp_path / "report.html") as page:
        assert "name an existing .jsonl file" in loaded(page).locator("#rollouts-note").inner_text()
