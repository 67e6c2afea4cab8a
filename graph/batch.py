"""Graphs for programs: many documents in one request, and one text for an agent that asks for an
example. Small values come out; what was said on the way is in the ledger, and on the board.

Both run the loop beside the graph that was asked, so that none of its checkpoints, callbacks and
streams are laid upon thousands of nodes.
"""

import ast
import asyncio
import json
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict, TypeVar

from langchain_core.messages import AIMessage
from langgraph.channels import UntrackedValue
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from pydantic import AfterValidator, BaseModel, Field, ValidationError
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from autodata.documents.corpus import Ingest
from autodata.graph.context import RunContext
from autodata.graph.run import Batch, run_documents
from autodata.graph.state import (
    FIRST_TASK,
    LONGEST_NAME,
    LONGEST_TEXT,
    DocumentText,
    RunChoices,
    SourceText,
    TaskName,
    in_force,
    input_faults,
)
from autodata.ledger.database import NotWritten
from autodata.ledger.reviews import waiting_documents
from autodata.models.errors import Paused
from autodata.tasks import TASKS, Task
from autodata.tasks.acceptance import summary
from autodata.tasks.types import Decision, Document

MOST_DOCUMENTS = 10_000
"""Documents of one submission: what it says of each is kept in memory and in each checkpoint."""

MOST_CHARACTERS = 20 * LONGEST_TEXT
"""Characters of one submission: it travels as one JSON body, which the server keeps in memory."""

MCP_PATH = "/mcp"  # of LangGraph's server
WAITS = "waits for a person's review"

G = TypeVar("G", bound=BaseModel)
T = TypeVar("T")


def _together(documents: Sequence[SourceText]) -> Sequence[SourceText]:
    if len(documents) > MOST_DOCUMENTS:
        raise ValueError(
            f"{len(documents):,} documents are more than the {MOST_DOCUMENTS:,} that are taken at "
            "once; send them in parts"
        )
    characters = sum(len(document.text) for document in documents)
    if characters > MOST_CHARACTERS:
        raise ValueError(
            f"{characters:,} characters are more than the {MOST_CHARACTERS:,} that are taken at "
            "once; send the documents in parts"
        )
    return documents


def _kind(task: Task) -> str:
    made = ", by code, where the text describes a generator" if task.procedure else ""
    return f"{task.name} ({task.title}{made})"


class Submission(BaseModel):
    """Many documents and what to make of them."""

    documents: Annotated[list[SourceText], AfterValidator(_together)] = Field(
        [],
        description=f"the documents, {MOST_DOCUMENTS:,} at most; or name a folder instead",
        json_schema_extra={"maxItems": MOST_DOCUMENTS},
    )
    folder: str = Field(
        "",
        description="a folder of documents on the server, below the one that its "
        "AUTODATA_DOCUMENTS names, such as 'cases/2024'; '.' is all of it",
        max_length=4096,
    )
    task: TaskName = Field(FIRST_TASK, description="what is made of the documents")


class DocumentOutcome(TypedDict):
    """What became of a document; `why` where it has no decision."""

    document_id: str
    name: str
    decision: Decision | None
    why: str


class BatchState(TypedDict, total=False):
    """A submission on its way: ids, names and numbers. What was sent is put down at once, so that
    it is in no checkpoint, and the next submission on the thread begins anew."""

    documents: Annotated[list[Any], UntrackedValue]
    folder: Annotated[str, UntrackedValue]
    task: Annotated[str, UntrackedValue]
    run_id: str
    run_task: str
    choices: RunChoices
    names: dict[str, str]  # by document id
    skipped: list[str]  # files that gave no document, and why
    counts: dict[str, int]  # accepted, rejected, skipped, waiting, refused
    decisions: list[DocumentOutcome]


class ExampleRequest(BaseModel):
    """A text, and what kind of example is made from it."""

    text: DocumentText = Field(
        description="the document to make a question from, as plain text or Markdown: some pages, "
        f"{LONGEST_TEXT:,} characters at most",
    )
    name: str = Field(
        "document", max_length=LONGEST_NAME, description="how the document is called in records"
    )
    task: TaskName = Field(
        FIRST_TASK,
        description="the kind of example: " + ", ".join(map(_kind, TASKS.values())),
    )
    messages: list[Any] = Field(
        [], description="from A2A: where `text` is left out, the last message is the document"
    )


class RubricLine(BaseModel):
    """A statement that an answer meets or not, and the points for it, fewer than 0 for an error."""

    criterion: str
    weight: int


