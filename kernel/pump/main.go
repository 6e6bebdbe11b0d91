// Command pump runs a cell's program for GoNB.
//
//	ln -s pump gonb_1; ./gonb_1 ARG… # runs gonb_1.cell
//
// See package kernel/internal/pump. The set-up builds it; nobody else starts it.
package main

import (
	"os"

	"advlab/kernel/internal/pump"
)

func main() { os.Exit(pump.Run(pump.Command(os.Args))) }
