"""A server may say anything or nothing: what it drew is kept, what it did not is asked for again or told simply."""

from __future__ import annotations

import json
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from configs.errors import UsageError
from configs.load import load_template
from evals import endpoint
from evals.audit import AuditSpec, run_audit
from evals.endpoint import Endpoint
from evals.models import BaseText, load_text
from evals.rollouts import RolloutStore
from evals.sampling import Request, Rollout, Sampling, sample_seed
from evals.vllm_engine import VllmEngines
from rewards.suites import load_problems

SAMPLING = Sampling(temperature=1.0, top_p=1.0, max_tokens=12, seed=3)
Fault = Callable[["Handler"], None]


class Fake(ThreadingHTTPServer):
    """Says ` \\boxed{SEED}` to all, after the faults that are set for the first requests are used up."""

    daemon_threads = True

    def __init__(self, *, models: Any = None, bare: bool = False, slow: float = 0.0) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.models = models or {"data": [{"id": "tiny", "max_model_len": 200}]}
        self.bare, self.slow = bare, slow
        self.faults: list[Fault] = []
        self.lock = threading.Lock()
        self.asked: list[dict[str, Any]] = []
        self.now = self.most = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Fake

    def log_message(self, *_: Any) -> None:
        pass

    def say(self, content: Any, status: int = 200, **headers: str) -> None:
        body = content.encode() if isinstance(content, str) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.say(self.server.models)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.asked.append(body)
            fault = self.server.faults.pop(0) if self.server.faults else None
            self.server.now += 1
            self.server.most = max(self.server.most, self.server.now)
        time.sleep(self.server.slow)
        with self.server.lock:
            self.server.now -= 1  # before the answer: who has it may ask again at once
        if fault:
            fault(self)
        else:
            text = f" \\boxed{{{body['seed']}}}"
            choice: dict[str, Any] = {"text": text, "finish_reason": "stop"}
            if not self.server.bare:
                choice |= {"token_ids": [*text.encode(), 256], "logprobs": {"token_logprobs": [-0.5] * (len(text) + 1)}}
            self.say({"choices": [choice], "usage": {"completion_tokens": len(text) + 1}})


def status(code: int, **headers: str) -> Fault:
    return lambda handler: handler.say("no", code, **headers)


def nothing(handler: Handler) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)


def asleep(handler: Handler) -> None:
    time.sleep(1.5)


FAULTS: dict[str, Fault] = {
    "500": status(500),
    "429": status(429, Retry_After="0"),
    "503 in words": status(503, Retry_After="Fri, 31 Dec 2027 23:59:59 GMT"),
    "a web page": lambda handler: handler.say("<html>login</html>"),
    "another shape": lambda handler: handler.say({"choices": []}),
    "no finish": lambda handler: handler.say(
        {"choices": [{"text": "x", "finish_reason": "abort"}], "usage": {"completion_tokens": 1}}
    ),
    "half a completion": lambda handler: handler.say('{"choices": [{"text": "'),
    "nothing": nothing,
    "no answer in time": asleep,
}


@pytest.fixture(scope="module")
def text(short_base: Path) -> BaseText:
    return load_text(str(short_base), revision=None, stop_token_ids=None, cache=short_base.parent)


@contextmanager
def served(server: Fake) -> Iterator[Fake]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def endpoint_of(server: Fake, text: BaseText, concurrency: int = 4) -> Endpoint:
    return Endpoint(server.url, text, names=["tiny"], concurrency=concurrency, patience=1.0)


def requests_of(count: int) -> list[Request]:
    return [Request(problem_id=f"p/{i // 4}", sample=i % 4, prompt="Question: 1+1=?\nAnswer:") for i in range(count)]


