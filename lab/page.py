"""The result page of the lab: one offline file, what does not hold said as plainly as what does."""

from collections import Counter
from collections.abc import Sequence
from importlib.resources import files
from statistics import fmean

from jinja2 import Environment, StrictUndefined

from autodata.lab.experiment import (
    LAB_ARMS,
    ONE_SHOT,
    TESTS,
    UNTRAINED,
    ArmDifference,
    LabSettings,
    StudentResult,
    alike,
    difference,
    mean_of,
    score,
)
from autodata.lab.training import LEVELS

WIDE, HIGH = 320, 150  # of a chart, in its own units
SMOOTHED = 5  # steps of a learning curve that are shown as their mean


def said(found: ArmDifference, signed: bool = False) -> str:
    """A mean with its interval: “+0.06 (+0.02 to +0.10)”; that of a score ends at 0 and at 1."""
    form, least = ("+.2f", -1.0) if signed else (".2f", 0.0)
    if found.low is None or found.high is None:
        return f"{found.mean:{form}}"
    ends = found.mean, max(found.low, least), min(found.high, 1.0)
    mean, low, high = (f"{round(end, 2) + 0.0:{form}}" for end in ends)  # never “-0.00”
    return f"{mean} ({low} to {high})"


def rows(results: Sequence[StudentResult]) -> list[tuple[str, dict[str, str]]]:
    """The table: for each arm mean@k on each test, over students, with its interval."""
    return [
        (
            arm,
            {
                test: said(mean_of([score(result, arm, test) for result in results]))
                for test in TESTS
            },
        )
        for arm in (UNTRAINED, *LAB_ARMS)
    ]


def differences(results: Sequence[StudentResult]) -> list[tuple[str, dict[str, str]]]:
    """Each arm less one-shot, paired by student, and in how many students it is higher."""
    found = []
    for arm in LAB_ARMS:
        if arm != ONE_SHOT:
            apart = {test: difference(results, arm, test) for test in TESTS}
            told = {
                test: f"{said(one, signed=True)}, higher in {one.above} of {one.students}"
                for test, one in apart.items()
            }
            found.append((arm, told))
    return found


def verdicts(results: Sequence[StudentResult]) -> list[str]:
    """What the differences say, in words, for each arm that the loop made."""
    return [
        f"{arm} against {other}, {test} test: {said(found, signed=True)}: {_word(found)}"
        for arm, other in (
            ("paper", ONE_SHOT),
            ("paper", "length-matched"),
            ("paper", "equal time"),
            ("measured", "paper"),
        )
        for test in ("agentic", ONE_SHOT)
        for found in [difference(results, arm, test, other)]
    ]


def _word(found: ArmDifference) -> str:
    if found.low is None or found.high is None:
        return f"cannot be told from {found.students} student{'s' if found.students > 1 else ''}"
    if found.low > 0:
        return "higher"
    if found.high < 0:
        return "lower"
    return f"cannot be told from {found.students} students"


def training(results: Sequence[StudentResult]) -> list[tuple[str, dict[str, str]]]:
    """How each arm was trained, means over students."""
    return [
        (
            arm,
            {
                "steps": f"{fmean(r.arms[arm].steps for r in results):.0f}",
                "seconds of processor": f"{fmean(r.arms[arm].seconds for r in results):.0f}",
                "characters of a question": f"{fmean(r.lengths[arm] for r in results):.1f}",
                "groups all alike": f"{fmean(alike(r, arm) for r in results):.0%}",
                "cut off": f"{fmean(r.arms[arm].cut for r in results):.1%}",
                "no answer": f"{fmean(r.arms[arm].formless for r in results):.1%}",
                "tokens of an answer": f"{fmean(r.arms[arm].tokens for r in results):.1f}",
            },
        )
        for arm in LAB_ARMS
    ]


def loops(results: Sequence[StudentResult]) -> list[tuple[str, dict[str, str]]]:
    """What the loop took and gave, by preset, over all students."""
    found = []
    for preset in results[0].loops:
        ran = [result.loops[preset] for result in results]
        accepted, tried = sum(len(r.accepted) for r in ran), sum(r.documents for r in ran)
        objections = Counter[str]()
        for one in ran:
            objections.update(one.objections)
        told = ", ".join(f"{code} {count}" for code, count in objections.most_common())
        levels = Counter(item.level for one in ran for item in one.accepted)
        found.append(
            (
                preset,
                {
                    "accepted": f"{accepted} of {tried} documents",
                    "rounds": f"{sum(r.rounds for r in ran) / tried:.1f}",
                    "calls for each": f"{sum(r.calls for r in ran) / max(accepted, 1):.1f}",
                    "seconds of processor": f"{fmean(r.seconds for r in ran):.0f}",
                    "levels accepted": ", ".join(f"{at}: {levels[at]}" for at in sorted(levels)),
                    "rounds objected to": told,
                },
            )
        )
    return found


def by_level(results: Sequence[StudentResult]) -> dict[str, list[float]]:
    """Accuracy at each level of the neutral test, untrained and after each arm."""
    return {
        arm: [
            fmean(value for r in results for value in r.arms[arm].levels[str(level)])
            for level in LEVELS
            if all(r.arms[arm].levels[str(level)] for r in results)
        ]
        for arm in (UNTRAINED, *LAB_ARMS)
    }


def curves(results: Sequence[StudentResult]) -> dict[str, list[float]]:
    """The mean reward of each arm's own questions while it was trained, smoothed."""
    found = {}
    for arm in LAB_ARMS:
        steps = min(len(result.arms[arm].curve) for result in results)
        mean = [fmean(r.arms[arm].curve[at].reward for r in results) for at in range(steps)]
        found[arm] = [fmean(mean[max(0, at - SMOOTHED + 1) : at + 1]) for at in range(len(mean))]
    return found


def sizes(how: LabSettings, results: Sequence[StudentResult]) -> str:
    """How many questions the arms have: as many as are wanted, unless a loop accepted too few."""
    least, most = min(r.rows for r in results), max(r.rows for r in results)
    if not least:
        return f"at most {how.rows}"
    return str(most) if least == most else f"{least} to {most}"


def points(values: Sequence[float], longest: int) -> str:
    """A line through values 0 … 1, as the points of an SVG."""
    step = WIDE / max(longest - 1, 1)
    return " ".join(f"{n * step:.1f},{HIGH * (1 - value):.1f}" for n, value in enumerate(values))


def page(how: LabSettings, results: Sequence[StudentResult], quick: bool, style: str) -> str:
    """The whole page."""
    made = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    text = files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    levels, learned = by_level(results), curves(results)
    return made.from_string(text).render(
        how=how,
        quick=quick,
        style=style,
        students=len(results),
        sizes=sizes(how, results),
        arms=LAB_ARMS,
        tests=TESTS,
        scores=rows(results),
        apart=differences(results),
        verdicts=verdicts(results),
        training=training(results),
        loops=loops(results),
        levels=levels,
        learned=learned,
        points=points,
        colours=[UNTRAINED, *LAB_ARMS],
        longest=max(map(len, learned.values())),
        wide=WIDE,
        high=HIGH,
        transcript=results[0].loops["paper"].transcript,
    )
