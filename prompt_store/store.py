"""The prompt store: a git repository of its own that people and the optimizer share.

`main` belongs to people. The optimizer writes commits without a work tree and points refs of its
own at them: a champion branch to review, and one ref per mutant so that none is ever collected.
For people there are the family tree of a store's prompts, and the merge that adopts a champion.

git is a subprocess with the store's own configuration and nothing that the caller inherited. Text
that a model wrote reaches it through stdin only, so it can never be read as an option.
"""

import fcntl
import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from importlib.resources import files as package_files
from pathlib import Path
from typing import Literal

from autodata.prompt_store.prompt import PromptSet, packaged, problems
from autodata.tasks.types import Frozen

# The name on commits; the person who adopts a champion signs the merge with their own.
IDENTITY = ("autodata", "autodata@localhost")


class StoreError(RuntimeError):
    """The prompt store cannot do what was asked: the message says what is wrong and what to do."""


class Git:
    """Runs git commands on one repository."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *arguments: str, stdin: str | bytes = b"", when: int | None = None) -> str:
        """stdout of a command as text; raises StoreError with git's own words when it fails.

        `when` is the time in commits, in seconds since 1970; the clock's by default.
        """
        return self.raw(*arguments, stdin=stdin, when=when).decode("utf-8")

    def raw(self, *arguments: str, stdin: str | bytes = b"", when: int | None = None) -> bytes:
        """stdout of a command as bytes; raises StoreError as above."""
        data = stdin.encode("utf-8") if isinstance(stdin, str) else stdin
        command = ["git", f"--git-dir={self.folder}", "-c", f"core.hooksPath={os.devnull}"]
        try:
            done = subprocess.run(
                [*command, *arguments], input=data, capture_output=True, env=_environment(when)
            )
        except FileNotFoundError as error:
            raise StoreError("git is not installed; the prompt store needs it") from error
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip() or f"exit {done.returncode}"
            raise StoreError(f"{self.folder}: git {arguments[0]} failed: {said}")
        return done.stdout


def _environment(when: int | None) -> dict[str, str]:
    """The caller's environment without its GIT_*, which could redirect us to another repository.

    Personal and system configuration is left out as well: signing, encodings or separators set
    there would change what is written and how it is parsed.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    name, email = IDENTITY
    ours = {"LC_ALL": "C", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    for who in ("AUTHOR", "COMMITTER"):
        ours |= {f"GIT_{who}_NAME": name, f"GIT_{who}_EMAIL": email}
        if when is not None:
            ours[f"GIT_{who}_DATE"] = f"@{when} +0000"
    return kept | ours


MAIN = "refs/heads/main"
NOTES = "refs/notes/autodata"
TESTED = "refs/notes/autodata-tested"  # lines of run and document: who scored a winner on what
ATTRIBUTES = "* text=auto eol=lf\n*.md diff=markdown\n"
SUBJECT_MAX = 72  # characters; what git's own tools show on one line

_PATH = re.compile(r"[a-z0-9_]+/[a-z0-9_]+\.(?:md|yaml)")
_RUN = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]|\.(?=[A-Za-z0-9_-]))*")
_TRAILER = re.compile(r"[A-Za-z][A-Za-z0-9-]*")
_FIELDS = ("%H", "%P", "%ct", "%s", "%b", "%(trailers)", "%(trailers:only,unfold)", "%N")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")

RefGroup = Literal["pop", "rejected", "invalid"]


class Commit(Frozen):
    """One revision: `time` in seconds since 1970 (UTC), `note` what was found out later."""

    sha: str
    parents: tuple[str, ...]
    time: int
    subject: str
    body: str
    trailers: Mapping[str, str]
    note: str


def champion_ref(run: str) -> str:
    """The branch that a run offers for review."""
    return f"refs/heads/autodata/{_run(run)}/champion"


def mutant_ref(run: str, group: RefGroup, number: int) -> str:
    """The ref that keeps a run's mutant, whatever became of it."""
    return f"refs/autodata/{_run(run)}/{group}/{number}"


