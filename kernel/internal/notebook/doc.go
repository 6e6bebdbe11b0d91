// Package notebook reads Jupyter notebooks, sets their parameters, executes them through a real kernel with nbclient,
// and compares the numbers of a fresh run with the saved ones.
//
//	n, err := notebook.Read("01-quickstart.ipynb")
//	fresh, err := notebook.Execution{Python: python, Env: env, Kernel: kernelspec.NameCI}.Run(ctx, n)
//	numbers, err := notebook.Compare(n, fresh)
//
// # Tags
//
// Three tags of code cells (in Jupyter: the property inspector, "Cell Tags") have a meaning here:
//
//   - table: the plain text of its outputs is what `advlab demo` prints.
//
//   - parameters: its variables can be set from outside (see [Notebook.Set]). One `var name = value` for each, with a
//     number, a string or a truth value; numbers that may have a fraction are written with a dot.
//
//   - check: its text outputs hold the numbers that a later run must reproduce, one a line:
//
//     check NAME VALUE TOLERANCE
//
// such as `check clean-accuracy 0.966 0.004`. [Compare] reads the lines of the saved and of the fresh run; the saved
// tolerance counts, in the value's own units. A name that is missing on one side, printed twice, or has a value that is
// not a finite number fails, and so does a notebook without any such line.
package notebook
