"""Executes one notebook with nbclient and reports its progress, for `advlab run` and `advlab demo`.

Standard input: a JSON object {notebook, kernel, folder, timeout, output, html, title}. File descriptor 3 takes one JSON
object a line: {"cell": i} when code cell i begins, {"cell": i, "seconds": s, "status": "ok"|"error"} when it ends, and
{"failure": text} when the kernel fails rather than a cell. The executed notebook is written, complete or not, with what
the kernel tells of each cell in its metadata, under advlab: seconds, phases, backend, device, plugin, seed; and in the
notebook's: versions of modules, of advlab and of Go.
"""

import json
import os
import sys
import time

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

job = json.load(sys.stdin)
events = os.fdopen(3, "w", buffering=1)
sys.stdin.close()


def tell(**event):
    events.write(json.dumps(event) + "\n")


notebook = nbformat.reads(json.dumps(job["notebook"]), as_version=4)
for cell in notebook.cells:
    if cell.cell_type == "code":  # what is written must come from this run
        cell.outputs, cell.execution_count = [], None
        cell.metadata.pop("advlab", None)
notebook.metadata.pop("advlab", None)
started = {}


def on_start(cell, cell_index):
    started[cell_index] = time.monotonic()
    tell(cell=cell_index)


def keep_provenance(cell, told):
    """Puts into the notebook what the kernel tells of a cell: what is the same for all cells, once."""
    shared = notebook.metadata.setdefault("advlab", {})
    shared.setdefault("modules", {}).update(told.pop("modules", {}))
    for name in ("advlab", "go"):
        if name in told:
            shared[name] = told.pop(name)
    cell.metadata["advlab"] = told


def on_executed(cell, cell_index, execute_reply):
    told = execute_reply.get("metadata", {}).get("advlab")
    if told:
        keep_provenance(cell, dict(told))
    tell(cell=cell_index, seconds=time.monotonic() - started[cell_index], status=execute_reply["content"]["status"])


os.environ["JPY_SESSION_NAME"] = job["title"] + ".ipynb"  # as Jupyter's server tells a kernel its notebook
client = NotebookClient(
    notebook,
    kernel_name=job["kernel"],
    timeout=job["timeout"] or None,
    startup_timeout=60,
    coalesce_streams=True,  # so that a progress line leaves its last state, not every one
    resources={"metadata": {"path": job["folder"]}},
    on_cell_execute=on_start,
    on_cell_executed=on_executed,
)
status = 0
try:
    client.execute()
except CellExecutionError:
    status = 1  # the notebook holds the error
except CellTimeoutError:
    status = 1
    tell(failure=f"a cell took more than {job['timeout']} s and was stopped")
except (DeadKernelError, RuntimeError, OSError) as error:
    status = 1
    tell(failure=str(error).strip() or type(error).__name__)

# GoNB leaves this empty, and nbconvert then does not colour the code.
notebook.metadata.setdefault("language_info", {})["pygments_lexer"] = "go"
nbformat.write(notebook, job["output"])

if job["html"]:
    from nbconvert import HTMLExporter

    exporter = HTMLExporter()
    # Plots that need require.js do not occur. What may still be fetched is MathJax, for formulas; without it they stay
    # readable as TeX.
    exporter.require_js_url = "data:text/javascript,"
    text, _ = exporter.from_notebook_node(notebook, resources={"metadata": {"name": job["title"]}})
    with open(job["html"], "w", encoding="utf-8") as file:
        file.write(text)
sys.exit(status)
