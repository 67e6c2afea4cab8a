"""Each format becomes Markdown: headings, prose, code and maths, and no debris."""

import io
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pypdf import PdfWriter
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

from autodata.documents.formats import BadRow, Text, read
from autodata.documents.text import FormatError


def converted(folder: Path, name: str, content: str | bytes) -> str:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    [text] = read(path)
    assert isinstance(text, Text)
    return text.text


def refused(folder: Path, name: str, content: str | bytes) -> str:
    with pytest.raises(FormatError) as caught:
        converted(folder, name, content)
    return str(caught.value)


# Markdown and reStructuredText


def test_markdown_loses_front_matter_comments_and_link_targets(tmp_path: Path) -> None:
    text = """---
title: "Write-ahead logs"
author: A. N. Other
---
<!-- toc -->
See [the paper](https://example.org/a_(b).pdf "PDF") and ![a log](img/log.png) or ![](x.png).

```md
[kept](as/it/is) <!-- in code -->
```

[paper]: https://example.org
"""
    assert converted(tmp_path, "a.md", text) == (
        "# Write-ahead logs\n\nSee the paper and [Figure: a log] or .\n\n"
        "```md\n[kept](as/it/is) <!-- in code -->\n```"
    )


def test_two_lines_with_colons_are_no_front_matter(tmp_path: Path) -> None:
    text = "Note: read this.\nWarning: and that.\n\nBody."
    assert converted(tmp_path, "a.md", text) == text


def test_rst_becomes_markdown(tmp_path: Path) -> None:
    text = """PEP: 9999
Title: Quiet locks
Post-History: then,
  and later

Abstract
========

Use ``Lock`` from :py:mod:`threading <x>`, see :pep:`703` and `the docs <https://e.org>`_ [#a]_::

    left as it is

Details
-------

.. code-block:: python
   :linenos:

   # not a heading
   lock()

.. comment that nobody reads
   nor its second line

.. note:: Mind the *gap*.

.. math:: a^2

.. [#a] A footnote.
.. _target: https://example.org
"""
    assert (
        converted(tmp_path, "a.rst", text)
        == """# Quiet locks

## Abstract

Use `Lock` from threading, see PEP 703 and the docs:

    left as it is

### Details

```python
# not a heading
lock()
```

Mind the *gap*.

$$
a^2
$$"""
    )


def test_a_line_over_a_shorter_rule_is_no_rst_heading(tmp_path: Path) -> None:
    text = "Some prose that is not a title\n---\n\nMore."
    assert converted(tmp_path, "a.rst", text) == text


# LaTeX


def test_latex_keeps_prose_and_maths(tmp_path: Path) -> None:
    text = r"""\documentclass{article}
\newcommand{\name}{Raft}
\title{On \name}
\begin{document}
\maketitle % a comment
\section{Safety}\label{sec:safe}
\name{} is 100\% \emph{safe}~\cite{x}, with $x_{1} < \frac{1}{2}$ and
% a line of comment
\begin{align*} a &= b \\ c &= d \label{eq} \end{align*}
\begin{thm}[Main] If \(p\) then $q$. \end{thm}
\begin{itemize}
  \item first, see Section~\ref{sec:safe}
\end{itemize}
\begin{figure}\includegraphics{x}\caption{Two \textbf{logs}.}\end{figure}
\begin{verbatim}
100% kept \emph{here}
\end{verbatim}
\end{document}
trailing
"""
    assert (
        converted(tmp_path, "a.tex", text)
        == r"""# On Raft

## Safety

Raft is 100% *safe*, with $x_{1} < \frac{1}{2}$ and

$$
\begin{aligned}
a &= b \\ c &= d
\end{aligned}
$$

**Theorem (Main).** If $p$ then $q$.

- first, see Section [sec:safe]

[Figure: Two **logs**.]

```
100% kept \emph{here}
```"""
    )


# HTML


def test_a_page_is_its_main_matter(tmp_path: Path) -> None:
    text = """<html><head><title>Momentum</title><script>var x</script><style>p{}</style></head>
<body><nav>Home</nav><div style="display: none;"><dt-math>\\star</dt-math></div>
<article><h2>Why</h2><!-- <p>old</p> --><p>A ball <dt-math>\\alpha_i</dt-math> rolls
<dt-cite key="a"></dt-cite>and <a href="x">falls</a>.</p>
<figure><text>Step 0.02</text><figcaption>A ball on a hill.</figcaption></figure>
<script type="math/tex; mode=display">E=mc^2</script>
<pre><code>a_b * c</code></pre></article><footer>Imprint</footer></body></html>"""
    assert converted(tmp_path, "a.html", text) == (
        "# Momentum\n\n## Why\n\nA ball $\\alpha_i$ rolls\nand falls.\n\nA ball on a hill.\n\n"
        "$$\nE=mc^2\n$$\n\n```\na_b * c\n```"
    )


# PDF and Word


def pdf(*pages: str) -> bytes:
    """A PDF whose pages hold these lines."""
    writer = PdfWriter()
    font = DictionaryObject(
        {
            NameObject("/Type"): NameObject("/Font"),
            NameObject("/Subtype"): NameObject("/Type1"),
            NameObject("/BaseFont"): NameObject("/Helvetica"),
        }
    )
    for lines in pages:
        page = writer.add_blank_page(612, 792)
        page[NameObject("/Resources")] = DictionaryObject(
            {NameObject("/Font"): DictionaryObject({NameObject("/F1"): font})}
        )
        stream = DecodedStreamObject()
        shown = "".join(f"({line}) Tj 0 -14 Td " for line in lines.splitlines())
        stream.set_data(f"BT /F1 12 Tf 72 720 Td {shown}ET".encode())
        page[NameObject("/Contents")] = writer._add_object(stream)
    file = io.BytesIO()
    writer.write(file)
    return file.getvalue()


