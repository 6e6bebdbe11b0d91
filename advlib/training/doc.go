// Package training trains models.
//
//	train, test := dataset.Digits()
//	clf, err := zoo.MLP(100, 100).Fit(ctx, train)
//
// What is trained is a [Model], a value: an architecture, and how it is trained. Package zoo has small ones; any model
// function can be trained:
//
//	m := training.Model{Name: "mine", Build: func(classes int) advlib.LogitsFn { … }, Epochs: 20}
//	m.Objective = …                                            // what is minimised; the cross-entropy if it is left out
//	m.Adversary = defense.AdversarialTraining{Ball: ball}      // perturbs each batch first
//	m.Schedule = training.Cosine{}                             // of the learning rate
//	m.Validation = training.Validation{Examples: test.First(200), Attack: attack.PGD{Ball: ball, Steps: 10}}
//	clf, err := m.Fit(ctx, train)
//
// An [Objective] is the loss of a batch, and an [Adversary] what perturbs it; a defence of one's own is one of them, in
// a few lines.
//
// Training runs on GoMLX's trainer with Adam (Kingma & Ba 2015, arXiv:1412.6980). It is deterministic: the same model,
// seed and examples on the same machine and backend give bit-identical weights. What was trained once is kept by
// package lab under a hash of everything that made it, so the next cell does not train again.
package training
