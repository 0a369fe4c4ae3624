"""report.html in a real browser: what it shows, that it is quick, and that nothing a model wrote can do anything in it."""

from __future__ import annotations

import os
import re
import shutil
import statistics
import time
from collections import Counter
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kept import box, keep_training, sums_suite, write_kept
from synthetic import BLANK, EVERY, LATENT, STEPS, WORKED, Changes, write_run

from configs.load import load_template
from evals.browse import LONGEST, browse, longest_that_fits, stratified, where_read
from evals.compare import compare
from evals.findings import findings
from evals.report import Axis, Chart, Column, Section, Series, render, write
from evals.report_parts import facts, parts
from evals.rollouts import SCHEMA, RolloutStore
from evals.runs import load_runs

LACKING = "report.html was not opened: no chromium or google-chrome is on the PATH (Debian: apt-get install chromium)"
FLAGS = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]


@pytest.fixture(scope="module")
def chromium():
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if not program:
        if os.environ.get("BROWSER_TESTS") == "required":
            pytest.fail(LACKING)
        pytest.skip(LACKING)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=program, args=FLAGS)


@contextmanager
def opened(chromium, path, **options):
    """The page in a fresh profile; it must say nothing on the console, ask for nothing, and open no dialog."""
    context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
    page, heard = context.new_page(), []
    page.on("console", lambda message: heard.append(("console", message.text)))
    page.on("pageerror", lambda error: heard.append(("error", str(error))))
    page.on("dialog", lambda dialog: (heard.append(("dialog", dialog.message)), dialog.dismiss()))
    page.on("request", lambda request: request.url == path.as_uri() or heard.append(("request", request.url)))
    page.on("popup", lambda popup: heard.append(("popup", popup.url)))
    page.goto(path.as_uri())
    yield page
    context.close()
    assert heard == []


def loaded(page):
    page.wait_for_selector("#browser[data-loaded]")
    return page


def report(folders, path, *, limit=50_000, more=()):
    """Write the report of these runs; returns their comparison."""
    comparison = compare(*load_runs(folders))
    page = render(
        paragraph=findings(comparison),
        facts=facts(comparison),
        parts=[*parts(comparison), *more],
        rollouts=browse(comparison, limit=limit),
    )
    write(path, page)
    return comparison


