// Package defense has defences: ways to train a model so that it is harder to fool.
//
//	train, test := dataset.Digits()
//	at := defense.AdversarialTraining{Ball: advlib.Linf.Ball(0.1)}
//	clf, err := at.Fit(ctx, zoo.MLP(100, 100), train)
//
// A defence is a value, like an attack: its exported fields are its hyperparameters, and zero means the default. What
// was trained once is kept by package lab under a hash of everything that made it, the defence included.
//
//   - [AdversarialTraining]: Madry et al., an adversary of the training.
//   - [Free], [Fast]: the same for the price of natural training, and for twice it.
//   - [TRADES], [MART]: objectives with an adversary of their own.
//   - [AWP]: perturbed weights, on top of any of these.
//   - [Distillation]: a student of a hot teacher, which hides its gradients, and the attacks that this does not stop.
//
// [Train] gives what was trained with the attacks by which it is judged, as a [Defended]: [Method] and [Defended] are
// the interfaces that defences satisfy, those of package transform and your own too. [Compare] holds several against
// each other in one table.
//
// How long, how fast and with what validation is filled in by [Recipe] where the model does not say; CURVES.md beside
// this file has what that reaches on MNIST.
//
// A defence is worth what is left of it under an attack that knows it. Measure it by [advlab/advlib.Evaluate] with
// attacks of package attack, on examples it was not trained on, beside the same model trained without it, and look at
// the clean accuracy too: that is what robustness is paid with.
package defense