class ExampleReply(BaseModel):
    """An example, where the loop found one. Means are shares of a rubric's points, 0 to 1."""

    decision: Literal["accepted", "rejected", "skipped", "undecided"] = Field(
        description="accepted: the example is as difficult as it should be; rejected: no question "
        "was in the rounds it had; skipped: the text does not suit the task; undecided: see why"
    )
    why: str = Field("", description="what was wrong with the last question, or what hindered it")
    question: str = Field("", description="the last question, which is the example if accepted")
    context: str = Field("", description="what a solver is told besides, never the text itself")
    reference_answer: str = ""
    rubric: list[RubricLine] = Field([], description="what an answer is marked by")
    weak_mean: float | None = Field(None, description="mean score of the weak model")
    strong_mean: float | None = Field(None, description="mean score of the strong model")
    gap: float | None = Field(None, description="strong_mean less weak_mean")
    rounds: int = Field(0, description="questions that were tried")
    document_id: str = Field("", description="the text, in records")
    run_id: str = Field("", description="the run under which it is filed")


class ExampleMessage(ExampleReply):
    """The reply, and in `messages` the same as JSON: there A2A and chat clients look for it."""

    messages: Annotated[list[Any], add_messages]


class ExampleState(TypedDict, total=False):
    """One text on its way. What was sent is put down, as that of a submission."""

    text: Annotated[str, UntrackedValue]
    name: Annotated[str, UntrackedValue]
    task: Annotated[str, UntrackedValue]
    messages: Annotated[list[Any], add_messages]


def given(model: type[G], values: Mapping[str, Any]) -> G:
    """The input as `model` has it. Raises ValueError that says in words what is wrong with it."""
    try:
        return model.model_validate({n: values[n] for n in model.model_fields if n in values})
    except ValidationError as error:
        raise ValueError("; ".join(input_faults(error))) from error


async def beside(work: Coroutine[Any, Any, T]) -> T:
    """Does the work in a context of its own: LangGraph hands its configuration down through the
    context, with checkpointer, callbacks and streams. Cancelling this cancels the work and waits
    until it has ended."""
    return await asyncio.create_task(work, context=Context())


@dataclass(frozen=True)
class Submissions:
    """The nodes of both graphs. `in_flight` is asked how many documents to work on at once, and
    `folder` where one is and what is in it. Raises what these raise."""

    context: Callable[[], RunContext]
    in_flight: Callable[[], int]
    folder: Callable[[str], tuple[Path, Ingest]]

    def take_in(self, state: BatchState, runtime: Runtime[RunChoices]) -> BatchState:
        """Files the documents. Raises ValueError at what is refused, CorpusError at an empty
        folder."""
        asked, context = given(Submission, state), self.context()
        if bool(asked.documents) == bool(asked.folder):
            raise ValueError("give documents: [{name, text}, …], or the name of a folder of them")
        task, choices = in_force(asked.task, context.choices, runtime.context)
        names: dict[str, str] = {}
        skipped: list[str] = []
        if asked.folder:
            place, read = self.folder(asked.folder)
            context.ledger.add_documents(_once_each(read, names, skipped))
            skipped += (str(file).removeprefix(f"{place}/") for file in read.skipped)
        else:
            sent = (Document.of(document.name, document.text) for document in asked.documents)
            context.ledger.add_documents(_once_each(sent, names, skipped))
        return {
            "documents": [],
            "run_id": context.run_of(task.name, choices),
            "run_task": task.name,
            "choices": choices,
            "names": names,
            "skipped": skipped,
            "counts": {},
            "decisions": [],
        }

    async def work(self, state: BatchState) -> BatchState:
        """Runs what is undecided. Raises Paused with how far it came; the same submission goes on
        from there."""
        names, write, here = state["names"], get_stream_writer(), copy_context()
        batch = await asyncio.to_thread(
            self._batch, state["run_task"], tuple(names), state["choices"]
        )

        def tell(document_id: str, decision: Decision | None) -> None:
            done = len(batch.decided) + len(batch.waiting) + len(batch.refused)
            here.run(write, f"{done} of {len(names)} · {decision or WAITS} · {names[document_id]}")

        try:
            await self._run(batch, tell)
        except Paused as pause:
            raise type(pause)(
                pause.reason,
                f"{pause.remedy.rstrip('.')}. {len(batch.decided)} of {len(names)} documents are "
                "decided; the same submission goes on with the others",
            ) from pause
        outcomes = [_outcome(batch, document_id, name) for document_id, name in names.items()]
        for found in outcomes:
            if found["document_id"] in batch.refused:
                write(f"undecided · {found['name']} · {found['why']}")
        return {"decisions": outcomes, "counts": _counts(batch)}

    async def example(self, state: ExampleState, runtime: Runtime[RunChoices]) -> dict[str, Any]:
        """One example from one text. Whatever hinders it is told in the reply: protocols for agents
        pass on no more of an error than its name."""
        try:
            reply = await self._example(given(ExampleRequest, _texted(state)), runtime.context)
        except (Paused, NotWritten, ValueError) as error:
            reply = ExampleReply(decision="undecided", why=str(error))
        return {"messages": [AIMessage(reply.model_dump_json())], **reply.model_dump()}

    async def _example(self, asked: ExampleRequest, stated: RunChoices | None) -> ExampleReply:
        document = Document.of(asked.name, asked.text)
        context = await asyncio.to_thread(self.context)  # the first one opens the folder
        await asyncio.to_thread(context.ledger.add_documents, [document])
        task, choices = in_force(asked.task, context.choices, stated)
        batch = await asyncio.to_thread(self._batch, task.name, (document.id,), choices)
        await self._run(batch)
        return await asyncio.to_thread(_reply, context, batch, document)

    def _batch(self, task: str, document_ids: Sequence[str], choices: RunChoices) -> Batch:
        """The documents with what is known of them. Blocks."""
        context, ours = self.context(), frozenset(document_ids)
        run_id = context.run_of(task, choices)
        decided = {d: found for d, found in context.ledger.outcomes(run_id).items() if d in ours}
        batch = Batch(task, choices, document_ids, self.in_flight(), decided=decided)
        if choices.review:
            batch.waiting |= waiting_documents(context.ledger, run_id) & ours
        return batch

    async def _run(
        self,
        batch: Batch,
        tell: Callable[[str, Decision | None], None] = lambda document_id, decision: None,
    ) -> None:
        # What is left to end of other submissions is none of this one's.
        own = replace(self.context(), _loose=set())
        await beside(run_documents(own, batch, tell))


