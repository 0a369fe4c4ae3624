import csv
import json
import runpy
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr
from synthetic import BLANK, LATENT, SILENT, TINY, WORKED, Changes, Fate, write_counts, write_run

from configs.errors import UsageError
from evals.compare import ahead, by_settings, claim, compare, rank_correlation, summary, table
from evals.estimate import mean_over_problems
from evals.figures import draw, transitions_by_arm
from evals.findings import findings
from evals.race import FEWEST
from evals.report_parts import headroom
from evals.rollouts import RolloutStore
from evals.runs import load_audit, load_baselines, load_run, load_runs, spent
from evals.tables import TABLES, write_tables

SCRIPT = Path(__file__).parents[2] / "scripts" / "compare.py"


def laid_out(root, fates, seeds=(0,), **options):
    return compare(load_runs([write_run(root, fate, seed, **options) for fate in fates for seed in seeds])[0])


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return laid_out(tmp_path_factory.mktemp("study"), TINY, seeds=(0, 1, 2))


def rewrite(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_run_folder_is_read_as_written(tmp_path):
    run = load_run(write_run(tmp_path, WORKED, seed=2))
    assert (run.manifest.base, run.manifest.seed, run.manifest.group_size) == ("tiny-worked", 2, 16)
    assert run.start.pass_at_k.read[1].value == pytest.approx(run.start.correct.mean() / 64)
    assert run.heldout[0].step == 0
    assert run.metrics[0]["step"] == 1


def test_a_lone_audit_is_read_and_is_no_training_run(tmp_path):
    folder = write_run(tmp_path, WORKED)
    (folder / "audit-start.json").rename(folder / "audit.json")
    rewrite(folder / "manifest.json", kind="audit")
    assert load_audit(folder).base == "tiny-worked"
    with pytest.raises(UsageError, match="kind 'audit'"):
        load_run(folder)


def test_what_is_no_run_folder_is_refused_with_where_the_runs_are(tmp_path):
    write_run(tmp_path, LATENT)
    with pytest.raises(UsageError, match=r"not a run folder.*type .*/\*"):
        load_run(tmp_path)


def test_missing_and_malformed_files_are_named(tmp_path):
    folder = write_run(tmp_path, LATENT)
    rewrite(folder / "manifest.json", group_size="many")
    with pytest.raises(UsageError, match="group_size"):
        load_run(folder)
    rewrite(folder / "manifest.json", group_size=16)
    (folder / "heldout.jsonl").write_text("{not json\n")
    with pytest.raises(UsageError, match=r"heldout.jsonl, line 1 is not JSON"):
        load_run(folder)
    (folder / "audit-end.json").unlink()
    with pytest.raises(UsageError, match=r"no audit-end.json"):
        load_run(folder)


def test_unfinished_runs_are_left_out_and_named(tmp_path):
    good = write_run(tmp_path, LATENT)
    failed = write_run(tmp_path, WORKED, changes=Changes(manifest={"status": "failed"}))
    (failed / "audit-end.json").unlink()
    runs, unfinished = load_runs([good, failed])
    assert [run.manifest.base for run in runs] == ["tiny-latent"]
    assert "(left out: tiny-worked-tiny-s0, failed)" in findings(compare(runs, unfinished))
    with pytest.raises(UsageError, match=r"no finished run.*tiny-worked-tiny-s0 is failed"):
        load_runs([failed])


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"suite": {"name": "sums-test", "fingerprint": "cccc"}}, "suite.fingerprint"),
        ({"template": "chat"}, "template"),
        ({"verifier": "2"}, "verifier"),
        ({"sampling": {"temperature": 0.6, "top_p": 1.0, "max_tokens": 64}}, "sampling.temperature"),
    ],
)
def test_runs_measured_differently_are_refused_by_field_and_name(tmp_path, changes, field):
    first = write_run(tmp_path, LATENT)
    other = write_run(tmp_path, WORKED, changes=Changes(audit=changes))
    for name in ("manifest.json", "audit-signal.json"):
        rewrite(other / name, **{key: value for key, value in changes.items() if key != "suite"})
    with pytest.raises(UsageError, match=rf"tiny-latent-tiny-s0 and tiny-worked-tiny-s0 differ in {field}"):
        load_runs([first, other])


