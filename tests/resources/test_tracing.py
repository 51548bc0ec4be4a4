"""Real runs, a real OTLP receiver, and collectors that are away or never answer."""

import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import dagster as dg
import pytest
from dagster._core.definitions.reconstruct import ReconstructableJob
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from resources.redaction import REDACTOR
from resources.tracing import (
    SpanPlace,
    Tracing,
    body_span_id,
    derive_trace_id,
    otlp_trace_id,
    parse_traceparent,
    read_spans,
    run_span_id,
    step_span_id,
)
from resources.tracing_replay import TRACE_TAG, TRACEPARENT_TAG, replay_run

RUN = "0b2b6c1a-1111-4222-8333-444455556666"


class Receiver(http.server.BaseHTTPRequestHandler):
    spans: ClassVar[list] = []

    def do_POST(self) -> None:
        request = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[str]:
    Receiver.spans = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def work(tracing: Tracing, attempt: int = 0) -> None:
    with tracing.body("a" * 32, RUN, "audio_features", attempt, {"files": 2}):
        for _ in range(2):
            with tracing.span("decode"):
                pass


def test_ids_follow_from_the_run_alone_and_differ_by_attempt(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        work(Tracing(tmp_path / folder))
    one, two = (read_spans(tmp_path / folder) for folder in ("one", "two"))
    assert [span["spanId"] for span in one] == [span["spanId"] for span in two] and len(one) == 3
    assert one[0]["spanId"] == body_span_id(RUN, "audio_features", 0)
    assert one[0]["parentSpanId"] == step_span_id(RUN, "audio_features", 0)
    assert {span["parentSpanId"] for span in one[1:]} == {one[0]["spanId"]}
    assert len({step_span_id(RUN, "a", 0), step_span_id(RUN, "a", 1), body_span_id(RUN, "a", 0), run_span_id(RUN)}) == 4
    assert otlp_trace_id("order-17") == derive_trace_id("order-17") and otlp_trace_id("a" * 32) == "a" * 32


def test_no_secret_and_no_line_break_leaves_in_an_attribute(tmp_path: Path) -> None:
    REDACTOR.add("span-canary-1234")
    with Tracing(tmp_path).span("work", {"url": "redis://u:pass12@h", "artist": "a\nb", "api_token": "abcd"}) as span:
        span.set(note="is span-canary-1234", files=3)
    (text,) = [path.read_text() for path in tmp_path.iterdir()]
    assert not any(one in text for one in ("span-canary-1234", "pass12", "abcd")) and '"intValue": "3"' in text
    assert len(text.splitlines()) == 1 and "a\\\\nb" in text


def test_a_child_in_another_process_hangs_below_the_span_it_was_given(tmp_path: Path) -> None:
    tracing = Tracing(tmp_path)
    code = (
        "import sys; from pathlib import Path; from resources.tracing import Tracing, parse_traceparent\n"
        "with Tracing(Path(sys.argv[1])).span('decode', parent=parse_traceparent(sys.argv[2])): pass\n"
        "assert not any(name.startswith('opentelemetry') for name in sys.modules)"
    )
    with tracing.span("body", place=SpanPlace("b" * 32, "c" * 16)) as span:
        subprocess.run([sys.executable, "-c", code, str(tmp_path), span.place.traceparent()], check=True)
    child = next(span for span in read_spans(tmp_path, "b" * 32) if span["name"] == "decode")
    assert child["parentSpanId"] == "c" * 16
    assert parse_traceparent("00-" + "0" * 32 + "-" + "c" * 16 + "-01") is None


def test_a_collector_gets_the_spans_and_no_file_is_written(tmp_path: Path, collector: str) -> None:
    tracing = Tracing(tmp_path / "spans", collector)
    with pytest.raises(ValueError, match="secret"), tracing.body("a" * 32, RUN, "step", 0):
        raise ValueError("secret text")
    (span,) = Receiver.spans
    assert span.span_id.hex() == body_span_id(RUN, "step", 0) and span.trace_id.hex() == "a" * 32
    assert span.status.code == 2 and span.status.message == "ValueError"
    assert not (tmp_path / "spans").exists()


def drip(listener: socket.socket) -> None:
    """Answers a byte at a time for two seconds: no read ever times out, and the answer never comes."""
    connection, _ = listener.accept()
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Header: ")
    for _ in range(10):
        connection.sendall(b"x")
        time.sleep(0.2)
    connection.close()


@pytest.mark.parametrize("kind", ["closed port", "black hole", "endless answer"])
def test_a_collector_that_is_away_costs_under_a_second_a_step_and_loses_nothing(tmp_path: Path, kind: str) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if kind != "closed port":
            listener.listen(50)  # connections are taken, nothing is ever answered
        if kind == "endless answer":
            threading.Thread(target=drip, args=(listener,), daemon=True).start()
        tracing = Tracing(tmp_path, f"http://127.0.0.1:{listener.getsockname()[1]}")
        for attempt in range(3):
            before = time.monotonic()
            work(tracing, attempt)
            assert time.monotonic() - before < 5.0  # a call that waits for the collector takes its 10 s
        time.sleep(0.3)
        assert tracing.flush(6.0)
    assert len(read_spans(tmp_path)) == 9


def test_a_process_whose_collector_is_a_black_hole_ends_soon(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from resources.tracing import Tracing\n"
        "tracing = Tracing(Path(sys.argv[1]), sys.argv[2])\n"
        "with tracing.span('late'): pass\n"
        "print(time.monotonic(), flush=True)"
    )
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(5)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        answer = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path), url], capture_output=True, text=True, timeout=30
        )
        ended = time.monotonic()
    assert answer.returncode == 0 and ended - float(answer.stdout) < 8.0
    assert [span["name"] for span in read_spans(tmp_path)] == ["late"]


