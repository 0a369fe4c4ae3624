"""report.html in a real browser: what it shows, by pointer and by keyboard, in light and in dark, and how quickly."""

from __future__ import annotations

import re
import statistics
import time
from collections import Counter

import numpy as np
import pytest
from kept import box, keep_training, sums_suite, write_kept
from pages import counts, loaded, opened, report, shown
from synthetic import BLANK, EVERY, LATENT, STEPS, WORKED, Changes, write_run

from configs.load import load_template
from evals.findings import findings
from evals.report import Axis, Chart, Column, Section, Series, render, write
from evals.rollouts import RolloutStore

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


def test_what_is_infinite_sorts_as_the_largest_and_what_is_minus_infinite_as_the_least(chromium, tmp_path):
    rows = [{"name": f"run-{n}", "cost": cost} for n, cost in enumerate((3.0, np.inf, 1e9, -np.inf, np.inf, None))]
    columns = {"name": Column(title="name"), "cost": Column(title="cost", kind="number")}
    section = Section(title="Any", note="", columns=columns, rows=rows)
    write(tmp_path / "report.html", render(paragraph="", facts={}, parts=[section], rollouts=None))
    with opened(chromium, tmp_path / "report.html") as page:
        for order in ("1 4 2 0 3 5", "3 0 2 1 4 5"):
            page.locator("th button", has_text="cost").click()
            assert column(page, "Any", "name") == [f"run-{n}" for n in order.split()]


def test_no_two_of_fifty_arms_look_the_same_in_the_figure_or_in_its_legend(chromium, tmp_path):
    series = [Series(name=f"arm {n}", look=n, points=[{"x": [n], "y": n}]) for n in range(50)]
    axis = Axis(label="any")
    chart = Chart(title="Any", note="", x=[axis], y=axis, panels={"": series})
    write(tmp_path / "report.html", render(paragraph="", facts={}, parts=[chart], rollouts=None))
    with opened(chromium, tmp_path / "report.html") as page:
        for marks in ("svg[role=group] path[transform]", ".legend path:last-child"):
            looks = page.locator(f"figure {marks}").evaluate_all(
                "(all) => all.map((each) => [each.getAttribute('d'), each.getAttribute('fill') ?? each.getAttribute('stroke')])"
            )
            assert len({*map(tuple, looks)}) == len(looks) == 50


@pytest.mark.parametrize(("chunk", "opened_by_then"), [(0, 0), (1, 0), (4, 300), (-1, 300)])
def test_a_damaged_file_says_so_and_shows_what_can_be_opened(
    chromium, study, tmp_path, monkeypatch, chunk, opened_by_then
):
    monkeypatch.setattr("evals.browse.CHUNK", 100)
    path = tmp_path / "report.html"
    report(study[2], path)
    pieces = path.read_text().split('class="chunk">')
    if chunk < 0:  # cut short between two chunks
        pieces.pop()
        pieces[-1] = pieces[-1].partition("</script>")[0] + "</script>"
    else:
        pieces[1 + chunk] = pieces[1 + chunk][:40] + "AAAA" + pieces[1 + chunk][44:]
    path.write_text('class="chunk">'.join(pieces))
    with opened(chromium, path) as page:
        page.wait_for_selector("#rollouts-note[role=alert]")
        note = page.locator("#rollouts-note").inner_text()
        assert "This file is damaged" in note
        assert f"{opened_by_then} of 384 rollouts could be opened" in note
        assert "loading" not in page.locator("#rollouts").inner_text()
        if opened_by_then:
            assert shown(page) == opened_by_then


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
    tables = page.locator("main table").count()
    assert tables > 3
    assert (stops["svg"], stops["scroll"], stops["SELECT"], stops["INPUT"], stops["list"]) == (5, tables, 9, 2, 1)


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


class Clock:
    """Processor time of the main thread of one page, from when it was blank."""

    def start(self, page):
        self.session = page.context.new_cdp_session(page)
        self.session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def milliseconds(self):
        metrics = self.session.send("Performance.getMetrics")["metrics"]
        return 1000 * next(each["value"] for each in metrics if each["name"] == "ThreadTime")


def test_fifty_thousand_rollouts_open_and_filter_in_under_two_seconds(chromium, tmp_path, capsys):
    """Completions of about 1,000 characters. Opening is held to the processor's time, as other work on the machine adds waits."""
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
    works, opens, filters, searches = [], [], [], []
    for _ in range(5):
        clock = Clock()
        with opened(chromium, path, first=clock.start) as page:
            loaded(page)
            works.append(clock.milliseconds())
            opens.append(page.evaluate("performance.now()"))
            filters.append(page.evaluate(TIMED, ["when", "after"]))
            searches.append(page.evaluate(TIMED, ["words", "therefore equal to 7 zebra"]))
            assert shown(page) == 0
    work, *waits = (statistics.median(each) / 1000 for each in (works, opens, filters, searches))
    told = "opened in {:.2f} s, filtered in {:.2f} s, searched in {:.2f} s".format(*waits)
    with capsys.disabled():
        size = path.stat().st_size / 2**20
        print(
            f"\n50,000 rollouts, {size:.1f} MiB, made in {built:.1f} s: whole page {told}; {work:.2f} s of a processor to open"
        )
    assert max(work, *waits[1:]) < 2
