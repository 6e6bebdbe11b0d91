// Package zoo has small classifiers to experiment on, and trains them.
//
//	train, test := dataset.Digits()
//	clf, err := zoo.MLP(100, 100).Fit(ctx, train)
//
// A [Model] is a value: an architecture, and how it is trained. Change a field and fit again:
//
//	m := zoo.CNN()
//	m.Epochs, m.Seed = 20, 7
//
// Training runs on GoMLX's trainer with Adam (Kingma & Ba 2015, arXiv:1412.6980) and the mean cross-entropy. It is
// deterministic: the same model, seed and examples on the same machine and backend give bit-identical weights. What was
// trained once is kept by package lab under a hash of everything that made it, so the next cell does not train again.
//
// The models use dense layers, convolutions and ReLU only, which is what package certify proves bounds for. Their
// variables are named denseK/w [in, out], denseK/b, convK/w [height, width, in, out] and convK/b, K counting all layers
// from 0.
package zoo
