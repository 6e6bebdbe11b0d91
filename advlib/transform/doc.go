// Package transform has changes of an input that are made before a model sees it, as defences: fewer bits, filters,
// denoisers, JPEG, noise, resizing. Most of them look good under an attack that does not know them, and fall under one
// that does.
//
//	d, err := transform.Before(clf, transform.BitDepth{Bits: 3}, transform.Median{Size: 3})
//	advlib.Run(ctx, d.Classifier, examples, d.Naive(ball))     // by an attacker who does not know them
//	advlib.Run(ctx, d.Classifier, examples, d.Adaptive(ball))  // by one who does: PGD with BPDA and EOT
//
// These are there:
//
//   - [BitDepth], [JPEG], [Thermometer]: they round, and have no gradient.
//   - [Median], [Gaussian], [Bilateral], [NonLocalMeans], [Chambolle]: filters and denoisers, with a gradient.
//   - [Denoiser]: an [Autoencoder] that was trained to take noise away, with a gradient.
//   - [Noise], [Crop], [ResizePad]: they are random, with a gradient for each draw.
//   - [TotalVariance]: it drops pixels at random and fills the gaps, and has no gradient.
//
// [Before] puts them before a model that is trained already, [Fit] trains one behind them. What they cost in accuracy
// and in seconds is what the table by defense.Compare says.
//
// A transform is a value whose fields are its parameters. Images are [height, width, channels], as everywhere in
// advlib, of any size and any number of channels; a transform says whether it has a gradient, and whether it draws
// random numbers.
package transform
