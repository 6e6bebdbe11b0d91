// Command advlib measures the robustness of classifiers from the command line, so that a model can be gated in a CI.
//
//	go run ./advlib/cmd/advlib evaluate --model m.onnx --data test.npz --eps 8/255 --preset standard --min-robust 0.4
//
// `go run ./advlib/cmd/advlib evaluate --help` lists the attacks, the flags and the exit statuses.
package main

import "os"

func main() { os.Exit(Main()) }
