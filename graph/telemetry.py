"""What is seen of a run from outside, while it runs: traces and metrics by OpenTelemetry's
conventions for generative AI, and JSON log lines. No prompt, answer or key is in any.

Nothing of it is loaded unless a variable asks for it. LangSmith traces by its own variables; here
its last traces are waited for.
"""

import json
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points, version
from threading import Lock, Thread
from time import monotonic, time_ns
from typing import Any, Protocol
from urllib.parse import urlsplit

from langchain_core.tracers.langchain import wait_for_all_tracers
from langgraph.errors import GraphBubbleUp
from langsmith.utils import tracing_is_enabled

from autodata.ledger.calls import Call, Facts, Watched, Watcher
from autodata.models.chat import labels
from autodata.models.config import ROLES, EndpointConfig

LOG = "AUTODATA_LOG_JSON"  # a file, or `-` for standard error
STDERR = "-"
LAST_TRACES = 10.0  # seconds that LangSmith is waited for, at most, as OpenTelemetry is
NAME = "autodata"
SIGNALS = ("TRACES", "METRICS")
PROTOCOL = "http/protobuf"  # OTLP's, unless OTEL_EXPORTER_OTLP_PROTOCOL says another
PROTOCOLS = {PROTOCOL: "otlp_proto_http", "grpc": "otlp_proto_grpc"}
PROVIDERS = {  # hosts that the conventions have a name for
    "api.anthropic.com": "anthropic",
    "api.cohere.com": "cohere",
    "api.deepseek.com": "deepseek",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral_ai",
    "api.openai.com": "openai",
    "api.perplexity.ai": "perplexity",
    "api.x.ai": "x_ai",
    "generativelanguage.googleapis.com": "gcp.gemini",
}
TOKENS = [4**n for n in range(14)]  # buckets that the conventions advise
SECONDS = [0.01 * 2**n for n in range(14)]


class Sink(Protocol):
    """One of those who are told."""

    @contextmanager
    def working(self, work: Watched, facts: Facts) -> Iterator[None]:
        """Watched goes on inside; its `facts` are complete when it has ended."""

    def call(self, call: Call, about: Facts) -> None:
        """A call was made."""

    def close(self) -> None:
        """Hands over what is left."""


class Watchers:
    """Everybody who is told what happens in a run."""

    def __init__(self, run_id: str, sinks: Sequence[Sink]) -> None:
        self.run_id, self._sinks = run_id, sinks

    @contextmanager
    def working(self, work: Watched) -> Iterator[Facts]:
        """Watched goes on inside; takes facts about it while it does."""
        facts: Facts = {}
        with ExitStack() as stack:
            for sink in self._sinks:
                stack.enter_context(sink.working(work, facts))
            yield facts

    def call(self, call: Call) -> None:
        """A call was made by the running task."""
        about: Facts = {
            "run": self.run_id,
            "document": call.scope,
            "attempt": call.sample,
            **labels(),
        }
        for sink in self._sinks:
            sink.call(call, about)

    def close(self) -> None:
        """Hands over what is left, and waits for the last traces of LangSmith. Blocks."""
        for sink in self._sinks:
            sink.close()
        if tracing_is_enabled():
            # A daemon with a limit: where its sender has died, it would wait for ever.
            last = Thread(target=wait_for_all_tracers, daemon=True)
            last.start()
            last.join(LAST_TRACES)


def watch(run_id: str, endpoints: Mapping[str, EndpointConfig]) -> Watcher | None:
    """Everybody whom the environment asks to tell, None where it asks for nobody. Raises OSError
    where the log cannot be written."""
    sinks: list[Sink] = []
    if place := os.environ.get(LOG):
        sinks.append(JsonLines(place))
    if telemetry := _telemetry(endpoints):
        sinks.append(telemetry)
    return Watchers(run_id, sinks) if sinks or tracing_is_enabled() else None