PROBLEMS, KEPT = 24, 4


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Two bases, their rollouts kept, and one run that failed."""
    root = tmp_path_factory.mktemp("report")
    suite = sums_suite(root / "sums.jsonl", PROBLEMS)
    folders = [write_kept(root, fate, suite) for fate in (LATENT, WORKED)]
    keep_training(folders[0], [10] * STEPS)
    keep_training(folders[1], [30] * STEPS)
    failed = write_run(root, BLANK, changes=Changes(manifest={"status": "failed"}))
    path = root / "report.html"
    return path, report([*folders, failed], path), folders


@pytest.fixture
def page(chromium, study):
    with opened(chromium, study[0]) as page:
        yield loaded(page)


def column(page, table, heading):
    """Texts of one column of the table under a heading, as shown."""
    rows = page.locator(f"h3:text-is('{table}') + p + div table")
    place = rows.locator("thead th").evaluate_all(
        "(all, text) => all.findIndex((each) => each.textContent === text)", heading
    )
    return rows.locator(f"tbody tr td:nth-child({place + 1})").all_inner_texts()


def test_the_page_opens_without_a_word_and_asks_nothing_of_any_network(page, study):
    assert page.locator(".verdict").inner_text() == findings(study[1])
    assert page.locator("figure svg[role=group]").count() == 5  # one panel each, and pass@k one for each of two arms
    assert page.evaluate("performance.getEntriesByType('resource').length") == 0
    for landmark in ("header", "nav", "main", "h1"):
        assert page.locator(landmark).count() == 1


def test_a_run_that_failed_is_named_as_such_and_in_no_number(page):
    assert column(page, "Left out", "status") == ["failed"]
    assert len(column(page, "Runs", "run")) == 2
    assert "left out: tiny-blank-tiny-s0, failed" in page.locator(".verdict").inner_text()
    assert "tiny-blank" not in page.locator("#figures").inner_text()


def test_a_table_sorts_by_click_and_by_keyboard(page):
    heading = page.locator("h3:text-is('Runs') + p + div th", has_text="step of take-off")
    shown = [int(each) for each in column(page, "Runs", "step of take-off")]
    assert len(set(shown)) == 2
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    assert [int(each) for each in column(page, "Runs", "step of take-off")] == sorted(shown, reverse=True)
    heading.locator("button").focus()
    page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending"
    assert [int(each) for each in column(page, "Runs", "step of take-off")] == sorted(shown)


def test_numbers_sort_as_numbers_words_as_words_and_what_was_not_measured_comes_last(chromium, tmp_path):
    rows = [{"name": f"run-{n}", "gain": gain} for n, gain in ((10, 0.02), (9, None), (2, -0.3), (1, 0.11))]
    columns = {"name": Column(title="name"), "gain": Column(title="gain, points", kind="points")}
    section = Section(title="Any", note="", columns=columns, rows=rows)
    write(tmp_path / "report.html", render(paragraph="", facts={}, parts=[section], rollouts=None))
    with opened(chromium, tmp_path / "report.html") as page:
        for heading, first, then in (
            ("gain, points", "1 10 2 9", "2 10 1 9"),
            ("name", "10 9 2 1", "1 2 9 10"),
        ):
            for order in (first, then):
                page.locator("th button", has_text=heading).click()
                assert column(page, "Any", "name") == [f"run-{n}" for n in order.split()]


def test_a_gain_whose_interval_holds_zero_is_marked_and_no_other(chromium, tmp_path):
    gains = [(0.1, 0.05, 0.15), (0.1, -0.01, 0.2), (-0.1, -0.2, -0.05), (0.0, 0.0, 0.0)]
    rows = [{"gain": value, "gain_low": low, "gain_high": high} for value, low, high in gains]
    section = Section(title="Any", note="", columns={"gain": Column(title="gain", kind="points")}, rows=rows)
    write(tmp_path / "report.html", render(paragraph="", facts={}, parts=[section], rollouts=None))
    with opened(chromium, tmp_path / "report.html") as page:
        cells = [" ".join(each.split()) for each in column(page, "Any", "gain")]
        marked = " inside the noise"
        assert cells == [
            "+10.0 +5.0 to +15.0",
            f"+10.0 -1.0 to +20.0{marked}",
            "-10.0 -20.0 to -5.0",
            f"+0.0 +0.0 to +0.0{marked}",
        ]


def test_a_figure_tells_its_numbers_to_keyboard_and_pointer_and_hides_what_the_legend_is_told(page, study):
    figure = page.locator("figure", has_text="during training")
    figure.locator("svg[role=group]").focus()
    for _ in range(1 + STEPS // EVERY):  # onto the first point, then to the last
        page.keyboard.press("ArrowRight")
    last = study[2][0].name, study[1].arms[0].runs[0].heldout[-1].pass_at_1
    told = figure.locator(".tip").inner_text()
    assert "tiny-latent" in told
    assert last[0].startswith("tiny-latent")
    assert f"optimizer step: {STEPS}" in told
    assert f"{100 * last[1].value:.1f}".rstrip("0").rstrip(".") in told
    page.keyboard.press("Escape")
    assert figure.locator(".tip").is_hidden()
    marks = figure.locator("svg[role=group] path[transform]")
    count = marks.count()
    figure.locator(".legend button", has_text="tiny-latent").click()
    assert marks.count() == count - (1 + STEPS // EVERY)
    box = marks.last.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert "tiny-worked" in figure.locator(".tip").inner_text()


def test_learning_curves_can_be_drawn_over_the_tokens_that_training_kept(page):
    figure = page.locator("figure", has_text="during training")
    figure.locator("select").select_option("completion tokens sampled in training")
    figure.locator("svg[role=group]").focus()
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    assert (
        f"sampled in training: {2 * 10 * EVERY}" in figure.locator(".tip").inner_text()
    )  # two completions of 10 a step


def shown(page):
    return int(page.locator(".count").inner_text().split(" of ")[0].replace(",", ""))


def counts(page, rollouts):
    """Wait until so many are shown."""
    from playwright.sync_api import expect

    expect(page.locator(".count")).to_have_text(re.compile(rf"^{rollouts} of "))


def rows_of(folders):
    return [
        {**row, "base": folder.name.removesuffix("-tiny-s0"), "when": when}
        for folder in folders
        for when, name in (("before", "start"), ("after", "end"))
        for row in RolloutStore(folder / "rollouts" / f"audit-{name}").rows()
    ]


def test_filters_show_what_a_count_over_the_files_gives(page, study):
    rows = rows_of(study[2])
    assert shown(page) == len(rows) == 2 * 2 * PROBLEMS * KEPT
    for fields, fits in (
        ({"when": "after"}, lambda row: row["when"] == "after"),
        ({"arm": "tiny-worked", "when": "before"}, lambda row: (row["base"], row["when"]) == ("tiny-worked", "before")),
        ({"verdict": "right"}, lambda row: row["correct"]),
        ({"verdict": "wrong", "when": "after"}, lambda row: not row["correct"] and row["when"] == "after"),
        ({"finish": "length"}, lambda row: row["finish"] == "length"),
        ({"reason": "different", "seed": "0"}, lambda row: row["reason"] == "different"),
        ({"status": "graded", "template": "qa"}, lambda row: True),
        ({"problem": "sums-test/7"}, lambda row: row["problem_id"] == "sums-test/7"),
        ({"problem": "is 7 +"}, lambda row: row["problem_id"] == "sums-test/7"),
        ({"words": "MAKE 22."}, lambda row: "make 22." in row["completion"]),
        ({"words": r"\boxed{22}"}, lambda row: r"\boxed{22}" in row["completion"]),
        ({"words": "nobody said this"}, lambda row: False),
    ):
        for name, value in fields.items():
            control = page.locator(f".filters [name={name}]")
            control.select_option(value) if name not in ("problem", "words") else control.fill(value)
        expected = sum(bool(fits(row)) for row in rows)
        counts(page, expected)
        for name in fields:
            control = page.locator(f".filters [name={name}]")
            control.select_option("") if name not in ("problem", "words") else control.fill("")
        counts(page, len(rows))


def test_a_rollout_is_shown_with_its_prompt_gold_verdict_and_the_answer_marked(page, study):
    page.locator(".filters [name=problem]").fill("sums-test/9")
    page.locator(".filters [name=when]").select_option("after")
    page.locator(".filters [name=verdict]").select_option("right")
    page.locator(".row").first.click()
    detail = page.locator(".detail")
    assert detail.locator("pre").first.inner_text() == load_template("qa").ask("What is 9 + 9?")
    assert detail.locator("#completion").inner_text() == r" 9 and 9 make 18. \boxed{18}"
    assert detail.locator("mark").all_inner_texts() == ["18"]
    assert (
        detail.locator("#completion").evaluate(
            "(pre) => pre.textContent.slice(0, pre.textContent.indexOf('\\\\boxed'))"
        )
        == " 9 and 9 make 18. "
    )
    before = detail.locator("mark").evaluate("(mark) => mark.previousSibling.textContent")
    assert before.endswith(r"\boxed{")
    assert re.search(r"gold\s+18\s+answer\s+18\s", detail.locator("dl").inner_text())
    assert "✓ right · graded · equal" in detail.inner_text()


def test_the_keyboard_alone_steps_through_rollouts(page):
    page.locator(".list").focus()
    for key, place in (("ArrowDown", 1), ("ArrowDown", 2), ("ArrowUp", 1), ("End", 383), ("Home", 0)):
        page.keyboard.press(key)
        chosen = page.locator(".row[aria-selected=true]")
        assert chosen.get_attribute("aria-posinset") == str(place + 1)
        assert page.locator(".list").get_attribute("aria-activedescendant") == chosen.get_attribute("id")
        assert f"{place + 1} of 384" in page.locator(".detail").inner_text()
    page.locator("text=Next →").focus()
    page.keyboard.press("Enter")
    assert page.locator(".row[aria-selected=true]").get_attribute("aria-posinset") == "2"


def test_everything_is_reached_by_tab_and_the_first_stop_skips_to_the_verdict(page):
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the verdict"
    stops = Counter()
    while (
        stop := page.evaluate("document.activeElement.getAttribute('class') || document.activeElement.tagName")
    ) != "detail":
        stops[stop] += 1
        assert sum(stops.values()) < 200
        page.keyboard.press("Tab")
    assert (stops["svg"], stops["scroll"], stops["SELECT"], stops["INPUT"], stops["list"]) == (5, 3, 9, 2, 1)


def contrast(one, other):
    """WCAG 2.2 contrast of two 'rgb(r, g, b)'."""

    def luminance(colour):
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


COLOURS = """() => {
  const ground = (element) => {
    for (; element; element = element.parentElement) {
      const colour = getComputedStyle(element).backgroundColor;
      if (!/, 0\\)$/.test(colour)) return colour;
    }
  };
  return [...document.querySelectorAll(".verdict, .note, a, dt, small, .noise, .right, .wrong, .peek, mark, th button, .tip")]
    .map((element) => [element.className || element.tagName, getComputedStyle(element).color, ground(element)]);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_in_light_and_in_dark(chromium, study, scheme):
    with opened(chromium, study[0], color_scheme=scheme) as page:
        loaded(page)
        colours = page.evaluate(COLOURS)
        assert len(colours) > 20
        assert [each for each in colours if contrast(*each[1:]) < 4.5] == []  # WCAG AA
        curves = page.evaluate(
            "[...document.querySelectorAll('figure .curve')].map((each) => getComputedStyle(each).stroke)"
        )
        panel = page.evaluate("getComputedStyle(document.querySelector('.chart')).backgroundColor")
        assert [each for each in curves if contrast(each, panel) < 3] == []


