// Package zoo has small architectures to experiment on.
//
//	train, test := dataset.Digits()
//	clf, err := zoo.MLP(100, 100).Fit(ctx, train)
//
// Each is a [advlab/advlib/training.Model]: a value that also says how it is trained. Change a field and fit again:
//
//	m := zoo.CNN()
//	m.Epochs, m.Seed = 20, 7
//
// The models use dense layers, convolutions and ReLU only, which is what package certify proves bounds for. Their
// variables are named denseK/w [in, out], denseK/b, convK/w [height, width, in, out] and convK/b, K counting all layers
// from 0.
package zoo
