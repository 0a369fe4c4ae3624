"""Worked examples before the question: what a base can do once it is shown what is wanted."""

from __future__ import annotations

import random

from configs.errors import UsageError
from configs.schema import Reader, Template
from rewards.grade import grade
from rewards.suites import ProblemSet
from rewards.types import Problem

BETWEEN = "\n\n###\n\n"
"""Between examples, and a stop string: a base that goes on with an example of its own is cut there."""

_FORMS: dict[Reader, str] = {
    "boxed": r"The answer is \boxed{{{answer}}}.",
    "answer-tag": "<answer> {answer} </answer>",
    "answer-line": "Answer: {answer}",
    "first-number": "{answer}",
    "any": r"The answer is \boxed{{{answer}}}.",
}


def few_shot(template: Template, suite: ProblemSet, source: ProblemSet, *, shots: int, seed: int) -> Template:
    """The template with `shots` worked examples before every question, the same for all.

    Drawn by `seed` from problems of `source` whose question and id are not in `suite`, each answered in the form the
    template reads, after its solution where the set has one. Raises UsageError when `source` has too few.
    """
    asked = {problem.question for problem in suite.problems} | {problem.id for problem in suite.problems}
    usable = [
        each for each in source.problems if each.id not in source.bad_gold and not {each.id, each.question} & asked
    ]
    if len(usable) < shots:
        raise UsageError(
            f"{source.name} has {len(usable)} problems that {suite.name} does not ask, and --shots is {shots}; "
            "lower --shots or name a larger set with --shots-from"
        )
    drawn = random.Random(seed).sample(usable, shots)
    examples = "".join(template.ask(each.question) + worked_reply(template, each) + BETWEEN for each in drawn)
    return template.model_copy(
        update={
            "name": f"{template.name}+{shots}shot",
            "prompt": examples.replace("{problem}", "{ problem }") + template.prompt,
            "stop": [*template.stop, BETWEEN.rstrip()],
        }
    )


def worked_reply(template: Template, problem: Problem) -> str:
    """What a base should say to a problem: its solution, then its answer in the form the template reads.

    A solution that gives the answer in that form already stays as it is. Starts with a space where the prompt doesn't
    end in white space.
    """
    space = "" if template.prompt[-1].isspace() else " "
    solution = (problem.solution or "").partition("####")[0].strip()
    if template.strict == "first-number":  # working would be read at its first number
        solution = ""
    if solution and template.strict != "any" and grade(problem, solution, template, reading="strict").correct:
        return space + solution
    answer = _FORMS[template.strict].format(answer=problem.answer)
    closing = "</think> " if template.thinking == "opened" else ""
    return space + "\n".join(part for part in (solution, closing + answer) if part)
