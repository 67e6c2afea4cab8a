"""The documents of the demo are read like anybody's."""

from pathlib import Path

import pytest

import autodata
from autodata.documents.corpus import ingest

DEMO = Path(autodata.__file__).parent / "demo"


@pytest.mark.parametrize("task", ["cs", "legal", "science"])
def test_each_task_has_eight_documents_that_are_taken_whole(task: str) -> None:
    corpus = ingest([DEMO / task])
    documents = list(corpus)
    assert len(documents) == 8
    assert corpus.skipped == []
    for document in documents:
        written = (DEMO / task / document.name).read_text(encoding="utf-8")
        assert document.text == written.strip(), document.name
        words = len(document.text.split())
        assert 600 <= words <= 1200 or "disposition" in document.name, (document.name, words)


def test_one_opinion_is_a_bare_disposition() -> None:
    [bare] = [d for d in ingest([DEMO / "legal"]) if len(d.text.split()) < 250]
    assert "affirmed by an equally divided court" in bare.text
