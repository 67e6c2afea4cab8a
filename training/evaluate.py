# /// script
# requires-python = ">=3.11"
# dependencies = ["math-verify>=0.8", "openai>=2"]
# ///
"""Scores models on test files, as the gate scored, beside the untrained one.

    python training/evaluate.py --out evaluation --attempts 3 \\
        --test one-shot=arms/test/one-shot.jsonl --test agentic=arms/test/agentic.jsonl \\
        --model base=http://localhost:8000/v1#Qwen/Qwen3.5-4B --model trained=student/model \\
        --judge-url http://localhost:9000/v1 --judge-model JUDGE

Test files are exports (trl-grpo or jsonl), such as `training/mix.py` keeps apart. A model is
`NAME=URL#MODEL` behind an OpenAI-compatible endpoint, or `NAME=FOLDER` for transformers (`uv run
--with torch --with transformers training/evaluate.py …`). The untrained model is named `base`, or
by --base. Rubrics are marked by the judge; science and procedural answers are compared by code
first, and a judge decides what that does not settle. An answer that was cut off scores 0, and one
without marks that can be read has no score.

Each answer and each score is in `DIR/answers.jsonl` as soon as it is there; the same command goes
on after a pause or a kill and asks nothing twice. Then `DIR/results.json` and `DIR/results.md` hold
the table. Exit codes: 0 done, 2 wrong use, 3 paused (an endpoint is down, or the judge's calls are
used up), 130 interrupted.
"""

import argparse
import fcntl
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from typing import IO, Any, NamedTuple

import scoring
from comparison_table import Measured, cells, differences, markdown
from endpoint import EndpointPaused
from judge import (
    REFUSED,
    GivenAnswer,
    JudgeError,
    ScoredAnswer,
    Scorer,
    add_judge,
    judge_of,
)
from rows import SCORED_BY, RowsError, document_of, read_rows, refuse_overlap, shuffled
from sessions import positive
from students import (
    AskedQuestion,
    Messages,
    Student,
    StudentError,
    StudentOptions,
    StudentReply,
    student_of,
)

BASE = "base"  # the untrained model, unless --base names another
RIGHT = 0.65  # score from which a marked answer is right: the paper's least strong mean (section 2)
NOT_ANSWERED = "refused:"  # so begins why an answer that was never given has no score
SCORED_AT_ONCE = 64  # answers that are handed to the judge together

Row = Mapping[str, Any]


class EvaluationError(ValueError):
    """It cannot be evaluated so: the message says why and what to do."""


class HeldOutFile(NamedTuple):
    """The rows of a test, each question once; `doubles` counts those left out."""

    name: str
    path: Path
    rows: list[Row]
    doubles: int


class Journal:
    """The answers and scores on disk, a JSON line each, written before they are used.

    One process writes at a time. A line that a kill broke off is cut away. What an endpoint refused
    was not paid for, and is no answer: it may be asked again. Raises EvaluationError.
    """

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: IO[bytes] = path.open("a+b")
        except OSError as error:
            raise EvaluationError(f"answers cannot be kept in {path}: {error}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise EvaluationError(
                f"another evaluation writes to {path.parent}; wait for it, or name another --out"
            ) from error
        self.answers: dict[str, StudentReply] = {}
        self.scores: dict[str, ScoredAnswer] = {}
        self._read(path)

    def _read(self, path: Path) -> None:
        self._file.seek(0)
        whole = 0
        for number, line in enumerate(self._file, 1):
            if not line.endswith(b"\n"):
                break
            whole += len(line)
            try:
                said = json.loads(line)
                if said["kind"] == "answer":
                    reply = StudentReply(**said["reply"])
                    if not reply.refused:
                        self.answers[said["key"]] = reply
                else:
                    scored = ScoredAnswer(**said["scored"])
                    if not scored.why.startswith((NOT_ANSWERED, REFUSED)):
                        self.scores[said["key"]] = scored
            except (ValueError, KeyError, TypeError) as error:
                raise EvaluationError(
                    f"{path}, line {number} was not written by this script ({error}); name another "
                    "--out"
                ) from error
        self._file.truncate(whole)

    def answered(self, key: str, of: Mapping[str, Any], reply: StudentReply) -> None:
        """Keeps an answer."""
        self._write({"kind": "answer", "key": key, **of, "reply": reply._asdict()})
        self.answers[key] = reply

    def scored(self, key: str, of: Mapping[str, Any], scored: ScoredAnswer) -> None:
        """Keeps a score."""
        self._write({"kind": "score", "key": key, **of, "scored": scored._asdict()})
        self.scores[key] = scored

    def _write(self, said: Mapping[str, Any]) -> None:
        self._file.write(f"{json.dumps(said)}\n".encode())
        self._file.flush()

    def close(self) -> None:
        """Lets another process write."""
        self._file.close()


