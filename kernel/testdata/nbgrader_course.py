"""Makes a course for nbgrader in the folder FOLDER, hands answers in, grades them, and prints the points of each.

Usage: python nbgrader_course.py FOLDER ANSWERS, where ANSWERS is JSON: texts of the answer's cell by student."""
import copy
import json
import os
import subprocess
import sys

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

folder, answers = sys.argv[1], json.loads(sys.argv[2])
os.makedirs(folder + "/source/ps", exist_ok=True)


def graded(source, name, **more):
    cell = new_code_cell(source)
    cell.metadata["nbgrader"] = dict(
        {"schema_version": 3, "grade_id": name, "grade": False, "solution": False, "locked": False, "task": False, "cell_type": "code"}, **more)
    return cell


SOLUTION = "func half(x int) int {\n\t// BEGIN SOLUTION\n\treturn x / 2\n\t// END SOLUTION\n}"
CHECK = 'func halves() error {\n\tif got := half(6); got != 3 {\n\t\treturn fmt.Errorf("half(6) is %d, not 3", got)\n\t}\n\treturn nil\n}\n%check halves'
HIDDEN = '%%\n// BEGIN HIDDEN TESTS\nif half(-2) != -1 {\n\tpanic("half(-2) is not -1")\n}\n// END HIDDEN TESTS'
cells = [graded(SOLUTION, "answer", solution=True), graded(CHECK, "check", grade=True, locked=True, points=2),
         graded(HIDDEN, "hidden", grade=True, locked=True, points=3)]
spec = {"kernelspec": {"name": "advlab", "display_name": "Go (advlab)", "language": "go"}, "language_info": {"name": "go"}}
nbformat.write(new_notebook(cells=cells, metadata=spec), folder + "/source/ps/task.ipynb")
with open(folder + "/nbgrader_config.py", "w") as f:
    f.write('c = get_config()\nc.CourseDirectory.course_id = "test"\n')


def nbgrader(*arguments):
    p = subprocess.run([os.path.join(os.path.dirname(sys.executable), "nbgrader"), *arguments], cwd=folder, capture_output=True, text=True)
    if p.returncode:
        sys.exit(" ".join(arguments) + ": " + p.stderr)


nbgrader("generate_assignment", "ps", "--create")
with open(folder + "/release/ps/task.ipynb") as f:
    released = json.load(f)
answer = [c for c in released["cells"] if c["metadata"]["nbgrader"]["grade_id"] == "answer"][0]
print("stub", json.dumps("".join(answer["source"])))
for student, text in answers.items():
    handed = copy.deepcopy(released)
    for c in handed["cells"]:
        if c["metadata"]["nbgrader"]["grade_id"] == "answer":
            c["source"] = text
    os.makedirs(f"{folder}/submitted/{student}/ps")
    with open(f"{folder}/submitted/{student}/ps/task.ipynb", "w") as f:
        json.dump(handed, f)
nbgrader("autograde", "ps", "--create")

from nbgrader.api import Gradebook  # noqa: E402

with Gradebook(f"sqlite:///{folder}/gradebook.db") as book:
    for s in book.assignment_submissions("ps"):
        print(s.student.id, float(sum(g.auto_score or 0 for n in s.notebooks for g in n.grades)))
