// Package transform has changes of an input that are made before a model sees it, as defences: fewer bits, filters,
// noise, resizing. Most of them look good under an attack that does not know them, and fall under one that does.
//
//	d, err := transform.Before(clf, transform.BitDepth{Bits: 3}, transform.Median{Size: 3})
//	advlib.Run(ctx, d.Classifier, examples, d.Naive(ball))     // by an attacker who does not know them
//	advlib.Run(ctx, d.Classifier, examples, d.Adaptive(ball))  // by one who does: PGD with BPDA and EOT
//
// A transform is a value whose fields are its parameters. Images are [height, width, channels], as everywhere in
// advlib, of any size and any number of channels; a transform says whether it has a gradient, and whether it draws
// random numbers.
package transform
