// Package lab keeps values on disk, so that a notebook's next cell, or next run, does not compute them again.
//
//	report, err := lab.Evaluate(ctx, classifier, examples, attacks) // the second time it is read
//
// Values do not survive a cell in GoNB, by design: no result depends on a value that nobody sees. So what takes long to
// make is kept under a hash of everything that made it:
//
//	store, err := lab.Keep(ctx, lab.Models, lab.Recipe{
//		Name:  "my model",
//		Parts: map[string]string{"step": trace, "data": examples.Hash(), "epochs": "10"},
//	}, train)
//
// A Go function cannot be hashed. [Trace] stands in for it: it builds the function's graph, and its text, constants
// included, goes into the recipe. An edited model function is another key, and is made anew; what was kept under the
// old key stays, so that going back is quick. [Run] and [Evaluate] do this for attacks and reports, package training
// for trained models.
//
// Beside each value lies its provenance: what it is made of, when, how long it took, with which versions, on which
// machine. [List] reads it, [Remove] deletes entries, [Fresh] makes anew. Nothing is ever removed by itself, but for
// the pieces by which a measurement that was killed continues ([Journal]): they go when it is done.
//
// Entries are written to a temporary directory that is then renamed, so a crash leaves none in halves; their checksums
// are verified each time they are read, and a damaged one is made anew. Of several processes that want the same value
// at the same time one makes it and the others wait.
package lab