def test_a_run_whose_two_audits_differ_is_refused(tmp_path):
    folder = write_run(tmp_path, LATENT)
    rewrite(folder / "audit-end.json", template="chat")
    with pytest.raises(UsageError, match=r"\(start\) and .*\(end\) differ in template"):
        load_run(folder)


def test_a_forecast_asked_otherwise_than_training_is_refused(tmp_path):
    folder = write_run(tmp_path, LATENT)
    rewrite(folder / "audit-signal.json", sampling={"temperature": 0.6, "top_p": 1.0, "max_tokens": 64})
    with pytest.raises(UsageError, match=r"\(training\) and .*\(signal\) differ in sampling.temperature"):
        load_run(folder)


def test_the_same_seed_twice_is_refused(tmp_path):
    with pytest.raises(UsageError, match="both seed 0 of tiny-latent"):
        load_runs([write_run(tmp_path / "a", LATENT), write_run(tmp_path / "b", LATENT)])


def test_one_base_under_two_recipes_makes_two_arms(tmp_path):
    study = laid_out(tmp_path, (LATENT, replace(LATENT, recipe="random-reward", end=0.0)))
    assert [arm.label for arm in study.arms] == ["tiny-latent, tiny", "tiny-latent, random-reward"]
    assert findings(study).startswith("2 arms")


def test_a_run_with_another_setting_is_another_arm_and_no_other_seed(tmp_path):
    def chosen(rate, **more):
        recipe = {
            "name": "tiny",
            "grpo": {"learning_rate": rate, "beta": 0.0},
            "audit": {"every": rate},
            "sources": [str(rate)],
        }
        return Changes(manifest={"settings": {"recipe": recipe, "seed": 7, "origin": str(rate), **more}})

    runs = [
        write_run(tmp_path / "a", LATENT, 0, changes=chosen(4e-4)),
        write_run(tmp_path / "a", LATENT, 1, changes=chosen(4e-4)),
        write_run(tmp_path / "b", LATENT, 1, changes=chosen(2e-4)),
        write_run(tmp_path / "b", WORKED, 1, changes=chosen(2e-4)),
    ]
    assert [(arm.label, arm.seeds) for arm in compare(load_runs(runs)[0]).arms] == [
        ("tiny-latent, learning_rate 0.0004", 2),
        ("tiny-latent, learning_rate 0.0002", 1),
        ("tiny-worked", 1),
    ]
    cut = write_run(tmp_path / "c", WORKED, 2, changes=chosen(2e-4, budget_tokens=1000))
    assert [arm.label for arm in compare(load_runs([runs[3], cut])[0]).arms] == [
        "tiny-worked, budget_tokens None",
        "tiny-worked, budget_tokens 1000",
    ]


def test_arms_with_and_without_an_adapter_are_called_so_in_short(tmp_path):
    def trained(lora):
        return Changes(manifest={"settings": {"recipe": {"name": "tiny", "grpo": {"beta": 0.0}, "lora": lora}}})

    runs = [
        write_run(tmp_path / str(place), LATENT, changes=trained(lora))
        for place, lora in enumerate(({"r": 16, "lora_alpha": 32}, {"r": 8, "lora_alpha": 32}, None))
    ]
    assert [arm.label for arm in compare(load_runs(runs[::2])[0]).arms] == [
        "tiny-latent, with lora",
        "tiny-latent, without lora",
    ]
    assert [arm.label for arm in compare(load_runs(runs[:2])[0]).arms] == [
        "tiny-latent, lora.r 16",
        "tiny-latent, lora.r 8",
    ]


def test_what_changes_no_weight_makes_no_other_arm(tmp_path):
    def kept(**grpo):
        return Changes(manifest={"settings": {"recipe": {"name": "tiny", "grpo": {"beta": 0.0, **grpo}}}})

    free = {"report_to": "none", "project": "p", "run_name": "r", "save_total_limit": 2, "save_steps": 9}
    changed = kept(**free, logging_steps=5, gradient_checkpointing=True)
    runs = [write_run(tmp_path, LATENT, 0, changes=kept()), write_run(tmp_path, LATENT, 1, changes=changed)]
    assert [(arm.label, arm.seeds) for arm in compare(load_runs(runs)[0]).arms] == [("tiny-latent", 2)]