def test_the_theme_button_goes_over_what_the_system_says(chromium, study):
    with opened(chromium, study[0], color_scheme="dark") as page:
        ground = "getComputedStyle(document.body).backgroundColor"
        dark = page.evaluate(ground)
        page.locator("#theme").click()
        assert page.locator("#theme").inner_text() == "Theme: light"
        assert page.evaluate(ground) == "rgb(255, 255, 255)" != dark
        page.locator("#theme").click()
        assert page.evaluate(ground) == dark


def test_a_phone_scrolls_down_only_and_can_read_a_rollout(chromium, study):
    with opened(chromium, study[0], viewport={"width": 390, "height": 844}, has_touch=True) as page:
        loaded(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.locator(".row").nth(1).tap()
        assert page.locator("#completion").bounding_box()["width"] > 300
        sizes = page.evaluate(
            "[...document.querySelectorAll('body *')].filter((each) => each.offsetWidth && each.textContent.trim())"
            ".map((each) => parseFloat(getComputedStyle(each).fontSize))"
        )
        assert min(sizes) >= 12


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


# --- what goes into the page ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reader", "completion", "answer", "before"),
    [
        ("boxed", r"12, so \boxed{12}. There are 12 of them.", "12", r"12, so \boxed{"),
        ("boxed", r"\boxed{1}, no: \boxed{2} \boxed{2}, two, 2", "2", r"\boxed{1}, no: \boxed{2} \boxed{"),
        ("boxed", "\\boxed{4}\nQuestion: What is 4?", "4", r"\boxed{"),  # the next question is not read
        ("boxed", r"<think>\boxed{3}</think> \boxed{3} is 3", "3", r"<think>\boxed{3}</think> \boxed{"),
        ("boxed", r"\boxed{\frac{1}{2}} or \frac{1}{2}", r"\frac{1}{2}", r"\boxed{"),
        ("first-number", "7 and again 7", "7", ""),
        ("any", "first 5, then 5", "5", "first 5, then "),
        ("answer-line", "Answer: x\nso x it is", "x", "Answer: "),
    ],
)
def test_the_answer_is_found_where_the_reader_took_it(reader, completion, answer, before):
    template = load_template("qa").model_copy(update={"strict": reader})
    assert where_read(completion, answer, template, "strict") == len(before)


