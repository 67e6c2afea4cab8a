"""Pass rate against iteration, drawn: what was kept, what was rejected, and how sure we are."""

from collections.abc import Sequence
from html import escape

from autodata.ledger.iterations import Iteration
from autodata.tasks.measurement import wilson

WIDTH, HEIGHT, LEFT, BOTTOM = 860, 320, 42, 30
COLORS = {"start": "best", "kept": "kept", "rejected": "rejected", "indecisive": "rejected"}


def curve(made: Sequence[Iteration], pooled: dict[int, tuple[int, int]]) -> str:
    """An SVG. `pooled` maps a harness to (accepted, decided) over all its evaluations; it is drawn
    there with its interval, and a rejected mutant at what it had reached when it was stopped."""
    last = max((i.number for i in made), default=0)
    drawn = [_grid(last)]
    best: list[tuple[float, float]] = []
    for i in made:
        if i.score is None:
            continue
        if i.number not in pooled:
            drawn.append(_dot(i, _x(i.number, last), _y(i.score)))
            continue
        accepted, decided = pooled[i.number]
        rate = accepted / decided if decided else 0.0
        low, high = wilson(accepted, decided)
        x = _x(i.number, last)
        drawn.append(_bar(x, _y(low), _y(high)))
        drawn.append(_dot(i, x, _y(rate)))
        best.append((x, min(_y(rate), best[-1][1] if best else HEIGHT)))
    steps = "".join(f" H{x:.1f} V{y:.1f}" for x, y in best[1:])
    if best:
        start = f"M{best[0][0]:.1f} {best[0][1]:.1f}"
        path = f'<path d="{start}{steps} H{WIDTH - 8}" fill="none" stroke="var(--best)"/>'
        drawn.append(path)
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="pass rate against iteration">{"".join(drawn)}</svg>'
    )


def _x(number: int, last: int) -> float:
    return LEFT + 10 + (WIDTH - LEFT - 24) * number / max(last, 1)


def _y(rate: float) -> float:
    return (HEIGHT - BOTTOM) - (HEIGHT - BOTTOM - 12) * rate


def _grid(last: int) -> str:
    lines = [
        f'<line x1="{LEFT}" x2="{WIDTH - 8}" y1="{_y(r):.1f}" y2="{_y(r):.1f}" '
        f'stroke="var(--line)"/><text x="4" y="{_y(r) + 4:.1f}">{r:.0%}</text>'
        for r in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    step = max(last // 10, 1)
    lines += [
        f'<text x="{_x(n, last):.1f}" y="{HEIGHT - 8}" text-anchor="middle">{n}</text>'
        for n in range(0, last + 1, step)
    ]
    return "".join(lines)


def _bar(x: float, low: float, high: float) -> str:
    return (
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}" stroke="var(--kept)" '
        'stroke-opacity="0.4"/>'
    )


def _dot(i: Iteration, x: float, y: float) -> str:
    color = f"var(--{COLORS.get(i.decision, 'invalid')})"
    fill = "none" if i.decision in ("rejected", "indecisive") else color
    label = escape(f"{i.number} {i.decision}: {i.subject or i.reason}")
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{fill}" stroke="{color}">'
        f"<title>{label}</title></circle>"
    )