def test_a_control_stands_apart_from_its_recipe_and_is_called_one(tmp_path):
    control = replace(LATENT, recipe="tiny-random", control_of="tiny", end=0.0)
    study = laid_out(tmp_path / "both", (LATENT, control), seeds=(0, 1))
    assert [(arm.label, arm.seeds) for arm in study.arms] == [
        ("tiny-latent, tiny", 2),
        ("tiny-latent, tiny-random (control)", 2),
    ]
    alone = laid_out(tmp_path / "alone", (control,))
    assert alone.arms[0].label == "tiny-latent, tiny-random (control)"


def test_gain_is_the_difference_of_the_two_audits(study):
    for arm in study.arms:
        expected = np.mean([run.end.correct.mean() - run.start.correct.mean() for run in arm.runs]) / 64
        assert arm.gain.value == pytest.approx(expected)
        assert arm.gain.low <= arm.gain.value <= arm.gain.high


def test_a_problem_set_written_down_twice_says_no_more_than_once(tmp_path):
    """The same counts under new ids, asked in the same words: rates and intervals stay what they were."""
    folder = write_run(tmp_path, WORKED)
    (once,) = compare([load_run(folder)]).arms
    for name in ("audit-start.json", "audit-end.json"):
        problems = json.loads((folder / name).read_text())["problems"]
        again = [{**one, "id": f"again-{one['id']}", "question": one["id"]} for one in problems]
        rewrite(folder / name, problems=[{**one, "question": one["id"]} for one in problems] + again)
    (twice,) = compare([load_run(folder)]).arms
    for mine, theirs in ((once.gain, twice.gain), (once.before[8], twice.before[8]), (once.after[1], twice.after[1])):
        assert (theirs.value, theirs.low, theirs.high) == pytest.approx((mine.value, mine.low, mine.high))


def test_averaging_seeds_of_one_audited_base_does_not_shrink_its_interval(study):
    """The three start audits are the same samples: pooling them would pretend to know more."""
    single = next(single for single in study.singles if single.label == "tiny-worked")
    arm = next(arm for arm in study.arms if arm.label == "tiny-worked")
    for k, estimate in arm.before.items():
        assert (estimate.low, estimate.high) == pytest.approx((single.before[k].low, single.before[k].high))


@pytest.mark.parametrize(
    ("accuracy", "take_off"),
    [
        ([0.0, 0.1, 0.2, 0.2, 0.2], 5),
        ([0.0, 0.1, 0.2, 0.3, 0.2], 4),  # the mean of three steps, each of them may lie below
        ([0.0, 0.5, 0.0, 0.0, 0.5], None),  # one lucky step is none
        ([0.3, 0.3], None),  # too few steps
        ([0.9, 0.9, 0.9, 0.0, 0.0], 3),  # what is lost later does not undo it
        ([0.3, 0.3, None, 0.3, 0.3], None),  # a step that was not logged breaks the row
        ([0.0, None, 0.2, 0.2, 0.2], 5),
    ],
)
def test_take_off_is_the_first_step_up_to_which_three_steps_average_the_line(tmp_path, accuracy, take_off):
    folder = write_run(tmp_path, SILENT)
    rows = [
        {"step": step, "frac_reward_zero_std": 0.5, "accuracy": value}
        for step, value in enumerate(accuracy, start=1)
        if value is not None
    ]
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert compare([load_run(folder)]).arms[0].take_offs == (take_off,)


@pytest.mark.parametrize(("sampler", "take_off"), [("uniform", 3), ("resample", 3), ("edge", 16), ("posterior", 16)])
def test_a_sampler_that_asks_what_the_base_can_do_does_not_make_it_take_off(tmp_path, sampler, take_off):
    """Of the problems asked a third are solved from the first step on; of held-out ones a fifth at step 16."""
    folder = write_run(tmp_path, SILENT, changes=Changes(manifest={"sampler": sampler}))
    rows = [{"step": step, "frac_reward_zero_std": 0.5, "accuracy": 0.33} for step in range(1, 20)]
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)))
    rates = {0: 0.25, 8: 0.19, 16: 0.2, 24: 0.5}  # step 0 by luck: the audit says 0
    held = [{"step": step, "pass_at_1": {"value": value, "low": 0, "high": 1, "n": 9}} for step, value in rates.items()]
    (folder / "heldout.jsonl").write_text("\n".join(map(json.dumps, held)))
    laid = compare([load_run(folder)])
    assert laid.arms[0].take_offs == (take_off,)
    assert ("held-out pass@1 where a sampler chose" in findings(laid)) == (take_off == 16)