def test_an_answer_that_does_not_stand_there_is_nowhere_and_without_a_template_it_is_the_last():
    template = load_template("qa")
    assert where_read(r"\boxed{1} or \boxed{2}", "1, 2", template, "strict") == -1
    assert where_read(r"\boxed{1} and 1", "1", None, "strict") == len(r"\boxed{1} and ")


def test_a_sample_takes_of_every_stratum_its_share_to_within_one():
    rng = np.random.default_rng(1)
    strata = rng.choice(40, 5000, p=rng.dirichlet(np.ones(40)))
    for limit in (1, 40, 333, 4999):
        mask = stratified(strata, limit, np.random.default_rng(0))
        assert mask.sum() == limit
        for stratum, size in Counter(strata.tolist()).items():
            share = limit * size / strata.size
            assert abs(mask[strata == stratum].sum() - share) <= 1.5
    assert stratified(strata, 5000, rng).all()


def test_in_a_sample_every_thing_of_a_stratum_has_the_same_chance():
    strata = np.repeat([0, 1, 2], [3, 7, 50])
    draws = np.mean([stratified(strata, 20, np.random.default_rng(seed)) for seed in range(4000)], axis=0)
    assert draws == pytest.approx(20 / 60, abs=0.04)  # 5 standard errors


def test_texts_are_cut_at_the_largest_length_that_fits():
    rng = np.random.default_rng(0)
    for total in (50, 500, 5000):
        sizes = rng.integers(0, 100, 60)
        longest = longest_that_fits(sizes, total)
        fits = np.minimum(sizes, longest).sum() <= total
        assert fits
        assert longest == LONGEST or np.minimum(sizes, longest + 1).sum() > total


