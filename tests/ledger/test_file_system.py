"""Where a run can live: tried on the spot, and said in one sentence."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from autodata.ledger.database import FolderProbe, file_system_of, probe_folder
from autodata.ledger.ledger import Ledger

MOUNTS = r"""/dev/vda / ext4 rw 0 0
tmpfs /tmp tmpfs rw 0 0
server:/home /home nfs4 rw,vers=4.2 0 0
10.0.0.1@tcp:/scratch /scratch lustre rw,noflock 0 0
/dev/vdb /home/local\040disk xfs rw 0 0
"""


def test_an_ordinary_folder_passes_and_nothing_is_left_in_it(tmp_path: Path) -> None:
    assert probe_folder(tmp_path).complaint(tmp_path) == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/srv/runs", "ext4"),
        ("/home/me/runs", "nfs4"),
        ("/homes", "ext4"),
        ("/scratch", "lustre"),
        ("/home/local disk/runs", "xfs"),
    ],
)
def test_the_file_system_of_a_folder_is_that_of_the_deepest_mount(folder: str, kind: str) -> None:
    assert file_system_of(Path(folder), MOUNTS) == kind


def test_where_nothing_is_known_about_mounts_nothing_is_said() -> None:
    assert file_system_of(Path("/home"), "") == ""


def test_a_complaint_says_where_what_and_what_to_do() -> None:
    probe = FolderProbe("does not lock files (Function not implemented)", "lustre")
    said = probe.complaint(Path("/scratch/run"))
    for part in ("/scratch/run", "(lustre)", "does not lock files", "local disk", "copy"):
        assert part in said
    assert "network" in said
    assert "network" not in FolderProbe("does not lock files", "ext4").complaint(Path("/run"))


BEGIN = """
import resource, sys
from pathlib import Path
from autodata.ledger.ledger import Ledger
from autodata.ledger.database import LedgerError
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
try:
    Ledger.open(Path(sys.argv[1]))
except LedgerError as error:
    print(error)
"""


@pytest.mark.parametrize("most", [0, 16_384])  # bytes; a log's shared index needs twice as many
def test_a_folder_that_cannot_share_memory_is_refused_before_anything_is_written(
    tmp_path: Path, most: int
) -> None:
    run = tmp_path / "run"
    done = subprocess.run(
        [sys.executable, "-c", BEGIN, str(run), str(most)], capture_output=True, text=True
    )
    assert f"{run} cannot hold a run: its file system" in done.stdout
    assert "local disk" in done.stdout
    assert done.stderr == ""
    assert list(run.iterdir()) == []


FULL = 'mount -t tmpfs -o size=4k none "$0" && exec "$@"'  # the probe's file has not even one page
APART = ("unshare", "--map-root-user", "--mount", "sh", "-c", FULL)


def test_a_full_disk_is_told_and_kills_nobody(tmp_path: Path) -> None:
    """A page that is mapped and has no room on the disk ends the process that writes to it."""
    if not shutil.which("unshare") or subprocess.run([*APART, tmp_path, "true"]).returncode:
        pytest.skip("a small file system of its own cannot be mounted here")
    fill = 'head -c 4096 /dev/zero > "$0/full" && exec "$@"'
    begin = ("sh", "-c", fill, tmp_path, sys.executable, "-c", BEGIN, tmp_path, str(1 << 20))
    done = subprocess.run([*APART, tmp_path, *begin], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{tmp_path} cannot be written: the disk is full" in done.stdout


READ = BEGIN.replace(
    "Ledger.open(Path(sys.argv[1]))",
    "print(Ledger.open(Path(sys.argv[1]), create=False).runs())",
)


def test_a_run_that_was_copied_to_such_a_folder_can_be_read(tmp_path: Path) -> None:
    Ledger.open(tmp_path).close()
    done = subprocess.run(
        [sys.executable, "-c", READ, str(tmp_path), "0"], capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
