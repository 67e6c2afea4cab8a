"""How every measurement is told: a table to read, and JSON under benchmarks/results/ to keep."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

FOLDER = Path(__file__).with_name("results")


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    return {
        "cores": os.cpu_count(),
        "processor": platform.machine(),
        "python": platform.python_version(),
        "load": os.getloadavg()[0],
    }


def report(name: str, title: str, rows: Sequence[Mapping[str, Any]], **more: Any) -> None:
    """Prints the rows as a table and writes `name`.json: machine, rows and whatever else."""
    table = Table(title=title, title_justify="left")
    for column in rows[0]:
        table.add_column(column, justify="left" if column == next(iter(rows[0])) else "right")
    for row in rows:
        table.add_row(*(shown(value) for value in row.values()))
    Console(width=140).print(table)
    FOLDER.mkdir(exist_ok=True)
    kept = {"title": title, "machine": machine(), "rows": rows, **more}
    path = FOLDER / f"{name}.json"
    path.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def shown(value: Any) -> str:
    """A value in a table: three figures are enough."""
    if isinstance(value, float):
        return f"{value:.2f}" if abs(value) < 100 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