class JsonLines:
    """A log of one JSON object per line: `document` when one is ended, `call` for each."""

    def __init__(self, place: str) -> None:
        file = None if place == STDERR else open(place, "a", encoding="utf-8")  # noqa: SIM115
        self._file, self._place = file, place  # closed below
        self._writing = Lock()

    @contextmanager
    def working(self, work: Watched, facts: Facts) -> Iterator[None]:
        """Only whole documents are worth a line."""
        began = monotonic()
        try:
            yield
        finally:
            if work.kind == "document":
                said = {"run": work.run_id, "document": work.document_id, "name": work.name}
                self._write("document", {**said, **facts, "seconds": monotonic() - began})

    def call(self, call: Call, about: Facts) -> None:
        used = {
            "input_tokens": call.input_tokens,
            "cached_tokens": call.cached_tokens,
            "output_tokens": call.output_tokens,
            "usd": call.usd,
            "estimated": call.estimated or None,
            "error": call.error or None,
        }
        made = {
            "role": call.role,
            "endpoint": call.endpoint,
            "model": call.model,
            "status": call.status,
            "seconds": call.seconds,
        }
        self._write("call", {**about, **made, **used})

    def _write(self, event: str, said: Mapping[str, Any]) -> None:
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        known = {name: value for name, value in said.items() if value is not None}
        line = json.dumps({"time": time, "event": event, **known}) + "\n"
        with self._writing, self._named():
            file = self._file or sys.stderr
            file.write(line)
            file.flush()

    def close(self) -> None:
        if self._file:
            with self._named():
                self._file.close()

    @contextmanager
    def _named(self) -> Iterator[None]:
        """An error of writing names the file, as one of opening it does."""
        try:
            yield
        except OSError as error:
            error.filename = self._place
            raise


def _telemetry(endpoints: Mapping[str, EndpointConfig]) -> Sink | None:
    """OpenTelemetry, where the process has set it up or its variables ask for it."""
    asked = any(name.startswith(("OTEL_EXPORTER_", "OTEL_TRACES_", "OTEL_METRICS_"))
                for name in os.environ)  # fmt: skip
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    if not asked and "opentelemetry.sdk" not in sys.modules:
        return None
    try:
        return Telemetry.of(endpoints, asked)
    except ImportError:
        if asked:
            warnings.warn(
                "OTEL_… variables ask for traces: pip install 'autodata-loop[otel]'", stacklevel=2
            )
        return None


