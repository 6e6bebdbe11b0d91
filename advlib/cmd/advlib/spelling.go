package main

import "advlab/advlib/internal/option"

// Messages of the library name flags here, and not the fields that a program in Go sets.
func init() { option.Spell(spelling) }

var spelling = map[option.Name]string{
	"Options.Input":                 "--data",
	"Options.MaxValues":             "--max-values",
	"Options.Output":                "--logits",
	"Options.StripSoftmax":          "--strip-softmax",
	"Settings.Strict":               "--strict",
	"Layout: onnx.AsFile":           "--layout file",
	"Layout: onnx.ChannelsLast":     "--layout channels-last",
	"Layout: onnx.ChannelsFirst":    "--layout channels-first",
	"Layout: onnx.FromShapes":       "--layout auto",
	"Normalisation.Axis":            "--channel-axis",
	"Returns: advlib.OneLogit":      "--one-logit",
	"Returns: advlib.Probabilities": "--probabilities",
}