class Store:
    """A prompt store on disk. Every method leaves the work tree, index and `main` alone."""

    def __init__(self, folder: Path, tree: Path | None = None) -> None:
        """`folder` is the repository's git folder, `tree` its work tree where that lies elsewhere
        (a submodule, a linked work tree); use `open` or `init`."""
        self.path = tree or (folder.parent if folder.name == ".git" else folder)
        self._folder = folder
        self._git = Git(folder)

    @classmethod
    def init(cls, path: Path) -> "Store":
        """A new store at `path` with the packaged prompts on `main`, checked out for people.

        Raises StoreError when something is there already.
        """
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise StoreError(f"{path}: something is here already; name a new or an empty folder")
        path.mkdir(parents=True, exist_ok=True)
        store = cls(path.absolute() / ".git")
        git = store._git
        git("init", "--quiet", "--template=", "--initial-branch=main", str(path.absolute()))
        # `git log` in the store shows later evaluations; clones fetch them as README.md says.
        git("config", "notes.displayRef", NOTES)
        seeds = packaged()
        readme = package_files("autodata.prompt_store").joinpath("seed/README.md").read_text()
        tree = store._write_tree({**seeds.files, "README.md": readme, ".gitattributes": ATTRIBUTES})
        message = _message("Start from the packaged prompts", "", {"Autodata-Seed": seeds.revision})
        sha = git("commit-tree", tree, "-F", "-", stdin=message).strip()
        store._update_refs({MAIN: (sha, None)})
        git(f"--work-tree={path.absolute()}", "reset", "--quiet", "--hard")
        return store

    @classmethod
    def open(cls, path: Path) -> "Store":
        """The store at `path`, a work tree (of a submodule, too) or a bare clone; raises StoreError
        when it is none."""
        for folder in (path / ".git", path):
            if folder.is_file() or (folder / "HEAD").is_file():
                common = Git(folder)("rev-parse", "--path-format=absolute", "--git-common-dir")
                tree = path.resolve() if folder.is_file() else None
                return cls(Path(common.removesuffix("\n")), tree)
        raise StoreError(
            f"{path}: no prompt store; create one with `autodata prompts init {path}`, or leave "
            "prompts.path out to use the packaged prompts"
        )

    def resolve(self, revision: str) -> str:
        """The full id of the commit that a branch, tag, ref, abbreviation or `main~2` names."""
        if revision.isprintable():
            said = self._git("cat-file", "--batch-check", stdin=f"{revision}^{{commit}}\n")
            sha, _, kind = said.strip().partition(" ")
            if kind.startswith("commit "):
                return sha
        refs = self.refs()
        run = re.fullmatch(r"(?:refs/heads/)?autodata/([^/]+)/champion", revision)
        if run and f"refs/autodata/{run[1]}/pop/0" in refs:
            raise StoreError(
                f"{self.path}: the optimization {run[1]} offers nothing to adopt: no edit beat the "
                "prompts that it started from"
            )
        names = [re.sub(r"^refs/(?:heads/|tags/)?", "", ref) for ref in refs]
        near = get_close_matches(revision, names, n=5, cutoff=0.5) or sorted(names)[:5]
        raise StoreError(
            f"{self.path}: no revision {revision!r}; near it: {', '.join(near) or 'nothing'}"
        )

    def files(self, revision: str) -> dict[str, str]:
        """Path → text of the prompts of a revision as they are, sound or not."""
        return {path: text for path, text in self._texts(revision).items() if "/" in path}

    def read(self, revision: str = "main") -> PromptSet:
        """The prompts of a revision, cited by full commit id.

        Raises StoreError when the revision is unknown or its prompts cannot be used.
        """
        sha = self.resolve(revision)
        prompts = PromptSet(revision=sha, files=self.files(sha))
        if found := problems(prompts):
            listed = "".join(f"\n  {problem}" for problem in found)
            raise StoreError(f"{self.path}: {revision} cannot be used:{listed}")
        return prompts

    def commit(
        self,
        files: Mapping[str, str],
        parents: Sequence[str],
        subject: str,
        body: str = "",
        trailers: Mapping[str, str] | None = None,
        when: int | None = None,
    ) -> str:
        """Writes a commit that has exactly these prompts, and returns its id; no ref moves yet.

        What is not a prompt (README.md, .gitattributes) stays as in the first parent. Subject, body
        and trailer values may be any text. With `when` (seconds since 1970) the same input gives
        the same id. Raises StoreError for a missing or unknown parent, an unfit path or an empty
        subject.
        """
        if not parents:
            raise StoreError("a commit of prompts needs a parent; `main` is where they start")
        for path in files:
            if not _PATH.fullmatch(path):
                raise StoreError(
                    f"{path!r} is no prompt; use <task>/<name>.md or <task>/<name>.yaml"
                )
        shas = [self.resolve(parent) for parent in parents]
        kept = self._texts(shas[0])
        tree = self._write_tree({p: t for p, t in kept.items() if "/" not in p} | dict(files))
        options = [option for sha in shas for option in ("-p", sha)]
        message = _message(subject, body, trailers or {})
        return self._git("commit-tree", tree, *options, "-F", "-", stdin=message, when=when).strip()

    def update_refs(self, changes: Mapping[str, tuple[str | None, str | None]]) -> None:
        """Moves the optimizer's refs from old to new commits, all of them or none.

        `changes` maps a ref to (new, old); an old None means that the ref must not exist yet, a
        new None deletes it. Raises StoreError when a ref is not where it was expected, and for refs
        that are not the optimizer's to move.
        """
        for ref in changes:
            if not ref.startswith(("refs/autodata/", "refs/heads/autodata/")):
                raise StoreError(f"{ref}: not the optimizer's to move; it belongs to people")
        self._update_refs(changes)

    def refs(self, prefix: str = "refs/") -> dict[str, str]:
        """Ref → commit id, for all refs below a prefix that ends in a slash."""
        lines = self._git("for-each-ref", "--format=%(objectname) %(refname)").splitlines()
        pairs = (line.split(" ", 1) for line in lines)
        return {
            ref: sha for sha, ref in pairs if ref.startswith(prefix) and ref not in (NOTES, TESTED)
        }

    def history(self, revisions: Iterable[str] = ()) -> list[Commit]:
        """Every commit that the revisions (default: all refs) reach, parents before children."""
        shas = [self.resolve(revision) for revision in revisions] or list(self.refs().values())
        said = self._git(
            "log", "--stdin", "--topo-order", "--reverse", "-z", f"--notes={NOTES}",
            "--no-show-signature", "--no-color", f"--format={'%x00'.join(_FIELDS)}",
            stdin="\n".join(shas),
        )  # fmt: skip
        fields = said.removesuffix("\0").split("\0")
        width = len(_FIELDS)
        return [_commit(fields[i : i + width]) for i in range(0, len(fields) - 1, width)]

    def note(self, revision: str, text: str) -> None:
        """Appends to the note of a commit, for example a later evaluation."""
        sha = self.resolve(revision)
        with self._one_writer():
            self._git("notes", f"--ref={NOTES}", "append", "-F", "-", sha, stdin=_clean(text))

    def tested(self) -> dict[str, set[str]]:
        """Run → the test documents (hex digits) on which it scored a winner."""
        blobs = [
            line.split()[0] for line in self._git("notes", f"--ref={TESTED}", "list").splitlines()
        ]
        found: dict[str, set[str]] = {}
        for data in self._blobs(blobs):
            for line in data.decode("utf-8").splitlines():
                run, _, document = line.partition(" ")
                if document:
                    found.setdefault(run, set()).add(document)
        return found

    def note_tested(self, revision: str, run: str, documents: Iterable[str]) -> None:
        """Notes on a commit that a run scores a winner on these test documents, each once."""
        new = sorted(set(documents) - self.tested().get(_run(run), set()))
        if new:
            lines = "".join(f"{run} {document}\n" for document in new)
            sha = self.resolve(revision)
            with self._one_writer():
                self._git("notes", f"--ref={TESTED}", "append", "-F", "-", sha, stdin=lines)

    def diff(self, old: str, new: str) -> str:
        """What changed from one revision to another, as a unified diff."""
        a, b = self.resolve(old), self.resolve(new)
        return self._git("diff-tree", "-r", "-p", "--no-ext-diff", "--no-textconv", a, b)

    def common_ancestor(self, one: str, other: str) -> str:
        """The commit at which two lines of descent parted; raises StoreError if they never met."""
        return self._git("merge-base", self.resolve(one), self.resolve(other)).split()[0]

    def _texts(self, revision: str) -> dict[str, str]:
        """Path → text of every file of a revision."""
        shas: dict[str, str] = {}
        listing = self._git("ls-tree", "-r", "-z", "--full-tree", self.resolve(revision))
        for entry in listing.split("\0")[:-1]:
            meta, path = entry.split("\t", 1)
            mode, _, shas[path] = meta.split()
            if not mode.startswith("100"):
                raise StoreError(f"{self.path}: {path} of {revision} is not a regular file")
        texts = {}
        for path, data in zip(shas, self._blobs(shas.values()), strict=True):
            try:
                texts[path] = data.decode("utf-8")
            except UnicodeDecodeError as error:
                raise StoreError(f"{self.path}: {path} of {revision} is not UTF-8") from error
        return texts

    def _blobs(self, shas: Iterable[str]) -> Iterator[bytes]:
        """The contents of these objects, in order. Raises StoreError for one that is lost."""
        stream = self._git.raw("cat-file", "--batch", stdin="".join(f"{s}\n" for s in shas))
        while stream:
            header, _, stream = stream.partition(b"\n")
            if header.endswith(b" missing"):
                raise StoreError(f"{self.path}: {header.decode()}; run `git fsck`")
            size = int(header.split()[2])
            yield stream[:size]
            stream = stream[size + 1 :]

    def _write_tree(self, files: Mapping[str, str]) -> str:
        """Writes blobs and trees for files at most one folder deep; returns the tree's id."""
        folders: dict[str, list[str]] = {}
        root: list[str] = []
        for path, text in sorted(files.items()):
            folder, _, name = path.rpartition("/")
            line = f"100644 blob {self._write_blob(path, text)}\t{name}"
            (folders.setdefault(folder, []) if folder else root).append(line)
        for folder, lines in folders.items():
            tree = self._git("mktree", stdin="\n".join(lines)).strip()
            root.append(f"040000 tree {tree}\t{folder}")
        return self._git("mktree", stdin="\n".join(root)).strip()

    def _write_blob(self, path: str, text: str) -> str:
        try:
            data = text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise StoreError(f"{path}: holds a character that is not valid Unicode") from error
        return self._git("hash-object", "-w", "--stdin", stdin=data).strip()

    def _update_refs(self, changes: Mapping[str, tuple[str | None, str | None]]) -> None:
        lines = []
        for ref, (new, old) in changes.items():
            if new is None:
                lines.append(f"delete {ref}\0{old or ''}\0")
            elif old is None:
                lines.append(f"create {ref}\0{self.resolve(new)}\0")
            else:
                lines.append(f"update {ref}\0{self.resolve(new)}\0{old}\0")
        self._git("update-ref", "--stdin", "-z", stdin="".join(lines))

    @contextmanager
    def _one_writer(self) -> Iterator[None]:
        """`git notes` reads and rewrites one tree: of writers at the same time all but one lose."""
        with (self._folder / "autodata-notes.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def merge_files(
    base: Mapping[str, str], one: Mapping[str, str], other: Mapping[str, str]
) -> dict[str, str]:
    """Both edits of `base` together, for a crossover; raises StoreError where they overlap.

    Files are the unit: two edits of the same file were never judged together, even where their
    lines could be merged.
    """
    paths = sorted(base.keys() | one.keys() | other.keys())
    both = [p for p in paths if base.get(p) != one.get(p) != other.get(p) != base.get(p)]
    if both:
        raise StoreError(f"both mutants edit {', '.join(both)}; only different files are merged")
    chosen = {p: other.get(p) if one.get(p) == base.get(p) else one.get(p) for p in paths}
    return {path: text for path, text in chosen.items() if text is not None}