def test_every_step_can_be_one_of_take_off(study):
    """Held-out audits lie 8 steps apart here; seeds of one arm lie 3 apart."""
    for arm in study.arms:
        if arm.label in ("tiny-latent", "tiny-worked"):
            assert [late - early for early, late in pairwise(arm.take_offs)] == pytest.approx([3, 3], abs=1)


def test_the_forecast_is_scored_against_trls_own_count(study):
    for single in study.singles:
        silent = single.runs[0].metrics[0]["frac_reward_zero_std"]
        assert single.forecasts[0].observed == pytest.approx(1 - silent)
        assert single.forecasts[0].held == (single.forecasts[0].low <= 1 - silent <= single.forecasts[0].high)


def test_tables_hold_one_row_per_run_and_one_per_base(study, tmp_path):
    paths = {path.stem: path for path in write_tables(study, tmp_path)}
    runs, arms = ([*csv.DictReader(paths[name].open())] for name in ("table", "summary"))
    assert (len(runs), len(arms)) == (12, 4)
    silent = next(row for row in runs if row["base"] == "tiny-silent")
    assert (silent["pass_at_1_start"], silent["take_off_step"]) == ("0.0", "")
    assert float(silent["pass_at_1_start_high"]) == pytest.approx(1.959964**2 / (128 + 1.959964**2), abs=1e-6)  # Wilson
    assert {"pass_at_8_start", "pass_at_64_end_high", "gain_low", "forecast_held", "seconds"} <= set(silent)
    worked = next(row for row in arms if row["arm"] == "tiny-worked")
    assert (worked["seeds"], worked["seeds_taken_off"]) == ("3", "3")
    assert float(worked["gain_seed_min"]) <= float(worked["gain"]) <= float(worked["gain_seed_max"])


def test_every_table_is_a_file_that_reads_back_and_one_without_rows_is_none(study, tmp_path):
    (tmp_path / "left_out.csv").write_text("of an earlier comparison of the same runs")
    written = {path.stem: [*csv.DictReader(path.open())] for path in write_tables(study, tmp_path)}
    assert written.keys() == {one.name for one in TABLES} - {"left_out"}
    assert not (tmp_path / "left_out.csv").exists()
    assert len(written["transitions_by_problem"]) == 12 * 128
    assert {row["arm"] for row in written["crossings"]} == {fate.base for fate in TINY}
    for name in ("transitions", "pass_at_k", "crossings", "logit_gain", "matched_gain", "curves"):
        assert "seeds" in written[name][0] or "seed" in written[name][0], name
    for row in (row for rows in written.values() for row in rows):
        for low in (name for name in row if name.endswith("_low") and f"{name.removesuffix('_low')}_high" in row):
            stem = low.removesuffix("_low")
            if row[low] and stem in row:
                assert float(row[low]) <= float(row[stem]) <= float(row[f"{stem}_high"]), (stem, row)


def test_many_runs_are_printed_arm_by_arm_and_no_more_rows_than_a_screen_takes(tmp_path, capsys):
    fates = [Fate(base=f"base-{number}", start=0.01 * number, end=0.5) for number in range(14)]
    folders = [write_run(tmp_path, fate, problems=16) for fate in fates]
    folders.append(write_run(tmp_path, BLANK, changes=Changes(manifest={"status": "interrupted"})))
    laid = compare(*load_runs(folders))
    paths = write_tables(laid, tmp_path)
    runpy.run_path(str(SCRIPT))["show"](laid, paths, "That is all.")
    printed = capsys.readouterr().out
    assert sum(line.startswith("  base-") for line in printed.splitlines()) == 2 * 12  # two tables
    assert f"the rest, run by run, is in {tmp_path}/table.csv" in printed.replace("\n", "")
    assert "left out: tiny-blank-tiny-s0 is interrupted" in printed
    assert "tiny, end pass@1: " in printed
    assert len(printed.splitlines()) < 50
    (row,) = csv.DictReader((tmp_path / "left_out.csv").open())
    assert row == {"run": "tiny-blank-tiny-s0", "status": "interrupted"}


