"""The figures of an evaluation, with intervals by document, and their table."""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

from intervals import Figure, amount_of, best_at, difference_of, grouped, mean_of, pass_at


class Measured(NamedTuple):
    """What the attempts of a model at one question showed.

    `scores` of those that were scored, 0 … 1, and how many of them are `right`; of those that were
    answered the tokens written (`estimated` of them by their characters), whether they were cut
    off, and whether they had no final answer to read; `unscored` counts the rest.
    """

    question: str
    document: str
    scores: tuple[float, ...]
    right: int
    tokens: tuple[int, ...]
    estimated: int
    cut: tuple[bool, ...]
    formless: tuple[bool, ...]
    unscored: int

    def value(self, figure: str, k: int) -> float | None:
        """A figure of this question, 0 … 1; None where too few attempts tell it."""
        if figure in ("cut", "formless"):
            marks = self.cut if figure == "cut" else self.formless
            return sum(marks) / len(marks) if marks else None
        if not self.scores or (figure in ("best", "pass") and len(self.scores) < k):
            return None
        if figure == "mean":
            return sum(self.scores) / len(self.scores)
        if figure == "avg":
            return self.right / len(self.scores)
        if figure == "best":
            return best_at(k, self.scores)
        return pass_at(k, self.right, len(self.scores))


def cells(measured: Sequence[Measured], ks: Sequence[int]) -> dict[str, Any]:
    """Every figure of a model on a test. Those of k attempts are by k."""
    found: dict[str, Any] = {
        figure: _told(mean_of, measured, _value(figure, 1))
        for figure in ("mean", "avg", "cut", "formless")
    }
    for figure in ("best", "pass"):
        found[figure] = {str(k): _told(mean_of, measured, _value(figure, k)) for k in ks}
    answers = sum(len(one.tokens) for one in measured)
    return found | {
        "tokens": _told(
            amount_of, measured, lambda m: sum(m.tokens) / len(m.tokens) if m.tokens else None
        ),
        "answers": answers,
        "tokens_estimated": sum(one.estimated for one in measured),
        "cut_off": sum(sum(one.cut) for one in measured),
        "format_errors": sum(sum(one.formless) for one in measured),
        "unscored": sum(one.unscored for one in measured),
    }


def _value(figure: str, k: int) -> Callable[[Measured], float | None]:
    return lambda measured: measured.value(figure, k)


def _told(
    interval: Callable[[list[list[float]]], Figure],
    measured: Sequence[Measured],
    value: Callable[[Measured], float | None],
) -> dict[str, Any] | None:
    by_document = grouped((one.document, value(one)) for one in measured)
    if not by_document:
        return None
    found = interval(by_document)
    questions = sum(map(len, by_document))
    return {**found._asdict(), "questions": questions, "documents": len(by_document)}


def differences(
    of_models: Mapping[str, Sequence[Measured]], ks: Sequence[int]
) -> list[dict[str, Any]]:
    """Each model less each before it, paired by question: the untrained one comes first."""
    found = []
    for first, second in combinations(of_models, 2):
        others = {one.question: one for one in of_models[second]}
        pairs = [(one, others[one.question]) for one in of_models[first] if one.question in others]
        wanted = [("mean", 1), ("avg", 1), ("cut", 1), ("formless", 1)]
        wanted += [(figure, k) for figure in ("best", "pass") for k in ks]
        for figure, k in wanted:
            by_document = grouped(
                (one.document, _less(one.value(figure, k), other.value(figure, k)))
                for one, other in pairs
            )
            if by_document:
                said = difference_of(by_document)
                name = f"{figure}@{k}" if figure in ("best", "pass") else figure
                found.append(
                    {"first": first, "second": second, "figure": name, **said._asdict(),
                     "verdict": said.verdict}
                )  # fmt: skip
    return found


