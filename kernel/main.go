// Command advlab runs Go notebooks: it prepares a pinned environment once, and starts the kernel that Jupyter talks to.
//
//	go run ./kernel demo          set up, execute the first notebook, print its table
//	go run ./kernel lab           set up, open JupyterLab
//	go run ./kernel run NB...     execute notebooks headless, with parameters and checks
//	go run ./kernel test          set up, run the whole test suite
//	go run ./kernel doctor        say what is there, what is missing, and what to type
//
// `go run ./kernel --help` lists the rest. HOW_IT_WORKS.md, in this folder, tells what happens behind the commands.
package main

import (
	"os"

	"advlab/kernel/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:]))
}