def test_a_pdf_is_its_text_without_running_titles(tmp_path: Path) -> None:
    said = (
        "Logs come first on inter-\nnal disks.",
        "Pages follow.",
        "Clients wait.",
        "So it ends.",
    )
    pages = [f"Journal of Logs {n}\n{body}\n{n}" for n, body in enumerate(said, start=7)]
    text = converted(tmp_path, "a.pdf", pdf(*pages))
    assert text.split() == [
        "Logs",
        "come",
        "first",
        "on",
        "internal",
        "disks.",
        "Pages",
        "follow.",
        "Clients",
        "wait.",
        "So",
        "it",
        "ends.",
    ]


def test_a_scan_and_a_damaged_pdf_are_told_apart(tmp_path: Path) -> None:
    assert "OCR" in refused(tmp_path, "scan.pdf", pdf(""))
    assert "damaged" in refused(tmp_path, "broken.pdf", b"%PDF-1.7 and nothing more")


def word(paragraph: str) -> bytes:
    parts = {
        "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/'
        'content-types"><Default Extension="xml" ContentType="application/xml"/></Types>',
        "_rels/.rels": '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/'
        'relationships"><Relationship Id="r1" Type="http://schemas.openxmlformats.org/'
        'officeDocument/2006/relationships/officeDocument" Target="word/document.xml"/>'
        "</Relationships>",
        "word/document.xml": '<w:document xmlns:w="http://schemas.openxmlformats.org/'
        'wordprocessingml/2006/main"><w:body><w:p><w:pPr><w:pStyle w:val="Heading1"/></w:pPr>'
        "<w:r><w:t>Title</w:t></w:r></w:p><w:p><w:r><w:t>"
        f"{paragraph}</w:t></w:r></w:p></w:body></w:document>",
    }
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return file.getvalue()


def test_a_word_document_keeps_headings_and_paragraphs(tmp_path: Path) -> None:
    text = converted(tmp_path, "a.docx", word("It was dark."))
    assert text.endswith("Title\n\nIt was dark.")
    assert "not a Word document" in refused(tmp_path, "b.docx", b"PK nothing")


# Plain text and encodings


def test_lone_numerals_and_statute_lines_are_headings(tmp_path: Path) -> None:
    text = "Preamble.\n\nII\nThe facts.\n\nSec. 3. Stay of trial\n\nIf any suit."
    assert converted(tmp_path, "a.txt", text) == (
        "Preamble.\n\n## II\n\nThe facts.\n\n## Sec. 3. Stay of trial\n\nIf any suit."
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
def test_text_is_read_in_its_encoding(tmp_path: Path, encoding: str) -> None:
    said = "A “naïve” café, and a long enough line."
    assert converted(tmp_path, "a.txt", said.encode(encoding)) == said


def test_binary_and_undecodable_files_are_refused(tmp_path: Path) -> None:
    assert refused(tmp_path, "a.txt", bytes(range(256))) == "binary data"
    assert refused(tmp_path, "b.txt", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR") == "binary data"
    assert "undecodable" in refused(tmp_path, "c.txt", b"caf\x81")


def test_an_unknown_suffix_is_named(tmp_path: Path) -> None:
    assert refused(tmp_path, "a.xyz", "text") == "unsupported format .xyz"
    assert "no suffix" in refused(tmp_path, "Makefile", "all:")


# Tables


def test_a_row_is_its_text_column_and_keeps_the_others(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(
        '{"Content": "A log.", "year": 2020, "deep": {"a": 1}}\n\n"only text"\n{oops\n3'
    )
    [first, second, third, fourth] = read(path)
    assert first == Text("A log.", 1, {"column": "Content", "fields": {"year": 2020}})
    assert isinstance(second, Text)
    assert second.text == "only text"
    assert isinstance(third, BadRow)
    assert "not JSON" in third.reason
    assert fourth == BadRow(4, "a row is neither an object nor text")


def test_odd_but_valid_rows_are_read_and_stored_as_json(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "One\u2028line.", "n": NaN, "x": 1e999}\n' + "[" * 100_000)
    [odd, deep] = read(path)
    assert odd == Text("One\nline.", 1, {"column": "text", "fields": {}})
    assert isinstance(deep, BadRow)


def test_a_page_nested_without_end_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path, "a.html", "<div>" * 5_000) == "nested too deeply"


def test_a_row_without_text_column_is_rendered_without_its_provenance(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"problem": "Add.", "answer": "2", "exercise_id": "x9", "license": "CC"}')
    [row] = read(path)
    fields = {"exercise_id": "x9", "license": "CC"}
    assert row == Text(
        "**problem:** Add.\n\n**answer:** 2", 1, {"column": "problem, answer", "fields": fields}
    )


def test_csv_may_use_semicolons_and_hold_whole_chapters(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    chapter = "word " * 40_000
    path.write_text(f'name;text\none;"{chapter}"\ntwo;\n', encoding="utf-8")
    [first, second] = read(path)
    assert isinstance(first, Text)
    assert first.text == chapter.strip()
    assert second.text.startswith("**name:** two") if isinstance(second, Text) else False


def test_parquet_rows_are_documents(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist([{"body": "A log.", "n": 1}, {"body": None, "n": 2}]), path)
    [first, second] = read(path)
    assert first == Text("A log.", 1, {"column": "body", "fields": {"n": 1}})
    assert second == BadRow(2, "no text in the fields body, n")
    assert "damaged Parquet" in refused(tmp_path, "broken.parquet", b"PAR1")