def _less(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else second - first


# The table.


def markdown(results: Mapping[str, Any]) -> str:
    """What `results.json` holds, to be read."""
    n, ks = results["attempts"], results["k"]
    heads = [f"mean@{n}", *(f"best@{k}" for k in ks), f"avg@{n}", *(f"pass@{k}" for k in ks)]
    heads += ["tokens", "cut off", "format errors", "unscored"]
    lines = ["# Evaluation", ""]
    if results["simulated"]:
        lines += ["**Simulated models** had a part in it: these numbers show that the scripts "
                  "work, not how good a model is.", ""]  # fmt: skip
    if results["base"] is None:
        lines += ["**The untrained model is not in this table**: nothing here says what training "
                  "brought.", ""]  # fmt: skip
    lines += [f"| test | model | {' | '.join(heads)} |", f"|{'---|' * (2 + len(heads))}"]
    for test, models in results["figures"].items():
        for model, found in models.items():
            shown = " (untrained)" if model == results["base"] else ""
            lines.append(
                f"| {_cell(test)} | {_cell(model)}{shown} | {' | '.join(_row(found, ks))} |"
            )
    lines += ["", f"Differences in mean@{n}, paired by question:", ""]
    lines += ["| test | | difference | would show from | |", "|---|---|---|---|---|"]
    for test, found in results["differences"].items():
        for one in found:
            if one["figure"] == "mean":
                least = "–" if one["detectable"] is None else f"{one['detectable']:.3f}"
                pair = f"{_cell(one['second'])} − {_cell(one['first'])}"
                lines.append(
                    f"| {_cell(test)} | {pair} | {one['value']:+.3f} "
                    f"({one['low']:+.3f} … {one['high']:+.3f}) | {least} | {one['verdict']} |"
                )
    if not any(results["differences"].values()):
        lines.append("| – | one model alone | – | – | – |")
    return "\n".join([*lines, "", *_notes(results)]) + "\n"


def _cell(name: str) -> str:
    return name.replace("|", "\\|")


def _row(found: Mapping[str, Any], ks: Sequence[int]) -> list[str]:
    figures = [found["mean"], *(found["best"][str(k)] for k in ks), found["avg"]]
    figures += [found["pass"][str(k)] for k in ks]
    tokens = found["tokens"]
    estimated = "≈ " if found["tokens_estimated"] else ""
    within = "" if tokens is None or tokens["low"] is None else (
        f" ({tokens['low']:.0f}–{tokens['high']:.0f})"
    )  # fmt: skip
    return [
        *map(_figure, figures),
        "–" if tokens is None else f"{estimated}{tokens['value']:.0f}{within}",
        _percent(found["cut"]),
        _percent(found["formless"]),
        str(found["unscored"]),
    ]


def _figure(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "–"
    return f"{found['value']:.3f} ({found['low']:.3f}–{found['high']:.3f})"


def _percent(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "–"
    value, low, high = (100 * found[name] for name in ("value", "low", "high"))
    return f"{value:.1f} % ({low:.0f}–{high:.0f})"


def _notes(results: Mapping[str, Any]) -> list[str]:
    its, n = results["settings"], results["attempts"]
    lines = [
        f"- {name}: {test['questions']} questions of {test['documents']} documents, {test['file']}"
        + (f"; {test['doubles_left_out']} asked twice left out" if test["doubles_left_out"] else "")
        for name, test in results["tests"].items()
    ]
    lines += [f"- {name}: {reference}" for name, reference in results["models"].items()]
    lines += [
        f"- judge: {results['judge'] or 'none; all was compared by code'}",
        f"- {n} answers to each question at temperature {its['temperature']:g}, of at most "
        f"{its['max_tokens']} tokens; prompt: {its['prompt']}.",
        f"- mean: of scores; best@k: the best of k; avg: share of right answers (compared, or "
        f"marked {its['right']:g} or more); pass@k: one of k is right. An answer cut off scores 0; "
        "one without readable marks has no score and counts nowhere.",
        "- In brackets: 95 % intervals by document. They know nothing of another training: of "
        "several seeds, each is a model of its own.",
    ]
    return lines
