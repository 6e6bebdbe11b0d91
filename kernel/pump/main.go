// Command pump runs a cell's program for GoNB: see package kernel/internal/pump. The set-up builds it; nobody else
// starts it.
package main

import (
	"os"

	"advlab/kernel/internal/pump"
)

func main() { os.Exit(pump.Run(pump.Command(os.Args))) }