class Telemetry:
    """Spans and metrics, by OpenTelemetry."""

    def __init__(
        self, traces: Any, metrics: Any, endpoints: Mapping[str, EndpointConfig], own: Sequence[Any]
    ) -> None:
        """`traces` and `metrics` are the providers, of which `own` are shut down at the end."""
        self._trace = import_module("opentelemetry.trace")
        self._tracer = traces.get_tracer(NAME, version("autodata-loop"))
        meter = metrics.get_meter(NAME, version("autodata-loop"))
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            unit="{token}",
            description="Tokens of a call, in and out.",
            explicit_bucket_boundaries_advisory=TOKENS,
        )
        self._seconds = meter.create_histogram(
            "gen_ai.client.operation.duration",
            unit="s",
            description="How long a call took.",
            explicit_bucket_boundaries_advisory=SECONDS,
        )
        self._endpoints, self._own = endpoints, own

    @classmethod
    def of(cls, endpoints: Mapping[str, EndpointConfig], asked: bool) -> "Telemetry | None":
        """By the process's own providers, else by those that the variables describe. Raises
        ImportError where the SDK is missing."""
        sdk, measures = (import_module(f"opentelemetry.sdk.{m}") for m in ("trace", "metrics"))
        traces = import_module("opentelemetry.trace").get_tracer_provider()
        metrics = import_module("opentelemetry.metrics").get_meter_provider()
        own: list[Any] = []
        if not isinstance(traces, sdk.TracerProvider):
            if not asked:
                return None
            own.append(traces := _own_traces(sdk))
        if not isinstance(metrics, measures.MeterProvider) and asked:
            own.append(metrics := _own_metrics(measures))
        return cls(traces, metrics, endpoints, own)

    @contextmanager
    def working(self, work: Watched, facts: Facts) -> Iterator[None]:
        about = {"run.id": work.run_id, "document.id": work.document_id}
        known: dict[str, Any] = {f"autodata.{name}": value for name, value in about.items()}
        name = work.name
        if work.kind == "document":
            known |= {"gen_ai.operation.name": "invoke_workflow", "gen_ai.workflow.name": NAME}
            known["autodata.document.name"] = work.name
            name = f"invoke_workflow {NAME}"
        elif work.name in ROLES:
            known |= {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": work.name}
            name = f"invoke_agent {work.name}"
        asking = self._tracer.start_as_current_span(
            name, attributes=known, record_exception=False, set_status_on_exception=False
        )
        with asking as span:
            try:
                yield
            except GraphBubbleUp:  # it stops to ask a person
                raise
            except BaseException as error:
                self._failed(span, type(error).__name__, str(error))
                raise
            finally:
                span.set_attributes({f"autodata.{name}": value for name, value in facts.items()})

    def call(self, call: Call, about: Facts) -> None:
        seconds = call.seconds
        ended = time_ns()
        common = self._common(call)
        used = {"input": call.input_tokens, "output": call.output_tokens}
        usage = {f"gen_ai.usage.{kind}_tokens": n for kind, n in used.items() if n is not None}
        if call.cached_tokens is not None:
            usage["gen_ai.usage.cache_read.input_tokens"] = call.cached_tokens
        more: dict[str, Any] = {f"autodata.{name}": value for name, value in about.items()}
        more |= {"autodata.role": call.role, "autodata.status": call.status}
        if call.usd is not None:
            more["autodata.usd"] = call.usd
        if call.finish_reason:
            more["gen_ai.response.finish_reasons"] = [call.finish_reason]
        span = self._tracer.start_span(
            f"chat {call.model}",
            kind=self._trace.SpanKind.CLIENT,
            start_time=ended - int(seconds * 1e9),
            attributes={**common, **usage, **more},
        )
        if call.status == "failed":
            common["error.type"] = "failed"
            self._failed(span, "failed", call.error)
        span.end(ended)
        self._seconds.record(seconds, common)
        for kind, count in used.items():
            if count is not None and not call.estimated:
                self._tokens.record(count, {**common, "gen_ai.token.type": kind})

    def _common(self, call: Call) -> dict[str, Any]:
        """What spans and metrics say of a call alike."""
        found: dict[str, Any] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": call.endpoint,
            "gen_ai.request.model": call.model,
        }
        if config := self._endpoints.get(call.endpoint):
            at = urlsplit(config.address)
            host = at.hostname or ""
            found["gen_ai.provider.name"] = PROVIDERS.get(host, call.endpoint)
            found["server.address"] = host
            found["server.port"] = at.port or (443 if at.scheme == "https" else 80)
        return found

    def _failed(self, span: Any, kind: str, said: str) -> None:
        span.set_attribute("error.type", kind)
        span.set_status(self._trace.StatusCode.ERROR, said)

    def close(self) -> None:
        for provider in self._own:
            provider.shutdown()


def _own_traces(sdk: Any) -> Any:
    export = import_module("opentelemetry.sdk.trace.export")
    made = sdk.TracerProvider(resource=_resource(), shutdown_on_exit=False)
    for exporter in _exporters(SIGNALS[0]):
        made.add_span_processor(export.BatchSpanProcessor(exporter.load()()))
    return made


def _own_metrics(sdk: Any) -> Any:
    export = import_module("opentelemetry.sdk.metrics.export")
    found = [exporter.load()() for exporter in _exporters(SIGNALS[1])]
    readers = [
        one if isinstance(one, export.MetricReader) else export.PeriodicExportingMetricReader(one)
        for one in found
    ]
    return sdk.MeterProvider(readers, resource=_resource(), shutdown_on_exit=False)


def _resource() -> Any:
    """What the variables say of this process, and our name where they give none."""
    resources = import_module("opentelemetry.sdk.resources")
    stated = resources.Resource.create()
    named = not str(stated.attributes.get("service.name", "")).startswith("unknown_service")
    return stated if named else stated.merge(resources.Resource({"service.name": NAME}))


def _exporters(signal: str) -> Iterator[EntryPoint]:
    """The exporters that OTEL_<signal>_EXPORTER names; OTLP unless it is set."""
    for name in os.environ.get(f"OTEL_{signal}_EXPORTER", "otlp").split(","):
        key = name.strip()
        if key in ("", "none"):
            continue
        if key == "otlp":
            variables = (f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
            said = next((os.environ[v] for v in variables if os.environ.get(v)), PROTOCOL)
            key = PROTOCOLS.get(said, said)
        found = list(entry_points(group=f"opentelemetry_{signal.lower()}_exporter", name=key))
        if not found:
            warnings.warn(f"OTEL_{signal}_EXPORTER: {key} is not installed", stacklevel=2)
        yield from found[:1]
