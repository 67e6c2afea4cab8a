"""A run seen from outside: traces and metrics that arrive at real servers, log lines, no secret."""

import gzip
import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

import autodata
from tests.outside import DEMO, Folder, Simulated
from tests.processes import apart, simulation, started

KEY = "sk-planted-7f3a9c51d2"
DOCUMENTS = ("work-stealing-scheduler.md", "leader-lease-reads.md")
ROLES = {"challenger", "verifier", "weak_solver", "judge", "orchestrator"}
INGEST = {  # how LangSmith is to be sent traces
    "use_multipart_endpoint": False,
    "scale_up_qsize_trigger": 1000,
    "scale_up_nthreads_limit": 4,
    "scale_down_nempty_trigger": 4,
    "size_limit": 100,
    "size_limit_bytes": 20_971_520,
}
WATCHED = ("OTEL_", "LANGSMITH_", "LANGCHAIN_", "AUTODATA_LOG")


@dataclass
class Collector:
    """What arrives at a server that plays OpenTelemetry's collector and LangSmith."""

    url: str = ""
    requests: list[tuple[str, bytes]] = field(default_factory=list)

    def bodies(self, path: str) -> list[bytes]:
        return [body for at, body in self.requests if at == path]

    def spans(self) -> list[Any]:
        found = map(ExportTraceServiceRequest.FromString, self.bodies("/v1/traces"))
        scopes = (s for one in found for r in one.resource_spans for s in r.scope_spans)
        return [span for scope in scopes for span in scope.spans]

    def metrics(self) -> dict[str, Any]:
        found = map(ExportMetricsServiceRequest.FromString, self.bodies("/v1/metrics"))
        scopes = (s for one in found for r in one.resource_metrics for s in r.scope_metrics)
        return {metric.name: metric for scope in scopes for metric in scope.metrics}

    def traces(self) -> list[dict[str, Any]]:
        """LangSmith's runs, each as it was begun and with what became known at its end."""
        runs: dict[str, dict[str, Any]] = {}
        for body in self.bodies("/runs/batch"):
            said = json.loads(body)
            for run in (*said.get("post", ()), *said.get("patch", ())):
                runs.setdefault(run["id"], {}).update(run)
        return list(runs.values())