def rows(drawn: list[Rollout]) -> dict[tuple[str, int], Rollout]:
    found = {(one.problem_id, one.sample): one for one in drawn}
    assert len(found) == len(drawn)
    return found


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "_backoff", lambda state: 0.0)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_tried_again_and_no_sample_is_lost(name: str, text: BaseText) -> None:
    with served(Fake()) as server, endpoint_of(server, text) as reached:
        server.faults = [FAULTS[name]] * 3
        drawn = [one for part in reached.engine(["\n"]).stream(requests_of(24), SAMPLING) for one in part]
    found = rows(drawn)
    assert len(server.asked) == 24 + 3
    for request in requests_of(24):
        row = found[request.problem_id, request.sample]
        said = f" \\boxed{{{sample_seed(SAMPLING, request)}}}"
        assert (row.completion, row.finish, row.seed) == (said, "stop", 3)
        assert row.prompt_tokens == len(request.prompt)
        assert row.completion_tokens == len(said) + 1  # the end token counts
        assert row.logprob == pytest.approx(-0.5 * row.completion_tokens)


@pytest.mark.usefixtures("at_once")
def test_a_server_that_fails_for_good_ends_the_audit_and_what_was_drawn_is_kept(text: BaseText, tmp_path: Path) -> None:
    suite = load_problems("sums").first(10)
    spec = AuditSpec(
        base="tiny",
        step=0,
        suite=suite,
        template=load_template("qa"),
        reading="strict",
        sampling=SAMPLING,
        samples=4,
    )
    store = RolloutStore(tmp_path)

    class Dying(Fake):
        """Draws 15 completions and then nothing."""

        def finish_request(self, *given: Any) -> None:
            if len(self.asked) >= 15 and not self.faults:
                self.faults = [status(500)] * 10_000
            super().finish_request(*given)

    gone = pytest.raises(UsageError, match=r"failed 8 times over \(HTTP 500\)\. What was drawn is kept")
    with served(Dying()) as server, endpoint_of(server, text, concurrency=1) as reached, gone:
        run_audit(reached.engine([]), spec, store)
    assert sum(1 for _ in store.rows()) == 15
    with served(Fake()) as server, endpoint_of(server, text) as reached:
        run_audit(reached.engine([]), spec, store)
    assert len(server.asked) == 25
    assert len({(row["problem_id"], row["sample"]) for row in store.rows()}) == 40


def test_a_refusal_is_told_and_not_tried_again(text: BaseText) -> None:
    for code in (400, 401, 404, 422):
        with served(Fake()) as server, endpoint_of(server, text, concurrency=1) as reached:
            server.faults = [status(code)] * 100
            with pytest.raises(UsageError, match=f"refuses a request for tiny with HTTP {code}: no"):
                list(reached.engine([]).stream(requests_of(8), SAMPLING))
            assert len(server.asked) <= 2  # the next one may be on its way


def test_a_wait_that_the_server_asks_for_is_kept(text: BaseText) -> None:
    with served(Fake()) as server, endpoint_of(server, text) as reached:
        server.faults = [status(429, Retry_After="2")]
        began = time.perf_counter()
        list(reached.engine([]).stream(requests_of(1), SAMPLING))
    assert 2 <= time.perf_counter() - began < 10


def test_no_more_requests_at_a_time_than_asked_for(text: BaseText) -> None:
    with served(Fake(slow=0.05)) as server, endpoint_of(server, text, concurrency=5) as reached:
        assert sum(len(part) for part in reached.engine([]).stream(requests_of(40), SAMPLING)) == 40
    assert server.most == 5


def test_a_server_without_token_ids_and_logprobs_is_read_by_its_text(text: BaseText) -> None:
    with served(Fake(bare=True)) as server, endpoint_of(server, text) as reached:
        (one,) = next(reached.engine(["</answer>"]).stream(requests_of(1), SAMPLING))
    assert one.completion.startswith(" \\boxed{")
    assert one.completion_tokens == len(one.completion) + 1
    assert math.isnan(one.logprob)
    assert server.asked[0]["stop"] == ["</answer>"]
    assert server.asked[0]["include_stop_str_in_output"] is True


