// Command advlib measures the robustness of classifiers from the command line, so that a model can be gated in a CI.
//
//	go run ./advlib/cmd/advlib evaluate --model m.onnx --data test.npz --eps 8/255 --preset standard --min-robust 0.4
//
// `go run ./advlib/cmd/advlib evaluate --help` lists the attacks, the flags and the exit statuses. A property of a
// network is proven, or refuted by a counterexample, with
//
//	go run ./advlib/cmd/advlib verify --onnx net.onnx --vnnlib property.vnnlib --timeout 60
package main

import "os"

func main() { os.Exit(Main()) }