@dg.op(retry_policy=dg.RetryPolicy(max_retries=1))
def first(context: dg.OpExecutionContext) -> int:
    if context.retry_number == 0:
        raise RuntimeError("first attempt")
    return 1


@dg.op
def second(number: int) -> None:
    pass


@dg.op
def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@dg.job(executor_def=dg.in_process_executor)
def retried_job() -> None:
    second(first())


@dg.job(executor_def=dg.multiprocess_executor)
def killed_job() -> None:
    killed()


def test_a_retried_run_is_replayed_with_both_attempts_and_again_without_change(tmp_path: Path) -> None:
    with dg.instance_for_test() as instance:
        result = retried_job.execute_in_process(instance=instance, tags={TRACE_TAG: "caller-7"})
        tracing = Tracing(tmp_path)
        assert replay_run(instance, result.run_id, tracing) == 4
        once = read_spans(tmp_path, "caller-7")
        replay_run(instance, result.run_id, tracing)
        assert read_spans(tmp_path, "caller-7") == once
        by_id = {span["spanId"]: span for span in once}
        assert by_id[step_span_id(result.run_id, "first", 0)]["status"]["code"] == 2
        assert by_id[step_span_id(result.run_id, "first", 1)]["status"]["code"] == 1
        upstream = by_id[step_span_id(result.run_id, "second", 0)]["links"]
        assert [link["spanId"] for link in upstream] == [step_span_id(result.run_id, "first", 1)]
        assert {span["parentSpanId"] for span in once} == {"", run_span_id(result.run_id)}
        with pytest.raises(LookupError):
            replay_run(instance, "none", tracing)


def test_a_step_killed_with_signal_9_has_its_span(tmp_path: Path) -> None:
    parent = SpanPlace("d" * 32, "e" * 16)
    with dg.instance_for_test() as instance:
        result = dg.execute_job(
            ReconstructableJob.for_file(__file__, "killed_job"),
            instance,
            tags={TRACEPARENT_TAG: parent.traceparent()},
            raise_on_error=False,
        )
        replay_run(instance, result.run_id, Tracing(tmp_path))
    run, step = sorted(read_spans(tmp_path, "d" * 32), key=lambda span: span["name"])
    assert step["spanId"] == step_span_id(result.run_id, "killed", 0) and step["status"]["code"] == 2
    assert run["parentSpanId"] == "e" * 16 and run["status"]["message"] == "FAILURE"