@contextmanager
def collecting(status: int = 200, says: object = None) -> Iterator[Collector]:
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(json.dumps({"batch_ingest_config": INGEST}))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            collector.requests.append((self.path, body))
            self.answer(json.dumps(says) if says else "")

        def answer(self, text: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None:
            """Nothing is printed."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()


@dataclass
class Seen:
    """A run, and everything that anybody could see of it."""

    folder: Folder
    collector: Collector
    printed: str
    run: autodata.Run
    lines: list[dict[str, Any]]

    def everything(self) -> bytes:
        files = (file for file in self.folder.path.rglob("*") if file.is_file())
        seen = [file.read_bytes() for file in files]
        return b"\n".join([*seen, self.printed.encode(), *(b for _, b in self.collector.requests)])


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    """A run with a key, traced by everybody at once."""
    folder = Folder(tmp_path_factory.mktemp("seen"))
    (folder.path / "docs").mkdir()
    for name in DOCUMENTS:
        shutil.copy(DEMO / "cs" / name, folder.path / "docs")
    words = ("--port", "0", "--key", KEY)
    with started(simulation, words) as process, collecting() as collector:
        server = Simulated(process.stdout.readline().split(" at ")[1].split()[0])
        folder.configure(server.base_url)
        folder.env = {k: v for k, v in folder.env.items() if not k.startswith(WATCHED)} | {
            "SIMULATED_KEY": KEY,
            "OPENAI_API_KEY": KEY,
            "LANGSMITH_TRACING": "true",
            "LANGSMITH_ENDPOINT": collector.url,
            "LANGSMITH_API_KEY": KEY,
            "LANGSMITH_PROJECT": "seen",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_EXPORTER_OTLP_HEADERS": f"authorization={KEY}",
        }
        run = ("run", "docs", "--task", "cs", "--out", "run", "--rounds", "4")
        with folder.started(*run, "--log-json", "log.jsonl") as command:
            printed = command.stdout.read()
            assert command.wait() == 0, printed
        folder("export", "run", "--format", "jsonl")
        folder("report", "run")
        lines = [json.loads(x) for x in (folder.path / "log.jsonl").read_text().splitlines()]
        yield Seen(folder, collector, printed, autodata.open(folder.path / "run"), lines)


def attributes(span: Any) -> dict[str, Any]:
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in span.attributes}


def named(spans: list[Any], prefix: str) -> list[Any]:
    return [span for span in spans if span.name.startswith(prefix)]


def test_each_document_is_a_trace_of_its_nodes_and_their_calls(seen: Seen) -> None:
    spans = seen.collector.spans()
    documents = named(spans, "invoke_workflow autodata")
    assert {attributes(d)["autodata.document.name"] for d in documents} == set(DOCUMENTS)
    outcomes = {outcome.name: outcome.decision for outcome in seen.run.documents()}
    for document in documents:
        about = attributes(document)
        assert about["autodata.run.id"] == seen.run.id
        assert about["autodata.decision"] == outcomes[about["autodata.document.name"]]
        inside = [s for s in spans if s.trace_id == document.trace_id and s != document]
        nodes = {s.span_id: s for s in inside if s.parent_span_id == document.span_id}
        assert {"prepare", "invoke_agent challenger", "record"} <= {n.name for n in nodes.values()}
        calls = named(inside, "chat ")
        assert calls
        for call in calls:
            assert call.parent_span_id in nodes
            assert attributes(call)["autodata.round"] >= 1


def test_a_call_says_what_the_conventions_ask_for(seen: Seen) -> None:
    calls = named(seen.collector.spans(), "chat ")
    assert len(calls) == seen.run.summary().calls
    call = next(c for c in calls if attributes(c)["autodata.role"] == "weak_solver")
    about = attributes(call)
    assert call.name == "chat simulated-weak"
    assert call.kind == call.SPAN_KIND_CLIENT
    assert about["gen_ai.operation.name"] == "chat"
    assert about["gen_ai.provider.name"] == "here"
    assert about["gen_ai.request.model"] == "simulated-weak"
    assert about["server.address"] == "127.0.0.1"
    assert about["gen_ai.usage.input_tokens"] > about["gen_ai.usage.output_tokens"] > 0
    assert about["autodata.side"] == "weak"
    assert about["autodata.attempt"] in (1, 2, 3)
    assert call.end_time_unix_nano > call.start_time_unix_nano


def test_metrics_add_up_to_what_the_run_used(seen: Seen) -> None:
    metrics, summary = seen.collector.metrics(), seen.run.summary()
    tokens = metrics["gen_ai.client.token.usage"]
    assert tokens.unit == "{token}"
    assert sum(point.sum for point in tokens.histogram.data_points) == summary.tokens
    seconds = metrics["gen_ai.client.operation.duration"]
    assert seconds.unit == "s"
    assert sum(point.count for point in seconds.histogram.data_points) == summary.calls


def test_langsmith_traces_bear_the_names_of_run_document_and_role(seen: Seen) -> None:
    traces = seen.collector.traces()
    documents = [trace for trace in traces if trace.get("parent_run_id") is None]
    assert {trace["name"] for trace in documents} == set(DOCUMENTS)
    assert {trace["extra"]["metadata"]["run"] for trace in documents} == {seen.run.id}
    calls = [trace for trace in traces if trace["run_type"] == "llm"]
    assert {trace["name"] for trace in calls} >= ROLES
    assert len(calls) == seen.run.summary().calls
    assert all(trace["extra"]["metadata"]["document"] in DOCUMENTS for trace in calls)
    assert all(trace.get("end_time") for trace in traces)


def test_log_lines_say_what_each_call_and_document_took(seen: Seen) -> None:
    calls = [line for line in seen.lines if line["event"] == "call"]
    documents = [line for line in seen.lines if line["event"] == "document"]
    summary = seen.run.summary()
    assert len(calls) == summary.calls
    assert sum(c["input_tokens"] + c["output_tokens"] for c in calls) == summary.tokens
    assert {line["role"] for line in calls} >= ROLES
    ids = {outcome.document_id: outcome for outcome in seen.run.documents()}
    for line in calls:
        assert line["run"] == seen.run.id
        assert line["document"] in ids
        assert line["round"] >= 1
        assert line["attempt"] >= 1
        assert (line["endpoint"], line["seconds"] > 0) == ("here", True)
        assert line["status"] in ("ok", "malformed", "truncated")
    told = {(line["name"], line["decision"]) for line in documents}
    assert told == {(outcome.name, outcome.decision) for outcome in ids.values()}


def test_a_log_that_cannot_be_written_is_named_and_the_run_goes_on_without(
    folder: Folder,
) -> None:
    run = ("run", "docs", "--task", "cs", "--out", "run", "--rounds", "1")
    said = folder(*run, "--log-json", "/dev/full", code=2)
    assert said == "autodata: /dev/full: No space left on device\n"
    assert "done" in folder("resume", "run")


def test_an_exporter_that_is_not_there_is_named_in_words(folder: Folder) -> None:
    folder.env |= {"OTEL_TRACES_EXPORTER": "nowhere", "OTEL_METRICS_EXPORTER": "none"}
    with folder.started("run", "docs", "--task", "cs", "--out", "run", "--rounds", "1") as command:
        said = command.stdout.read()
    assert "autodata: OTEL_TRACES_EXPORTER: nowhere is not installed\n" in said
    assert "UserWarning" not in said


def test_no_key_is_in_traces_logs_database_or_files(seen: Seen) -> None:
    everything = seen.everything()
    assert b"work-stealing-scheduler.md" in everything
    assert KEY.encode() not in everything


def test_a_key_that_an_endpoint_repeats_is_in_no_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SIMULATED_KEY", KEY)
    monkeypatch.setenv("AUTODATA_LOG_JSON", "-")
    complaint = {"error": {"message": f"Incorrect API key provided: {KEY}"}}
    with collecting(401, complaint) as endpoint:
        folder = Folder(tmp_path)
        folder.configure(f"{endpoint.url}/v1")
        with pytest.raises(autodata.Unauthorized) as refused:
            autodata.run(
                DEMO / "cs", task="cs", config=tmp_path / "autodata.yaml", out=tmp_path / "run"
            )
    said = capfd.readouterr().err
    lines = [json.loads(line) for line in said.splitlines()]
    assert {line["status"] for line in lines if line["event"] == "call"} == {"failed"}
    assert "Incorrect API key provided: " in said
    files = b"".join(file.read_bytes() for file in (tmp_path / "run").rglob("*") if file.is_file())
    assert KEY not in said + str(refused.value) + files.decode("utf-8", "replace")


def _traced_by_the_program(folder: Path) -> list[str]:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    kept, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    trace.set_tracer_provider(provider)
    with trace.get_tracer("theirs").start_as_current_span("theirs") as span:
        autodata.run(DEMO / "cs" / DOCUMENTS[0], task="cs", config={}, out=folder / "run")
    inside = [s for s in kept.get_finished_spans() if s.context.trace_id == span.context.trace_id]
    return [s.name for s in inside]


def test_a_program_that_traces_itself_sees_the_run_inside_its_own_span(tmp_path: Path) -> None:
    names = set(apart(_traced_by_the_program, tmp_path))
    assert {"theirs", "invoke_workflow autodata", "invoke_agent challenger"} <= names
    assert any(name.startswith("chat ") for name in names)
