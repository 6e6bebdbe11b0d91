# What nbgrader needs to know of Go. A course's own nbgrader_config.py has the last word.
import advlab_nbgrader  # noqa: F401

c = get_config()  # noqa: F821

# An answer that is not written yet fails, and compiles, whatever its function returns.
c.ClearSolutions.code_stub = {
    "go": '// YOUR CODE HERE\npanic("not implemented")',
    "python": "# YOUR CODE HERE\nraise NotImplementedError()",
}

# A cell that is compiled for the first time, or computes with XLA, takes longer than nbgrader's 30 seconds.
c.Execute.timeout = 120
