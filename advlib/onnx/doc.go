// Package onnx loads models in ONNX (https://onnx.ai) as classifiers.
//
//	clf, err := onnx.Load("model.onnx", onnx.Options{Box: advlib.UnitBox, Layout: onnx.ChannelsLast})
//
// A file may be compressed by gzip. It is read in three steps. It is checked: what is damaged, too large, quantised, or
// of another opset than 8 to 28, is an error; its operators may come in any order. It is lowered: scikit-learn's
// operators for linear models and scalers are written in ONNX's own; those that github.com/gomlx/onnx-gomlx v0.5.5 does
// not have, or has with other defaults than ONNX, are written in terms of those it has right; and whatever is not in
// the table of operators (see [Operators]) is an error that names operator and node. And it is handed to onnx-gomlx,
// which builds the graph.
//
// # What is kept, and what is changed
//
//   - Weights become variables, below the scope "ONNX", under their names in the file with "/" written as "|".
//   - Everything is computed in float32, whatever the file says: weights in half precision are widened, those in double
//     precision rounded. (A [Network] can also be built in float64.)
//   - The model is the one of inference: dropout does nothing, batch normalisation uses its running moments.
//   - The first axis of the input is the batch, and any batch will do, even where the file fixes it. A file whose input
//     is a vector without a batch gets one.
//   - A model fixed at batch 1, or without a batch, may merge it with other axes (view(-1), the mean of everything,
//     heads of an attention): it is built for one example and mapped over the rows, in ordinary operations. Each row
//     gives what the file gives for it alone. Where that cannot be, the operator is named; a larger batch that is
//     merged is an error.
//   - A final softmax or sigmoid is refused: attacks and bounds want what goes into it. Options.StripSoftmax leaves it
//     out, Options.Returns takes the logarithms of other probabilities.
//   - Constants that stand among the graph's inputs, as in files of before 2019 (IR below 4), are constants.
package onnx
