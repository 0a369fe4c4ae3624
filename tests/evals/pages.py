"""report.html opened in a real browser, and what a test waits for in it."""

from __future__ import annotations

import re
from contextlib import contextmanager

from evals.browse import browse
from evals.compare import compare
from evals.findings import findings
from evals.report import render, write
from evals.report_parts import facts, parts
from evals.runs import load_runs


@contextmanager
def opened(chromium, path, *, first=lambda page: None, **options):
    """The page in a fresh profile; it must say nothing on the console, ask for nothing, and open no dialog.

    `first` is called with the page while it is blank.
    """
    context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
    page, heard = context.new_page(), []
    page.on("console", lambda message: heard.append(("console", message.text)))
    page.on("pageerror", lambda error: heard.append(("error", str(error))))
    page.on("dialog", lambda dialog: (heard.append(("dialog", dialog.message)), dialog.dismiss()))
    page.on("request", lambda request: request.url == path.as_uri() or heard.append(("request", request.url)))
    page.on("popup", lambda popup: heard.append(("popup", popup.url)))
    first(page)
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


def shown(page):
    return int(page.locator(".count").inner_text().split(" of ")[0].replace(",", ""))


def counts(page, rollouts):
    """Wait until so many are shown."""
    from playwright.sync_api import expect

    expect(page.locator(".count")).to_have_text(re.compile(rf"^{rollouts} of "))