def test_what_moved_is_printed_in_halves_as_what_sampling_alone_moves_is(tmp_path, capsys):
    """Nothing changed, and 5 of 8 samples are right: 2 of 4 or more in 65 of 70 halves, all 4 where the other half has 1."""
    laid = compare([load_run(write_counts(tmp_path, [5] * 20, [5] * 20, samples=8))])
    runpy.run_path(str(SCRIPT))["show"](laid, [tmp_path / "table.csv"], "That is all.")
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("  made ") and "7." in line)
    gained, lost, alone = line.split()[1:4]
    assert (gained, lost) == ("6.6", "6.6")  # 65 x 5 / 70^2
    assert alone == "7.1+7.1"  # 5 / 70


def test_moves_are_drawn_in_the_halves_of_the_bar_below_them(tmp_path):
    """As printed above: 65 x 65, 65 x 5, 5 x 65 and 5 x 5 of 4,900 problems over 60, 5, 5 and 0 of 70."""
    laid = compare([load_run(write_counts(tmp_path, [5] * 20, [5] * 20, samples=8))])
    widths = [bar.get_width() for bar in transitions_by_arm(laid.arms).axes[0].patches]
    hand = [65 * 65 / 49, 65 * 5 / 49, 5 * 65 / 49, 5 * 5 / 49, 60 / 0.7, 5 / 0.7, 5 / 0.7, 0]
    assert widths == pytest.approx(hand)


def test_the_page_says_which_log_odds_had_half_an_answer_added(tmp_path):
    """None right of 160 before, 80 of 160 after."""
    (section, *_) = headroom(compare([load_run(write_counts(tmp_path, [0] * 20, [4] * 20, samples=8))]))
    titles = {column.title: section.rows[0][key] for key, column in section.columns.items()}
    assert titles["gain, log odds, half an answer added"] == pytest.approx(np.log(160.5 / 0.5), abs=1e-6)
    drawn = np.random.default_rng(0).beta(0.5, 160.5, 400_000)
    assert titles["by Jeffreys' mean"] == pytest.approx(-np.log(drawn / (1 - drawn)).mean(), abs=0.02)


def test_one_seed_per_base_needs_no_summary(tmp_path):
    study = laid_out(tmp_path, TINY)
    names = [path.stem for path in write_tables(study, tmp_path)]
    assert "table" in names
    assert not {"summary", "left_out"} & {*names}
    assert len(table(study)) == len(summary(study)) == 4


def test_the_paragraph_tells_equal_scores_with_opposite_fates(study):
    text = findings(study)
    assert "4 bases, 3 seeds each, 80 steps" in text
    assert "took off" in text.split("tiny-worked")[1].split(".")[0]
    assert "tiny-blank and tiny-silent never took off" in text
    assert "Seed by seed, tiny-worked took off before tiny-latent in 3 of 3 seeds." in text
    assert "pass@1 did not tell the two fates apart" in text
    assert "do not cover the training seed" in text


def test_the_paragraph_turns_when_the_fates_do(tmp_path):
    start_decides = (
        Fate(base="low-a", start=0.01, end=0.02),
        Fate(base="low-b", start=0.02, end=0.02),
        Fate(base="high-a", start=0.12, end=0.9),
        Fate(base="high-b", start=0.14, end=0.9),
    )
    text = findings(laid_out(tmp_path / "a", start_decides))
    assert "pass@1 told the two fates apart" in text
    assert "low-a and low-b never took off" in text
    turned = [replace(fate, end=0.92 - fate.end) for fate in start_decides]
    text = findings(laid_out(tmp_path / "b", turned))
    assert "pass@1 ranked the two fates the wrong way round" in text
    assert "high-a and high-b never took off" in text


def test_the_paragraph_claims_nothing_about_fates_when_there_is_one(tmp_path):
    text = findings(laid_out(tmp_path, (BLANK, SILENT)))
    assert "cannot be judged" in text
    assert "The gains of tiny-blank and tiny-silent cannot be told from zero" in text
    assert "one seed per base, how much another training seed would differ is unknown" in text


def test_a_base_that_starts_above_the_line_has_no_take_off_and_can_lose(tmp_path):
    text = findings(laid_out(tmp_path, (Fate(base="able", start=0.9, end=0.4), LATENT)))
    assert "able was at 20% held-out pass@1 or more before training" in text
    assert "able lost" in text