def _once_each(
    documents: Iterable[Document], names: dict[str, str], skipped: list[str]
) -> Iterator[Document]:
    """Each text once, with its name put down. Raises ValueError where a folder holds too many."""
    for document in documents:
        if document.id in names:
            skipped.append(f"{document.name}: the same text as {names[document.id]}")
            continue
        if len(names) == MOST_DOCUMENTS:
            raise ValueError(
                f"the folder holds more than the {MOST_DOCUMENTS:,} documents that are taken at "
                "once; name its subfolders one by one"
            )
        names[document.id] = document.name
        yield document


def _outcome(batch: Batch, document_id: str, name: str) -> DocumentOutcome:
    why = batch.refused.get(document_id, WAITS if document_id in batch.waiting else "")
    decision = batch.decided.get(document_id)
    return {"document_id": document_id, "name": name, "decision": decision, "why": why}


def _counts(batch: Batch) -> dict[str, int]:
    decisions: tuple[Decision, ...] = ("accepted", "rejected", "skipped")
    made = list(batch.decided.values())
    counts: dict[str, int] = {decision: made.count(decision) for decision in decisions}
    return {**counts, "waiting": len(batch.waiting), "refused": len(batch.refused)}


def _texted(state: ExampleState) -> Mapping[str, Any]:
    """The request; of one that came as a message, its words are the document. An answer of ours,
    the last word where a message on a thread brings none, is no document."""
    said = state.get("messages") or []
    if "text" in state or not said or isinstance(said[-1], AIMessage):
        return state
    return {**state, "text": said[-1].text}


def _reply(context: RunContext, batch: Batch, document: Document) -> ExampleReply:
    """What is on record of the document that was asked about. Blocks."""
    run_id = context.run_of(batch.task, batch.choices)
    outcome = _outcome(batch, document.id, document.name)
    found: dict[str, Any] = {
        "decision": outcome["decision"] or "undecided",
        "why": outcome["why"],
        "document_id": document.id,
        "run_id": run_id,
    }
    rounds = context.ledger.rounds(run_id, document.id)
    if not rounds:
        return ExampleReply(**found)
    last = rounds[-1]
    objections = "; ".join(f"{o.code}: {o.message}" for o in last.objections)
    means = {name: mean and round(mean, 3) for name, mean in summary(last).items()}
    found |= {"why": found["why"] or objections, "rounds": last.number, **means}
    if asked := last.candidate:
        rubric = [RubricLine(criterion=r.criterion, weight=r.weight) for r in asked.rubric]
        found |= {"question": asked.question, "context": asked.context, "rubric": rubric}
        found["reference_answer"] = asked.reference_answer
    return ExampleReply(**found)


