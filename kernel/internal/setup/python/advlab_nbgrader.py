"""What nbgrader tells the kernel of a cell that it runs, in the metadata of the request: whether the cell is the course's
own, so that an answer cannot have changed it, and the most points that it gives. And a cell of the course is run
whatever tags an answer has given it.

nbgrader_config.py, beside Jupyter's own configuration, loads this.
"""

from nbgrader.preprocessors import Execute
from nbgrader.utils import is_grade, is_locked

run_cell = Execute.preprocess_cell


def preprocess_cell(self, cell, resources, index):
    locked = is_locked(cell)
    if locked:
        # One of them, skip-execution, would leave the cell without output, which nbgrader takes for passed.
        cell.metadata.pop("tags", None)
    points = float(cell.metadata["nbgrader"]["points"]) if is_grade(cell) else None
    self.kc.session.metadata["nbgrader"] = {"locked": locked, "points": points}
    return run_cell(self, cell, resources, index)


if run_cell.__module__ != __name__:  # once
    Execute.preprocess_cell = preprocess_cell