def _run(name: str) -> str:
    if not _RUN.fullmatch(name) or name.endswith(".lock"):
        raise StoreError(
            f"{name!r} cannot name a run in git; use letters, digits, underscores, dashes and "
            "single inner dots, not ending in .lock"
        )
    return name


def _message(subject: str, body: str, trailers: Mapping[str, str]) -> bytes:
    """Subject, body and trailers, each a paragraph of its own; trailers are always the last."""
    line = " ".join(_clean(subject).split())
    if not line:
        raise StoreError("a commit needs a subject that says what it changes")
    if len(line) > SUBJECT_MAX:
        line = f"{line[: SUBJECT_MAX - 1].rstrip()}…"
    for key in trailers:
        if not _TRAILER.fullmatch(key):
            raise StoreError(f"{key!r} cannot be a trailer; use letters, digits and dashes")
    block = "\n".join(f"{k}: {' '.join(_clean(v).split()) or '-'}" for k, v in trailers.items())
    parts = [part for part in (line, _clean(body).strip(), block) if part]
    return ("\n\n".join(parts) + "\n").encode("utf-8")


def _clean(text: str) -> str:
    """Text that git stores as it stands: no control characters, no lone surrogates."""
    visible = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return _CONTROL.sub(" ", visible.replace("\r\n", "\n"))


