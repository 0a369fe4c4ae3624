"""The process that runs math-verify, so that it can be killed. Started by rewards/verify.py as a plain file.

Reads one JSON pair [gold, answer] a line; answers one byte: 1 equal, 0 not equal, u one of them can't be parsed.
Imports nothing of this project: a file here must run without the project on the path.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import sys

MEMORY_BYTES = 2 * 2**30
SECONDS_ALONE = 15  # an orphan stuck inside one item ends itself after this long; the parent's own limit is shorter


def main() -> None:
    """Serve pairs until stdin closes, which it does when the parent ends, however it ends."""
    replies = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nothing a library prints can be taken for a reply
    logging.disable(logging.CRITICAL)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    from math_verify import LatexExtractionConfig, parse, verify

    config = [LatexExtractionConfig()]  # the expression reader ends in parse_expr, which evaluates Python

    def compare(gold: str, answer: str) -> bytes:
        # Outside $...$ math-verify reads only the last number. Its own time limits are signals: switched off.
        left, right = (parse(f"${text}$", config, "no_fallback", parsing_timeout=0) for text in (gold, answer))
        if not left or not right:
            return b"u"
        return b"1" if verify(left, right, timeout_seconds=None) else b"0"

    compare(r"\frac{x}{2}+\sqrt{3}", r"\frac{x}{2}+3")  # loads the grammar and sympy before the first clock starts
    os.write(replies, b"r")
    os.dup2(1, 2)
    for line in sys.stdin:
        signal.alarm(SECONDS_ALONE)
        gold, answer = json.loads(line)
        try:
            reply = compare(gold, answer)
        except (MemoryError, RecursionError):
            reply = b"u"
        signal.alarm(0)
        os.write(replies, reply)


if __name__ == "__main__":
    main()