def test_more_rollouts_than_the_limit_are_sampled_and_the_page_says_so(chromium, study, tmp_path):
    path = tmp_path / "report.html"
    report(study[2], path, limit=100)
    with opened(chromium, path) as page:
        assert shown(loaded(page)) == 100
        assert "A random sample of 100 of 384 kept rollouts" in page.locator("#rollouts-note").inner_text()
    report(study[2], tmp_path / "again.html", limit=100)
    assert (tmp_path / "again.html").read_bytes() == path.read_bytes()
    report(study[2], path, limit=0)
    with opened(chromium, path) as page:
        assert "made without them" in page.locator("#rollouts").inner_text()


WORDS = """let us add the two numbers digit by digit then carry one so that sum is therefore equal to 7 12 45 9 + = ( )""".split()  # noqa: SIM905


TIMED = """([name, value]) => new Promise((resolve) => {
  const input = document.querySelector(`.filters [name=${name}]`), began = performance.now();
  new MutationObserver(() => requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - began))))
    .observe(document.querySelector(".count"), { childList: true });
  input.value = value;
  input.dispatchEvent(new Event("input", { bubbles: true }));
})"""
"""Milliseconds from a change in a filter to the frame that shows it, the wait for more typing included."""


def test_fifty_thousand_rollouts_open_and_filter_in_under_two_seconds(chromium, tmp_path, capsys):
    """Completions of about 1,000 characters, some of them longer than the page has room for."""
    rng = np.random.default_rng(0)
    bodies = [" ".join(rng.choice(WORDS, size)) for size in rng.geometric(1 / 250, 3000)]

    def say(rng, problem, right):
        words, answer = box(rng, problem, right)
        return f"{bodies[int(rng.integers(len(bodies)))]}{words}", answer

    suite = sums_suite(tmp_path / "sums.jsonl", 100)
    folders = [write_kept(tmp_path, fate, suite, say=say, samples=126) for fate in (LATENT, WORKED)]
    path = tmp_path / "report.html"
    began = time.perf_counter()
    report(folders, path)
    built = time.perf_counter() - began
    opens, filters, searches = [], [], []
    for _ in range(5):
        with opened(chromium, path) as page:
            loaded(page)
            opens.append(page.evaluate("performance.now()"))
            filters.append(page.evaluate(TIMED, ["when", "after"]))
            searches.append(page.evaluate(TIMED, ["words", "therefore equal to 7 zebra"]))
            assert shown(page) == 0
    medians = [f"{statistics.median(each) / 1000:.2f} s" for each in (opens, filters, searches)]
    with capsys.disabled():
        size = path.stat().st_size / 2**20
        print(
            f"\n50,000 rollouts: built in {built:.1f} s, {size:.1f} MiB; whole, filtered, searched in {', '.join(medians)}"
        )
    assert (
        max(min(each) for each in (opens, filters, searches)) < 2000
    )  # the least, as other work may slow any one of them
