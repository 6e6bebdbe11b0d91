package main

import "advlab/advlib/internal/option"

// Messages of the library name flags here, and not the fields that a program in Go sets.
func init() { option.Spell(spelling) }

// spelling has each name that an error can print, and what the user of this program does instead.
var spelling = map[option.Name]string{
	"by Domain.Recompute":                 "before, as the formula does",
	"Layout: onnx.AsFile":                 "--layout file",
	"Layout: onnx.ChannelsFirst":          "--layout channels-first",
	"Layout: onnx.ChannelsLast":           "--layout channels-last",
	"Layout: onnx.FromShapes":             "--layout auto",
	"Normalisation.Axis":                  "--channel-axis",
	"Options.Input":                       "--data",
	"Options.MaxValues":                   "--max-values",
	"Options.Output":                      "--logits",
	"Options.StripSoftmax":                "--strip-softmax",
	"Returns: advlib.OneLogit":            "--one-logit",
	"Returns: advlib.Probabilities":       "--probabilities",
	"Settings.Strict":                     "--strict",
	"Spec.Batch":                          "--per-request",
	"Spec.ClassNames":                     "--classes",
	"Spec.Classes":                        "--num-classes",
	"Spec.Datatype":                       "--dtype",
	"Spec.InputName":                      "--input-name",
	"Spec.InputShape":                     "--input-shape",
	"Spec.Model":                          "--model",
	"Spec.Output":                         "--model-output",
	"Spec.Returns":                        "--returns",
	"Spec.Token and Spec.Headers":         "--token-env or --header-env",
	"a longer Spec.Patience":              "a longer --patience",
	"a longer WarmUp, such as 0.8":        "a longer --warm-up, such as 0.8",
	"zoo.CNN(16)":                         "--architecture cnn:16",
	"zoo.MLP(100, 100)":                   "--architecture mlp:100,100",
	"advlib.UnitBox":                      "--box 0,1",
	"certify.RealArithmetic":              "certify.RealArithmetic in a program in Go",
	"certify.TF32AnyOrder":                "certify.TF32AnyOrder in a program in Go, or --backend xla:cpu",
	"dataset.File.X and Y":                "--x and --y",
	"dataset.File.X":                      "--x",
	"other first questions by Spec.Probe": "other --data",
	"one key of lab.List":                 "more of it",
	"the Box":                             "--box",

	"allow more, with Network.LimitMemory or Options.Memory of Verify": "allow more in a program in Go, by certify.Options.Memory",

	"for a certificate of your own name its authority in Spec.CA": "for a certificate of your own name its authority by --ca",

	"if they are meant to be random, set Spec.Random": "one that is meant to be random is measured in a program in Go",

	"ask it for logits or probabilities, or take attack.Transfer from a classifier of your own": "ask it for logits or probabilities",

	"take an attack that asks for answers only, attack.Square, or attack.Transfer from a classifier of your own": "take an attack that " +
		"asks for answers only: --attacks square",

	"take an attack that needs none, attack.Square, or give attack.BPDA a " +
		"stand-in for it, as by attack.StraightThrough": "take an attack that needs none: --attacks square",

	"scale the data to the box, or give the classifier the box of its data": "scale the data to the box by --scale, or give the box of " +
		"the data by --box",
}
