// Package cell reads the text of a cell as Go.
//
//	c := cell.Parse("import \"fmt\"\n%%\nfmt.Println(1)")
//	c.MainLine           // 1, the line %%
//	cell.IsComplete(`f(`) // incomplete
//
// A cell has declarations, perhaps a main program below a line %%, and command lines. The package knows its parts as
// GoNB reads them (cell.go), what it declares (declarations.go), whether it is complete (complete.go), where a cell of
// statements needs a main (statements.go), and what has to be written differently for GoNB (rewrite.go).
package cell