BatchGraph = CompiledStateGraph[BatchState, RunChoices, Submission, BatchState]
ExampleGraph = CompiledStateGraph[ExampleState, RunChoices, ExampleRequest, ExampleMessage]


def build_batch(nodes: Submissions) -> BatchGraph:
    """The graph of a submission."""
    graph = StateGraph(BatchState, context_schema=RunChoices, input_schema=Submission)
    graph.add_node("take_in", nodes.take_in)
    graph.add_node("work", nodes.work)
    graph.add_edge(START, "take_in")
    graph.add_edge("take_in", "work")
    graph.add_edge("work", END)
    return graph.compile(name="batch")


def build_example(nodes: Submissions) -> ExampleGraph:
    """The graph that makes one example."""
    graph = StateGraph(
        ExampleState,
        context_schema=RunChoices,
        input_schema=ExampleRequest,
        output_schema=ExampleMessage,
    )
    graph.add_node("example", nodes.example)
    graph.add_edge(START, "example")
    graph.add_edge("example", END)
    return graph.compile(name="example")


class AgentTools:
    """What LangGraph's server says over MCP, as agents can use it: the tools that are made for
    them, and results as JSON, where the server sends Python's notation.

    These tools are the graphs that take an ExampleRequest. Errors come by their names alone, so
    these graphs tell in a reply what hinders them.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Rewrites the answers below /mcp; all else passes as it is."""
        if scope["type"] != "http" or scope["path"].rstrip("/") != MCP_PATH:
            return await self.app(scope, receive, send)
        try:
            asked = _asked(await Request(scope, receive).body())
        except ClientDisconnect:
            return None
        if asked is None:
            fault = {"code": -32602, "message": "params, and arguments in them, are objects"}
            refused = JSONResponse({"jsonrpc": "2.0", "id": None, "error": fault}, 400)
            return await refused(scope, receive, send)
        sent = MutableHeaders(scope=scope)
        if "content-length" in sent:
            sent["content-length"] = str(len(asked))
        handed: list[Message] = [{"type": "http.request", "body": asked}]
        started: Message = {}
        body = b""

        async def hand() -> Message:
            return handed.pop() if handed else await receive()

        async def keep(message: Message) -> None:
            nonlocal started, body
            if message["type"] == "http.response.start":
                started = message
                return
            body += message.get("body", b"")
            if not message.get("more_body"):
                said = _for_agents(body)
                MutableHeaders(scope=started)["content-length"] = str(len(said))
                await send(started)
                await send({"type": "http.response.body", "body": said})

        return await self.app(scope, hand, keep)


def _asked(body: bytes) -> bytes | None:
    """A request without the nulls that clients send for nothing: the server takes objects alone.
    None where something else stands there; what is no request stays as it is."""
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        return body
    nulls, within = False, asked
    for name in ("params", "arguments"):
        if not isinstance(within, dict) or name not in within:
            break
        if within[name] is None:
            nulls = True
            del within[name]
            break
        if not isinstance(within[name], dict):
            return None
        within = within[name]
    return json.dumps(asked).encode() if nulls else body


def _for_agents(body: bytes) -> bytes:
    """An answer of MCP in their words; what is none stays as it is."""
    try:
        answer = json.loads(body)
        result = answer["result"]
    except (ValueError, TypeError, KeyError):
        return body
    if "tools" in result:
        result["tools"] = [_tool(t) for t in result["tools"] if _asks_for_example(t)]
    for part in result.get("content", []):
        try:
            found = ast.literal_eval(part["text"])
        except (ValueError, SyntaxError):
            continue  # an error's name
        if not isinstance(found, dict):
            continue
        found.pop("messages", None)
        part["text"] = json.dumps(found, ensure_ascii=False)
        result |= {"structuredContent": found, "isError": found.get("decision") == "undecided"}
    return json.dumps(answer).encode()


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    """The tool without what only A2A sends, and with the form of its results."""
    tool["inputSchema"]["properties"].pop("messages", None)
    hints = {**tool["annotations"], "idempotentHint": True}
    return {**tool, "annotations": hints, "outputSchema": ExampleReply.model_json_schema()}


def _asks_for_example(tool: Mapping[str, Any]) -> bool:
    title: str = tool["inputSchema"].get("title", "")
    return title == ExampleRequest.__name__
