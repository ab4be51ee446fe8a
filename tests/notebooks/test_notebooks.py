"""The notebooks work on any run, show the same bytes for the same run, and never drift from their paired texts."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import nbformat
import pytest

from experiments import notebooks

TEXTS = notebooks.texts()
NAMES = ["failure_cases", "label_efficiency", "method_anatomy", "variance_vs_size"]


def run_in_process(path: Path, run: Path, monkeypatch, capsys) -> str:
    """Execute the code cells of a paired text here, where everything is imported already; what they print."""
    monkeypatch.setenv(notebooks.VARIABLE, str(run))
    scope: dict[str, object] = {"__name__": path.stem}
    for number, cell in enumerate(notebooks.read_text(path).cells):
        if cell.cell_type == "code":
            exec(compile(cell.source, f"{path.name}, cell {number + 1}", "exec"), scope)
    return capsys.readouterr().out


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_four_notebooks_are_there():
    assert [path.stem for path in TEXTS] == NAMES


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)
def test_a_committed_notebook_holds_just_its_text(path):
    notebook = nbformat.read(path.with_suffix(".ipynb"), 4)
    nbformat.validate(notebook)
    assert notebooks.sources(notebook) == notebooks.sources(notebooks.read_text(path))


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)
def test_a_committed_notebook_is_executed_small_and_free_of_this_machine(path):
    text = path.with_suffix(".ipynb").read_text(encoding="utf-8")
    notebook = nbformat.reads(text, 4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    outputs = [output for cell in code for output in cell.outputs]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert len(text.encode()) < 600_000
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 2
    assert {output.get("name", "stdout") for output in outputs} == {"stdout"}
    assert all(output.output_type != "error" for output in outputs)
    shown = "\n".join(str(output.get("text", output.get("data", {}).get("text/plain", ""))) for output in outputs)
    assert not re.search(r"0x[0-9a-f]{6,}|/(home|root|work|tmp|Users)/", shown)


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)
def test_a_sentence_stands_before_each_step(path):
    cells = notebooks.read_text(path).cells
    assert cells[0].source.startswith("# ")
    code = [number for number, cell in enumerate(cells) if cell.cell_type == "code"]
    bare = [number for number in code if cells[number - 1].cell_type == "code"]
    assert len(bare) <= 1
    assert max(len(cells[number].source.splitlines()) for number in code) <= 22


def test_a_notebook_reads_a_run_and_changes_nothing_in_it(plain_run, monkeypatch, capsys):
    before = contents(plain_run)
    said = run_in_process(notebooks.FOLDER / "failure_cases.py", plain_run, monkeypatch, capsys)
    assert "run plain: simclr on resnet10t, linear probe" in said
    assert contents(plain_run) == before


def test_a_run_with_one_store_is_told_why_it_cannot_answer(plain_run, monkeypatch, capsys):
    before = contents(plain_run)
    said = run_in_process(notebooks.FOLDER / "variance_vs_size.py", plain_run, monkeypatch, capsys)
    assert "cannot tell size from diversity" in said
    assert contents(plain_run) == before


@pytest.mark.slow
@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)
def test_a_notebook_works_in_a_kernel_and_gives_the_same_bytes_again(path, plain_run):
    first, again = (nbformat.writes(notebooks.execute(path, plain_run)) for _ in range(2))
    assert first == again
    assert '"stderr"' not in first


@pytest.mark.slow
@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)
def test_a_notebook_works_on_a_study_with_variants(path, stores_run, monkeypatch, capsys):
    said = run_in_process(path, stores_run, monkeypatch, capsys)
    assert "run stores" in said
    assert "cannot tell" not in said


def test_a_cell_that_fails_is_named_and_the_others_go_on(tmp_path, plain_run, capsys):
    (tmp_path / "bad.py").write_text("# %% [markdown]\n# # Bad\n\n# %%\n1 + 1\n\n# %%\n[][3]\n")
    (tmp_path / "good.py").write_text("# %%\nimport os\n\nprint(os.environ['SSL_ZOO_RUN'].endswith('plain'))\n")
    status = notebooks.main([str(plain_run), "--notebooks", str(tmp_path), "--out", str(tmp_path / "out")])
    assert status == 1
    assert "bad.ipynb, cell 3: IndexError: list index out of range" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good.ipynb"]
    cell = nbformat.read(tmp_path / "out" / "good.ipynb", 4).cells[0]
    assert cell.outputs[0].text == "True\n"


def test_a_run_that_is_not_there_is_wrong_use(tmp_path, capsys):
    assert notebooks.main([str(tmp_path / "nothing")]) == 2
    assert "no such run folder" in capsys.readouterr().err