class Progress:
    """How far it is, on one line of a terminal, else a line at each tenth."""

    def __init__(self, what: str, total: int, done: int) -> None:
        self.what, self.total, self.done, self.before = what, total, done, done
        self.began, self._told = monotonic(), -1
        self.terminal = sys.stderr.isatty()

    def advance(self) -> None:
        """One more is done."""
        self.done += 1
        tenth = 10 * self.done // self.total
        if not self.terminal and tenth == self._told:
            return
        self._told = tenth
        spent, own = monotonic() - self.began, self.done - self.before
        left = f"{spent / own * (self.total - self.done):.0f} s left"
        bar = f"[{'=' * tenth}{' ' * (10 - tenth)}]"
        line = f"{self.what} {bar} {self.done} of {self.total}, {left}"
        ends = "\r" if self.terminal and self.done < self.total else "\n"
        print(f"{line:<79}", end=ends, file=sys.stderr, flush=True)


class Attempted(NamedTuple):
    """An attempt of a model at a question of a test, and where its answer and score are kept."""

    question: AskedQuestion
    row: Row
    score_key: str


class Evaluation:
    """Models on tests: what is asked, answered and scored. Raises EvaluationError, RowsError,
    StudentError, JudgeError; EndpointPaused when somebody cannot be asked now."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.out = options, Path(options.out)
        self.right = options.right
        self.tests = [self._test(said) for said in options.test]
        if len({test.name for test in self.tests}) < len(self.tests):
            raise EvaluationError("two tests have one name; give each its own")
        for path in options.train or ():
            trained = read_rows(Path(path), (), "trl-grpo")
            for test in self.tests:
                refuse_overlap(trained, test.rows, str(test.path))
        self.students = self._students()
        for row in (row for test in self.tests for row in test.rows):
            self._messages(row)  # what cannot be asked shows before anything is paid for
        its = vars(options)
        self._judged_by = [its.get("judge_model"), its.get("judge_temperature"), None]
        if options.judge_prompt and Path(options.judge_prompt).is_file():  # by what it says
            self._judged_by[2] = _digest([Path(options.judge_prompt).read_text(encoding="utf-8")])
        with ExitStack() as undo:
            self.judge = judge_of(vars(options), self.out / "judge.db")
            if self.judge:
                undo.callback(self.judge.close)
            self.scorer = Scorer("rubric", self.judge)
            self.scorer.check([row for test in self.tests for row in test.rows])
            self.journal = Journal(self.out / "answers.jsonl")
            undo.callback(self.journal.close)
            self.close = undo.pop_all().close

    def _test(self, said: str) -> HeldOutFile:
        name, equals, path = said.partition("=")
        if not (name and equals and path):
            raise EvaluationError(f"--test {said}: say NAME=FILE, such as agentic=test.jsonl")
        once: dict[str, Row] = {}
        rows = read_rows(Path(path), SCORED_BY, "trl-grpo")
        for row in rows:
            once.setdefault(json.dumps([row["context"], row["question"]]), row)
        kept = shuffled(list(once.values()), self.options.seed, self.options.rows)
        return HeldOutFile(name, Path(path), list(kept), len(rows) - len(once))

    def _students(self) -> list[Student]:
        """The untrained one first."""
        its = self.options
        how = StudentOptions(
            its.temperature, its.max_tokens, its.concurrency, its.key_env, its.give_up, its.batch,
            its.seed, its.device,
        )  # fmt: skip
        named: dict[str, str] = {}
        for said in its.model:
            name, equals, where = said.partition("=")
            if not (name and equals and where):
                raise EvaluationError(f"--model {said}: say NAME=URL#MODEL or NAME=FOLDER")
            if name in named:
                raise EvaluationError(f"two models are named {name}; give each its own name")
            named[name] = where
        if its.base not in named and not its.without_base:
            raise EvaluationError(
                f"no model is named {its.base}: the untrained model belongs beside every other; "
                f"add --model {its.base}=…, say by --base NAME which it is, or go on --without-base"
            )
        ordered = sorted(named, key=lambda name: name != its.base)
        return [student_of(name, named[name], how) for name in ordered]

    def run(self) -> None:
        """Asks and scores what is not on disk yet, then writes the table."""
        for student in self.students:
            attempts = [a for test in self.tests for a in self._attempts(student, test)]
            self._answered(student, attempts)
            self._scored(student, attempts)
        results = self.results()
        text = json.dumps(results, indent=1, ensure_ascii=False)
        for name, wrote in (("results.json", f"{text}\n"), ("results.md", markdown(results))):
            draft = self.out / f".{name}.draft"
            draft.write_text(wrote, encoding="utf-8")
            draft.replace(self.out / name)
        print(markdown(results), end="")
        if why := Counter(one.why for one in self.journal.scores.values() if one.score is None):
            [(often, _)] = why.most_common(1)
            print(f"{why.total()} answers have no score, most of them: {often}", file=sys.stderr)
            if any(one.startswith((NOT_ANSWERED, REFUSED)) for one in why):
                print("the same command asks again what was refused", file=sys.stderr)

    def _attempts(self, student: Student, test: HeldOutFile) -> Iterator[Attempted]:
        its = self.options
        for row in test.rows:
            messages = self._messages(row)
            wanted = [row["task"], row["rubric"], row["reference_answer"]]
            for attempt in range(1, its.attempts + 1):
                shaped = [student.reference, its.temperature, its.max_tokens, messages, attempt]
                key = _digest([*shaped, its.seed] if its.seed else shaped)
                yield Attempted(
                    AskedQuestion(key, messages, attempt),
                    row,
                    _digest([key, wanted, self._judged_by]),
                )

    def _messages(self, row: Row) -> Messages:
        """What a model is asked: as trainers ask (the row's own prompt), or as the solvers were."""
        asked = self.options.prompt
        if asked == "row":
            if "prompt" in row:
                return [dict(message) for message in row["prompt"]]
            parts = (row["context"], row["question"])
            content = "\n\n".join(part for part in parts if part.strip())
            return [{"role": "user", "content": content}]
        at = Path(__file__).parent / "prompts" / row["task"] / "solver.md"
        path = at if asked == "solver" else Path(asked)
        try:
            template = path.read_text(encoding="utf-8")
            said = scoring.messages_of(template, context=row["context"], question=row["question"])
        except (OSError, KeyError, ValueError) as error:
            raise EvaluationError(
                f"{path} is no prompt of a solver with a context and a question ({error}); name "
                "another --prompt"
            ) from error
        return [
            {"role": role, "content": content}
            for role, content in zip(("system", "user"), said, strict=True)
        ]

    def _answered(self, student: Student, attempts: Sequence[Attempted]) -> None:
        """Asks for what is not on disk, each key once."""
        by_key = {attempted.question.key: attempted for attempted in attempts}
        asked = [a.question for key, a in by_key.items() if key not in self.journal.answers]
        if not asked:
            return
        progress = Progress(f"{student.name} answers", len(by_key), len(by_key) - len(asked))

        def heard(question: AskedQuestion, reply: StudentReply) -> None:
            of = {"model": student.name, **_told(by_key[question.key])}
            self.journal.answered(question.key, of, reply)
            progress.advance()

        student.answer(asked, heard)

    def _scored(self, student: Student, attempts: Sequence[Attempted]) -> None:
        """Scores what is not on disk; those that the endpoint refused have no score."""
        by_key = {a.score_key: a for a in attempts}
        left = [a for key, a in by_key.items() if key not in self.journal.scores]
        if not left:
            return
        progress = Progress(f"{student.name} scored ", len(by_key), len(by_key) - len(left))
        for start in range(0, len(left), SCORED_AT_ONCE):
            batch = left[start : start + SCORED_AT_ONCE]
            replies = [self.journal.answers[a.question.key] for a in batch]
            readable = [
                GivenAnswer(a.row, reply.text, reply.cut)
                for a, reply in zip(batch, replies, strict=True)
                if not reply.refused
            ]
            found = iter(self.scorer.scores(readable))
            for attempted, reply in zip(batch, replies, strict=True):
                refused = ScoredAnswer(None, "unscored", why=f"{NOT_ANSWERED} {reply.refused}")
                scored = refused if reply.refused else next(found)
                of = {"model": student.name, **_told(attempted)}
                self.journal.scored(attempted.score_key, of, scored)
                progress.advance()

    def results(self) -> dict[str, Any]:
        """All that is known, for `results.json`."""
        its, ks = self.options, sorted({*(self.options.k or [self.options.attempts])})
        measured = {
            test.name: {s.name: self._measured(s, test) for s in self.students}
            for test in self.tests
        }
        rows = [row for test in self.tests for row in test.rows]
        judge = self.judge.options if self.judge else None
        return {
            "attempts": its.attempts,
            "k": ks,
            "base": None if its.without_base and its.base not in self.names else its.base,
            "models": {student.name: student.reference for student in self.students},
            "judge": f"{judge.url}#{judge.model}" if judge else None,
            "settings": {
                "temperature": its.temperature, "max_tokens": its.max_tokens, "seed": its.seed,
                "prompt": its.prompt, "right": its.right,
            },
            "tests": {
                test.name: {
                    "file": str(test.path),
                    "sha256": hashlib.sha256(test.path.read_bytes()).hexdigest(),
                    "questions": len(test.rows),
                    "documents": len({document_of(row) for row in test.rows}),
                    "doubles_left_out": test.doubles,
                }
                for test in self.tests
            },
            "simulated": any(row["meta"].get("simulated") for row in rows)
            or any("#simulated" in s.reference for s in self.students)
            or bool(judge and judge.model.startswith("simulated")),
            "figures": {
                name: {model: cells(found, ks) for model, found in of.items()}
                for name, of in measured.items()
            },
            "differences": {name: differences(of, ks) for name, of in measured.items()},
        }  # fmt: skip

    @property
    def names(self) -> list[str]:
        """Of the models."""
        return [student.name for student in self.students]

    def _measured(self, student: Student, test: HeldOutFile) -> list[Measured]:
        """What every question of a test showed of a model."""
        found: dict[str, list[Attempted]] = {}
        for attempted in self._attempts(student, test):
            found.setdefault(_question(attempted.row), []).append(attempted)
        return [self._of_question(attempts) for attempts in found.values()]

    def _of_question(self, attempts: Sequence[Attempted]) -> Measured:
        row = attempts[0].row
        replies = [self.journal.answers[a.question.key] for a in attempts]
        scored = [self.journal.scores[a.score_key] for a in attempts]
        bound = 1.0 if row["task"] in scoring.COMPARED else self.right
        scores = tuple(one.score for one in scored if one.score is not None)
        heard = [reply for reply in replies if not reply.refused]
        return Measured(
            question=_question(row),
            document=document_of(row),
            scores=scores,
            right=sum(score >= bound for score in scores),
            tokens=tuple(reply.tokens for reply in heard),
            estimated=sum(reply.estimated for reply in heard),
            cut=tuple(reply.cut for reply in heard),
            # An answer that broke off has no final answer for want of tokens, not of form.
            formless=tuple(
                (one.formless or one.how == "blank") and not reply.cut
                for one, reply in zip(scored, replies, strict=True)
                if not reply.refused
            ),
            unscored=len(scored) - len(scores),
        )


def _told(attempted: Attempted) -> dict[str, Any]:
    """By which a reader of the journal tells lines apart."""
    row = attempted.row
    return {
        "question": _question(row), "document": document_of(row),
        "attempt": attempted.question.attempt,
    }  # fmt: skip


def _question(row: Row) -> str:
    return _digest([row["context"], row["question"]])


def _digest(of: Sequence[Any]) -> str:
    return hashlib.sha256(json.dumps(of).encode()).hexdigest()[:24]


def main(words: Sequence[str] | None = None) -> int:
    """What the command line asks for, and the exit code."""
    options = _options().parse_args(words)
    again = "the same command goes on, and asks nothing twice"
    try:
        if options.k and max(options.k) > options.attempts:
            raise EvaluationError(f"--k {max(options.k)}: there are {options.attempts} --attempts")
        evaluation = Evaluation(options)
        try:
            evaluation.run()
        finally:
            evaluation.close()
    except (EvaluationError, RowsError, StudentError, JudgeError) as error:
        print(f"evaluate.py: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        print(
            f"evaluate.py: {error.name} is not installed; `uv run` installs what the head of the "
            "script names",
            file=sys.stderr,
        )
        return 2
    except EndpointPaused as error:
        print(f"paused: {error}\n{again}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        print(f"interrupted; {again}", file=sys.stderr)
        return 130
    finally:
        scoring.close()
    return 0


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "evaluate.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--test", action="append", required=True, metavar="NAME=FILE", help="a test; repeatable")
    add("--model", action="append", required=True, metavar="NAME=WHERE",
        help="URL#MODEL or a folder; repeatable")  # fmt: skip
    add("--base", default=BASE, metavar="NAME", help=f"the untrained model (default: {BASE})")
    add("--without-base", action="store_true",
        help="go on without the untrained model; the table says so")  # fmt: skip
    add("--train", action="append", metavar="FILE",
        help="what was trained on: refused where a test shares documents or questions")  # fmt: skip
    add("--out", required=True, metavar="DIR", help="answers, scores and the table")
    add("--attempts", type=positive, default=3, metavar="N", help="answers per question (3)")
    add("--k", type=positive, action="append", metavar="K",
        help="of best@k and pass@k, at most N; repeatable (N)")  # fmt: skip
    add("--right", type=float, default=RIGHT, metavar="SCORE",
        help=f"from which a marked answer is right ({RIGHT}); a compared one: 1")  # fmt: skip
    add("--rows", type=positive, metavar="N", help="questions of each test, after shuffling")
    add("--prompt", default="row", metavar="row|solver|FILE",
        help="as trainers ask (row), as the gate's solvers were asked, or a file")  # fmt: skip
    add("--temperature", type=float, default=1.0, metavar="T", help="of sampling (1)")
    add("--max-tokens", type=positive, default=4096, metavar="N",
        help="of an answer, reasoning included; then it is cut off (4096)")  # fmt: skip
    add("--seed", type=int, default=0, help="of shuffling and of local sampling (0)")
    group = parser.add_argument_group("endpoints")
    group.add_argument("--key-env", default="OPENAI_API_KEY", metavar="VAR",
                       help="variable of their key (OPENAI_API_KEY)")  # fmt: skip
    group.add_argument("--concurrency", type=positive, default=16, metavar="N",
                       help="requests at once (16)")  # fmt: skip
    group.add_argument("--give-up", type=float, default=120.0, metavar="SECONDS",
                       help="how long one may be down (120)")  # fmt: skip
    local = parser.add_argument_group("local models")
    local.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto",
                       help="cuda means bf16 (auto)")  # fmt: skip
    local.add_argument("--batch", type=positive, default=16, metavar="N",
                       help="sequences at once (16)")  # fmt: skip
    add_judge(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
