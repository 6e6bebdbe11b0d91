// Package compose makes the program of a cell from what it reaches:
//
//	var n compose.Notebook
//	p, err := n.Compose(ctx, finder, compose.Origin{Number: 1}, code, cell.Parse(code))
//	// … p.Files are built and run …
//	n.Add(p)
//
// A notebook's cells leave declarations. A later cell's program holds the cell itself, and of earlier cells those
// declarations alone that it uses, directly or through others. So a declaration that is broken, slow or in the way is
// met by the cells that need it, and by no other.
//
// Each cell is a file of its own in the program, with its lines and columns where the user sees them, and with the
// imports that hold in that cell. Compiler and runtime then name cells by file and line, and two cells may import
// different packages of one name.
//
// What a cell uses is found from the text, by Go's scopes: a name that is declared in the cell or its function is no
// use of an earlier declaration. Types are not looked at, so the rule errs on one side: too much may be reached, and
// only where a field of an imported struct is named like a declaration.
package compose