def _commit(fields: Sequence[str]) -> Commit:
    sha, parents, time, subject, body, block, trailers, note = fields
    pairs = (line.split(": ", 1) for line in trailers.splitlines())
    return Commit(
        sha=sha,
        parents=tuple(parents.split()),
        time=int(time),
        subject=subject,
        body=body.strip().removesuffix(block.strip()).strip(),
        trailers={key: value for key, value in pairs},
        note=note.strip(),
    )


# Decision and score of each commit, then what it says. Works with plain `git log`, too.
FORMAT = (
    "%C(auto)%h %C(yellow)%<(10,trunc)%(trailers:key=Autodata-Decision,valueonly,separator=%x2C)"
    "%C(reset) %<(19,trunc)%(trailers:key=Autodata-Score,valueonly,separator=%x2C) %s"
)
KEPT = ("refs/heads/*", "refs/autodata/*/pop/*")
ALL = ("refs/heads/*", "refs/autodata/*")

# What git keeps while something is under way → what that is, and what gives it up.
UNDER_WAY = {
    "MERGE_HEAD": ("a merge", "merge --abort"),
    "rebase-merge": ("a rebase", "rebase --abort"),
    "rebase-apply": ("a rebase", "rebase --abort"),
    "CHERRY_PICK_HEAD": ("a cherry-pick", "cherry-pick --abort"),
    "REVERT_HEAD": ("a revert", "revert --abort"),
    "BISECT_LOG": ("a bisection", "bisect reset"),
}


