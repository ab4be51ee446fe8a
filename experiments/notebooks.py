"""Execute the analysis notebooks on a run, and keep each one and its paired text the same.

The text (`notebooks/*.py`, jupytext's percent format) is what is edited; the notebook beside it is made from it, with
the outputs of one run. The same run gives the same bytes.

    python -m experiments.notebooks runs/demo                    # in place, as they are committed
    python -m experiments.notebooks runs/smoke --out /tmp/there  # elsewhere, to see whether they work on a run

Exit status 1 where a cell fails, with the notebook, the cell and the error.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbformat import NotebookNode

from ssl_zoo.files import write_text

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
TIMEOUT = 900  # seconds for one cell
VARIABLE = "SSL_ZOO_RUN"


class CellFailed(Exception):
    """A cell that could not be executed: which one, of which notebook, and why, in one sentence."""


def texts(folder: Path = FOLDER) -> list[Path]:
    """The paired texts of a folder of notebooks, sorted."""
    return sorted(folder.glob("*.py"))


def read_text(path: Path) -> NotebookNode:
    """The notebook that a paired text describes, without outputs; the same text gives the same notebook."""
    notebook = jupytext.read(path)
    notebook.metadata = nbformat.from_dict(
        {"jupytext": {"formats": "ipynb,py:percent"}, "kernelspec": KERNEL, "language_info": {"name": "python"}}
    )
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for number, cell in enumerate(notebook.cells):
        cell["id"], cell["metadata"] = f"{path.stem}-{number}", {}
    return notebook


def sources(notebook: NotebookNode) -> list[tuple[str, str]]:
    """Kind and source of each cell."""
    return [(cell.cell_type, cell.source) for cell in notebook.cells]


def execute(path: Path, run: Path) -> NotebookNode:
    """The notebook of a paired text with its outputs for a run. Raises CellFailed for the first cell that fails."""
    notebook = read_text(path)
    client = NotebookClient(
        notebook,
        timeout=TIMEOUT,
        kernel_name=KERNEL["name"],
        record_timing=False,
        resources={"metadata": {"path": str(path.parent)}},
    )
    # A line of tqdm's, with a path in it, that comes wherever ipywidgets are not installed.
    warnings = ",".join(filter(None, [os.environ.get("PYTHONWARNINGS"), "ignore:IProgress not found"]))
    environment = {**os.environ, VARIABLE: str(run.resolve()), "PYTHONWARNINGS": warnings}
    place = 0
    with tempfile.TemporaryDirectory() as sockets:
        manager = client.create_kernel_manager()
        if os.name == "posix":  # files, not ports, which others could listen to
            manager.transport, manager.ip = "ipc", f"{sockets}/kernel"
        try:
            with client.setup_kernel(env=environment):
                for place, cell in enumerate(notebook.cells):
                    client.execute_cell(cell, place)
        except CellExecutionError as error:
            raise CellFailed(f"{path.stem}.ipynb, cell {place + 1}: {error.ename}: {error.evalue}") from error
        except (DeadKernelError, TimeoutError) as error:
            raise CellFailed(f"{path.stem}.ipynb, cell {place + 1}: {type(error).__name__}: {error}") from error
    notebook.metadata["language_info"] = {"name": "python"}  # not the version of the Python that ran it
    return notebook


def main(arguments: Sequence[str] | None = None) -> int:
    """Execute all notebooks; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m experiments.notebooks", description=__doc__)
    parser.add_argument("run", type=Path, help="run folder that the notebooks read")
    parser.add_argument("--out", type=Path, default=None, help="where the notebooks go (default: beside their texts)")
    parser.add_argument("--notebooks", type=Path, default=FOLDER, help="folder of the paired texts")
    given = parser.parse_args(arguments)
    if not (given.run / "results.csv").is_file():
        print(f"{given.run}: no such run folder with a results.csv", file=sys.stderr)
        return 2
    failed = False
    for path in texts(given.notebooks):
        try:
            notebook = execute(path, given.run)
        except CellFailed as error:
            print(error, file=sys.stderr)
            failed = True
            continue
        target = (given.out or given.notebooks) / f"{path.stem}.ipynb"
        write_text(target, nbformat.writes(notebook) + "\n")
        print(f"{target.name}: {len(notebook.cells)} cells, {target.stat().st_size / 1000:.0f} KB")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