def test_a_controls_fate_says_nothing_of_what_foretells_that_of_right_answers(tmp_path):
    fates = [replace(fate, recipe="coin", control_of="tiny", end=fate.start) for fate in (LATENT, WORKED)]
    text = findings(laid_out(tmp_path, (LATENT, WORKED, *fates)))
    assert "tiny-latent, coin (control) and tiny-worked, coin (control) never took off" in text
    assert "cannot be judged: both fates are needed" in text
    assert "rank correlation" not in text


def test_the_paragraph_ranks_the_bases_of_one_recipe_only_and_says_if_chance_would(tmp_path):
    fates = [Fate(base=f"base-{n}", start=0.05 * n, end=0.5, signal=0.1 + 0.05 * n) for n in range(FEWEST)]
    text = findings(laid_out(tmp_path / "one", fates, problems=32))
    assert "The strongest rank correlation with what was measured before: tiny, gain: " in text
    assert f"over {FEWEST} bases, no more than chance" in text or f"over {FEWEST} bases, more than chance" in text
    pooled = [replace(fate, recipe=f"r{n % 2}") for n, fate in enumerate(fates)]
    assert "rank correlation" not in findings(laid_out(tmp_path / "two", pooled, problems=32))


def test_the_paragraph_says_whose_base_overtakes_it_and_who_stays_ahead(tmp_path):
    sharp = write_counts(
        tmp_path, [4] * 100, [16] * 60 + [0] * 40, samples=16, fate=Fate(base="sharp", start=0.1, end=0.5)
    )
    wide = write_counts(tmp_path, [1] * 100, [12] * 100, samples=16, fate=Fate(base="wide", start=0.1, end=0.5))
    level = write_counts(tmp_path, [4] * 100, [4] * 100, samples=16, fate=Fate(base="level", start=0.1, end=0.1))
    text = findings(compare(load_runs([sharp, wide, level])[0]))
    assert "In pass@k, beyond noise at that k, the base overtakes sharp from k = 4." in text
    text = findings(compare(load_runs([write_run(tmp_path / "b", LATENT)])[0]))
    assert "tiny-latent stays ahead of its base up to k = 64, the largest tested." in text
    assert "In pass@k" not in findings(compare(load_runs([level])[0]))


def test_the_k_up_to_which_arms_stay_ahead_is_a_tested_one_of_theirs(tmp_path):
    """12 samples test k = 8 at most, and the other arm, which stays level, drew 16."""
    up, level = (Fate(base=name, start=0.1, end=0.1) for name in ("up", "level"))
    ahead = write_counts(tmp_path, [0] * 100, [9] * 100, samples=12, fate=up)
    other = write_counts(tmp_path, [4] * 100, [4] * 100, samples=16, fate=level)
    text = findings(compare(load_runs([ahead, other])[0]))
    assert "up stays ahead of its base up to k = 8, the largest tested." in text


def test_a_broken_forecast_is_counted_and_named(tmp_path):
    folders = [write_run(tmp_path, fate) for fate in (LATENT, WORKED)]
    rows = [json.loads(line) for line in (folders[0] / "metrics.jsonl").read_text().splitlines()]
    rows[0]["frac_reward_zero_std"] = 0.25
    (folders[0] / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)))
    text = findings(compare(load_runs(folders)[0]))
    assert "in 1 of 2 runs (not in tiny-latent-tiny-s0)" in text
    for folder in folders:
        (folder / "metrics.jsonl").write_text(json.dumps(rows[1]))
    text = findings(compare(load_runs(folders)[0]))
    assert "No forecast could be scored: every run did not log step 1, or was audited with fewer samples" in text


def test_why_no_forecast_is_scored_is_told_of_controls_and_samplers(tmp_path):
    coin = write_run(tmp_path, replace(LATENT, recipe="coin", control_of="tiny"))
    chosen = write_run(tmp_path, WORKED, changes=Changes(manifest={"sampler": "edge"}))
    told = findings(compare(load_runs([coin])[0]))
    assert "No forecast could be scored: every run is a control, whose reward no audit foretells." in told
    told = findings(compare(load_runs([coin, chosen])[0]))
    assert "reward no audit foretells, or had a sampler choose its problems." in told


def test_seeds_of_one_base_may_have_different_fates(tmp_path):
    folders = [write_run(tmp_path, LATENT, 0), write_run(tmp_path, replace(LATENT, end=0.01), 1)]
    study = compare(load_runs(folders)[0])
    assert "tiny-latent took off in 1 of 2 seeds" in findings(study)
    assert study.arms[0].took_off == 1