def log_arguments(patterns: Sequence[str]) -> list[str]:
    """The arguments of the `git log` that draws the refs of these patterns."""
    return ["log", "--graph", f"--format={FORMAT}", *(f"--glob={glob}" for glob in patterns)]


def graph(store: Store, patterns: Sequence[str] = KEPT, *, color: bool = False) -> str:
    """The commits that these refs reach, drawn as a graph, newest first."""
    arguments = log_arguments(patterns)
    arguments.insert(1, f"--color={'always' if color else 'never'}")
    return _git(store)(*arguments)


def shown(store: Store, revision: str) -> str:
    """One commit in full: message, notes, and what it changed."""
    return _git(store)("show", f"--notes={NOTES}", "--no-color", store.resolve(revision), "--")


def merge(store: Store, revision: str, message: str) -> str | None:
    """Merges a revision into `main`, in the store's work tree and in the name of whoever asks.

    Returns the merge commit, or None when `main` contains the revision already. Raises StoreError
    when `main` is not checked out, something else is under way in the work tree, local changes are
    in the way, or both sides changed the same lines; then nothing is changed.
    """
    sha, main = store.resolve(revision), store.resolve(MAIN)
    if not _as_person(store, "merge-base", "--is-ancestor", sha, main).returncode:
        return None
    _check_ready(store)
    done = _as_person(store, "merge", "--no-ff", "-m", message, sha)
    if done.returncode:
        # git refuses most merges before it begins one; only what we began is ours to end.
        if "MERGE_HEAD" in _under_way(store):
            _as_person(store, "merge", "--abort")
        said = (done.stderr or done.stdout).strip()
        raise StoreError(f"{store.path}: {revision} was not merged, and nothing changed: {said}")
    return store.resolve(MAIN)


def superproject(store: Store) -> Path | None:
    """The project whose submodule the store is; None when it is a repository of its own."""
    said = _as_person(store, "rev-parse", "--show-superproject-working-tree").stdout.strip()
    return Path(said) if said else None


def _check_ready(store: Store) -> None:
    """Raises StoreError unless `main` is checked out with nothing under way."""
    if not (store.path / ".git").exists():
        raise StoreError(f"{store.path}: a bare store has no work tree to merge in; clone it")
    if found := _under_way(store):
        what, how = UNDER_WAY[found[0]]
        raise StoreError(
            f"{store.path}: {what} is under way there; finish it or give it up "
            f"(`git -C {store.path} {how}`), then adopt again. Nothing was touched"
        )
    head = _as_person(store, "symbolic-ref", "--quiet", "HEAD").stdout.strip()
    if head != MAIN:
        where = head.removeprefix("refs/heads/") or "no branch (HEAD is detached)"
        raise StoreError(
            f"{store.path}: {where} is checked out there, and a merge goes into what is checked "
            f"out; `git -C {store.path} checkout main` first. Nothing was touched"
        )


def _under_way(store: Store) -> list[str]:
    """Which of UNDER_WAY git has begun in the work tree and not ended."""
    asked = [word for name in UNDER_WAY for word in ("--git-path", name)]
    places = _as_person(store, "rev-parse", *asked).stdout.splitlines()
    pairs = zip(UNDER_WAY, places, strict=False)
    return [name for name, place in pairs if (store.path / place).exists()]


def _git(store: Store) -> Git:
    inner = store.path / ".git"
    return Git(inner if inner.exists() else store.path)


def _as_person(store: Store, *arguments: str) -> subprocess.CompletedProcess[str]:
    """git with the configuration of whoever runs it; the store's own name where they have none."""
    name, email = IDENTITY
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    stated = ["git", "-C", str(store.path), "config", "user.email"]
    known = subprocess.run(stated, env=kept, capture_output=True, check=False).returncode == 0
    identity = [] if known else ["-c", f"user.name={name}", "-c", f"user.email={email}"]
    return subprocess.run(
        ["git", "-C", str(store.path), *identity, *arguments],
        env=kept,
        capture_output=True,
        text=True,
        check=False,
    )
