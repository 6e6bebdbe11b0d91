"""Checked numbers with tolerances in nbval.

nbval compares outputs as text, and two machines' numbers differ in the last digits. In Advlab's notebooks cells tagged
"check" print lines `check NAME VALUE TOLERANCE`. With this plugin, which pytest finds by its entry point, nbval compares
those cells also with --nbval-lax, and takes such a line for the saved one where the values differ by no more than
the saved tolerance. What else such a cell shows, such as a table of the same numbers, is not compared, as `advlab run
--check` does not.
"""

import math

from nbformat.v4 import new_output


def numbers(text):
    """Returns (value, tolerance) by name of the lines `check NAME VALUE TOLERANCE`."""
    found = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) == 4 and words[0] == "check":
            try:
                found[words[1]] = float(words[2]), float(words[3])
            except ValueError:
                continue
    return found


def only_checks(outputs):
    """Returns a cell's outputs without all but its lines `check NAME VALUE TOLERANCE`."""
    text = "".join(o.get("text", "") for o in outputs if o.get("output_type") == "stream")
    lines = [line.strip() + "\n" for line in text.splitlines() if numbers(line)]
    return [new_output("stream", name="stdout", text="".join(lines))] if lines else []


def tolerate(fresh, saved):
    """Returns fresh, in which the lines that are close enough to those of saved are replaced by them."""
    old, new = numbers(saved), numbers(fresh)
    lines = {words[1]: line for line in saved.splitlines() if len(words := line.split()) == 4 and words[0] == "check"}
    result = []
    for line in fresh.splitlines(keepends=True):
        words = line.split()
        name = words[1] if len(words) == 4 and words[0] == "check" else None
        if name in old and name in new:
            (want, tolerance), (got, _) = old[name], new[name]
            slack = 1e-14 * max(abs(want), abs(got))  # decimal fractions that a float does not hold exactly
            if math.isfinite(want) and math.isfinite(got) and abs(got - want) <= tolerance + slack:
                line = lines[name] + line[len(line.rstrip("\r\n")) :]
        result.append(line)
    return "".join(result)


def pytest_configure(config):
    if not (config.getoption("nbval", False) or config.getoption("nbval_lax", False)):
        return
    from nbval import plugin

    if hasattr(plugin, "advlab_compare"):
        return
    plugin.metadata_tags["check"] = "check"
    plugin.advlab_compare = compare = plugin.IPyNbCell.compare_outputs

    def compare_outputs(self, test, ref, skip_compare=None):
        if "check" in self.cell.metadata.get("tags", []) and only_checks(ref):
            test, ref = only_checks(test), only_checks(ref)
        saved = "".join(o.get("text", "") for o in ref if o.get("output_type") == "stream")
        fresh = []
        for output in test:
            output = type(output)(output)
            if output.get("output_type") == "stream":
                output["text"] = tolerate(output["text"], saved)
            fresh.append(output)
        return compare(self, fresh, ref, skip_compare)

    plugin.IPyNbCell.compare_outputs = compare_outputs