def test_rank_correlation_is_spearmans():
    rng = np.random.default_rng(0)
    for size in (3, 8, 20):
        one, other = rng.integers(0, 6, size), rng.integers(0, 6, size)
        assert rank_correlation(list(one), list(other)) == pytest.approx(spearmanr(one, other).statistic, abs=1e-6)
    assert rank_correlation([1, 1, 1], [1, 2, 3]) is None


def test_out_folders_hold_one_comparison_each(tmp_path):
    runs = load_runs([write_run(tmp_path, fate) for fate in TINY])[0]
    claim(tmp_path / "out", runs)
    claim(tmp_path / "out", runs[::-1])
    with pytest.raises(UsageError, match="comparison of other runs"):
        claim(tmp_path / "out", runs[:2])
    with pytest.raises(UsageError, match="run folder"):
        claim(runs[0].folder, runs)


def test_figures_are_the_same_bytes_every_time(tmp_path):
    study = laid_out(tmp_path, (LATENT, WORKED), problems=32)
    for out in ("a", "b"):
        (tmp_path / out).mkdir()
    first, second = draw(study, tmp_path / "a"), draw(study, tmp_path / "b")
    assert [path.suffix for path in first] == [".png", ".svg"] * 6
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_the_script_writes_everything_and_refuses_politely(tmp_path):
    runs = [write_run(tmp_path / "runs", fate, problems=32) for fate in TINY]
    command = [sys.executable, str(SCRIPT), *map(str, runs), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    paragraph = (tmp_path / "out" / "findings.txt").read_text()
    assert " ".join(paragraph.split()) in " ".join(done.stdout.split())
    assert paragraph.strip().replace("'", "&#39;") in (tmp_path / "out" / "report.html").read_text()
    refused = subprocess.run([*command[:3], *command[-2:]], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: ")
    assert "Traceback" not in refused.stderr


def test_comparing_needs_no_torch():
    heavy = ("torch", "transformers", "trl", "datasets", "vllm")
    code = f"import sys, evals.findings, evals.figures, evals.runs; sys.exit(any(m in sys.modules for m in {heavy}))"
    subprocess.run([sys.executable, "-c", code], check=True)


def write_baseline(root, kind, fate, seed=0, *, changes=None, settings=None):
    """A baseline of the fate's base: it ends where the fate does."""
    folder = write_run(root / kind, fate, seed, changes=changes)
    audits = [json.loads((folder / f"audit-{name}.json").read_text()) for name in ("start", "end")]
    start, end = (mean_over_problems(np.array([p["correct"] / 64 for p in audit["problems"]])) for audit in audits)
    for name in ("audit-signal.json", "metrics.jsonl"):
        (folder / name).unlink()
    gain = {"value": end.value - start.value, "low": 0.1, "high": 0.9, "n": end.n}
    budget = {"sampled_tokens": 1000, "training_tokens": 2000, "loss_tokens": 900}
    about = {"run": f"{kind}-{seed}", "kind": kind, "recipe": kind, "gain": gain, "budget": budget}
    rewrite(folder / "manifest.json", **about, settings={"seed": seed, **(settings or {})})
    return folder


HALF = Fate(base="tiny-latent", start=0.0, end=0.5)


def test_baselines_stand_beside_rl_with_their_kind_and_tokens_and_not_among_its_arms(tmp_path):
    runs, _ = load_runs([write_run(tmp_path, LATENT)])
    baselines, left_out = load_baselines([write_baseline(tmp_path, "sft", HALF)], runs[0])
    assert left_out == []
    laid = compare(runs, (), baselines)
    assert [arm.label for arm in laid.arms] == ["tiny-latent"]
    rows = table(laid)
    assert [row["kind"] for row in rows] == ["grpo", "sft"]
    assert (rows[1]["sampled_tokens"], rows[1]["training_tokens"]) == (1000, 2000)
    assert rows[1]["pass_at_1_end"] == pytest.approx(baselines[0].end.correct.mean() / 64, abs=1e-6)
    lead = (runs[0].end.correct.mean() - baselines[0].end.correct.mean()) / 64
    text = findings(laid)
    budget, final = "1,000 tokens sampled and 2,000 tokens trained on", 100 * baselines[0].end.pass_at_k.read[1].value
    assert f"Without RL, sft from tiny-latent ({budget}) ended at {final:.1f}%" in text
    assert f"tiny-latent by GRPO {100 * lead:.1f} points above it" in text


def test_a_baseline_is_held_against_rl_of_its_own_seeds_and_only_what_differs_by_seed_is_averaged(tmp_path):
    runs, _ = load_runs([write_run(tmp_path, LATENT, seed) for seed in (0, 1, 2)])
    folders = [write_baseline(tmp_path, "sft", HALF, seed) for seed in (1, 2, 3)]
    folders.append(write_baseline(tmp_path / "more", "sft", HALF, 1, settings={"examples": 5}))
    baselines, _ = load_baselines(folders, runs[0])
    assert [len(group) for group in by_settings(baselines)] == [3, 1]
    (arm,) = compare(runs, (), baselines).arms
    gap, seeds = ahead(arm, baselines[:3])
    assert seeds == [1, 2]
    rl, other = ([one.end.correct.mean() / 64 for one in ends] for ends in (runs[1:], baselines[:2]))
    assert gap.value == pytest.approx(np.mean(rl) - np.mean(other))
    assert ahead(arm, baselines[2:3]) is None


def test_a_baseline_measured_otherwise_is_refused_but_for_the_examples_of_few_shot(tmp_path):
    runs, _ = load_runs([write_run(tmp_path, LATENT)])
    other = write_baseline(tmp_path, "sft", HALF, changes=Changes(audit={"template": "r1"}))
    with pytest.raises(UsageError, match=r"differ in template \('qa' and 'r1'\)"):
        load_baselines([other], runs[0])
    for kind, allowed in (("few-shot", True), ("rejection", False)):
        folder = write_baseline(tmp_path, kind, HALF)
        rewrite(folder / "audit-end.json", template="qa+4shot")
        if allowed:
            assert load_baselines([folder], runs[0])[0][0].end.template == "qa+4shot"
        else:
            with pytest.raises(UsageError, match="differ in template"):
                load_baselines([folder], runs[0])


def test_unfinished_baselines_are_left_out_by_name_and_baselines_alone_are_refused(tmp_path):
    rl, good, failed = (
        write_run(tmp_path, LATENT),
        *(write_baseline(tmp_path, kind, HALF) for kind in ("sft", "rejection")),
    )
    rewrite(failed / "manifest.json", status="failed")

    def typed(*folders):
        command = [sys.executable, str(SCRIPT), *map(str, folders), "--out", str(tmp_path / "out")]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    done = typed(good, rl, failed)
    assert done.returncode == 0, done.stderr
    assert "sft-0 (sft)" in done.stdout
    assert "left out: rejection-0 is failed" in done.stdout
    assert "add the folder of a GRPO run" in typed(good).stderr


def test_tokens_of_a_run_are_those_of_its_kept_training_rollouts_times_the_iterations(tmp_path):
    folder = write_run(tmp_path, LATENT)
    assert spent(folder) is None
    rows = [{"problem_id": "a", "prompt_tokens": 5, "completion_tokens": n, "step": 1} for n in (3, 4)]
    store = RolloutStore(folder / "rollouts" / "train")
    store.append(rows)
    store.append(rows[:1])
    rewrite(folder / "manifest.json", settings={"recipe": {"grpo": {"num_iterations": 2}}})
    budget = spent(folder)
    assert (budget.sampled_tokens, budget.training_tokens) == (3 + 4 + 3, 2 * (3 + 4 + 3 + 3 * 5))
    (folder / "metrics.jsonl").write_text('{"step": 1, "resampled/thrown_tokens": 8}\n')  # the last one, prompt and all
    assert (spent(folder).sampled_tokens, spent(folder).training_tokens) == (3 + 4 + 3, 2 * (3 + 4 + 2 * 5))


def test_a_run_whose_sampler_chose_the_problems_is_not_held_against_a_forecast_of_all(tmp_path):
    changed = Changes(manifest={"sampler": "posterior"})
    plain, chosen = (
        load_run(write_run(tmp_path / name, LATENT, changes=changes)) for name, changes in (("a", None), ("b", changed))
    )
    assert compare([plain]).singles[0].forecasts[0] is not None
    assert compare([chosen]).singles[0].forecasts == (None,)