def test_the_context_is_the_shorter_of_the_bases_and_the_servers(text: BaseText) -> None:
    with served(Fake()) as server, endpoint_of(server, text) as reached:
        fits, long = "x" * (200 - 12), "x" * (200 - 11)
        asked = [Request(problem_id=one, sample=0, prompt=one) for one in (fits, long)]
        found = rows([one for part in reached.engine([]).stream(asked, SAMPLING) for one in part])
    assert found[fits, 0].finish == "stop"
    assert (found[long, 0].finish, found[long, 0].completion) == ("context", "")
    assert len(server.asked) == 1


def test_a_server_that_is_not_there_or_serves_others_is_refused_before_anything(text: BaseText) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for url in (f"http://127.0.0.1:{port}/v1", "localhost:8000/v1"):
        with pytest.raises(UsageError, match=r"no server of OpenAI's API answers at .* start one, such as"):
            Endpoint(url, text, names=["tiny"], concurrency=1)
    others = {"data": [{"id": "a"}, {"id": "b"}]}
    for models, told in [(others, "serves a, b, none of which is tiny"), ({"hello": "world"}, "no server of OpenAI")]:
        with served(Fake(models=models)) as server, pytest.raises(UsageError, match=told):
            endpoint_of(server, text)


def test_the_script_says_what_to_type(script: Callable[..., Any], short_base: Path) -> None:
    for arguments in (["--engine", "openai"], ["--url", "http://127.0.0.1:1/v1"]):
        done = script("audit", "--base", short_base, *arguments)
        assert done.returncode == 2
        assert "--engine openai and --url go together" in done.stderr


@pytest.fixture(scope="module")
def server(short_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """vLLM's own API server on this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(short_base)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--dtype", "float32", "--enforce-eager"]
    log = (tmp_path_factory.mktemp("server") / "log.txt").open("wb")
    process = subprocess.Popen(
        command,
        cwd=short_base,
        env={**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1"},
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    url = f"http://127.0.0.1:{port}/v1"
    give_up = time.monotonic() + 240
    while time.monotonic() < give_up and process.poll() is None:
        try:
            httpx.get(f"{url}/models").raise_for_status()
            break
        except httpx.HTTPError:
            time.sleep(0.5)
    yield url, process
    log.close()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)


def test_vllms_own_server_draws_what_the_vllm_engine_draws_until_it_dies(
    server: tuple[str, subprocess.Popen[bytes]], vllm: VllmEngines, text: BaseText, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, process = server
    asked = [
        Request(problem_id=problem.id, sample=sample, prompt=load_template("qa").ask(problem.question))
        for problem in load_problems("sums").first(100).problems
        for sample in range(8)
    ]
    monkeypatch.setattr(endpoint, "TRIES", 2)
    monkeypatch.setattr(endpoint, "PART_ROWS", 100)
    with Endpoint(url, text, names=["tiny"], concurrency=16) as reached:
        for stops in (["\nQuestion:", "0"], []):
            mine, theirs = (
                rows([one for part in engine(stops).stream(asked[:160], SAMPLING) for one in part])
                for engine in (reached.engine, vllm.engine)
            )
            assert mine.keys() == theirs.keys()
            for key, one in mine.items():
                assert one.logprob == pytest.approx(theirs[key].logprob, abs=1e-3)
                assert (one.completion, one.finish, one.completion_tokens, one.prompt_tokens) == (
                    theirs[key].completion,
                    theirs[key].finish,
                    theirs[key].completion_tokens,
                    theirs[key].prompt_tokens,
                )
        kept: list[Rollout] = []

        def keep_and_kill() -> None:
            for part in reached.engine([]).stream(asked, SAMPLING):
                kept.extend(part)
                os.killpg(process.pid, signal.SIGKILL)  # vLLM's model runs in a child that outlives it

        with pytest.raises(UsageError, match="failed 2 times over"):
            keep_and_kill()
    assert 0 < len(rows(kept)) < len(asked)
    whole = rows([one for part in vllm.engine([]).stream(asked, SAMPLING) for one in part])
    assert {key: one.completion for key, one in rows(kept).items()} == {
        key: one.completion for key, one in whole.items() if key in rows(kept)
    }
