// Package attack holds attacks on classifiers. Each is a struct whose fields are its hyper-parameters; the zero value
// of a field means the paper's choice, or what the field's comment says. [advlib.Run] measures one, [advlib.Evaluate]
// several:
//
//	pgd := attack.PGD{Ball: advlib.Linf.Ball(8./255)}
//	result, err := advlib.Run(ctx, classifier, examples, pgd)
//
// [Index] is a table of all of them, which is below too. It says what they ask for: most are white-box, they use the
// model's gradient; some ask for logits only, such as Square, or for labels only, such as HopSkipJump, and so run on
// any victim that answers. Wrappers run another attack: towards every other class in turn (AllTargets), several times
// with other random draws (Repeat), all of several (WorstOf), on the mean of a random classifier's logits (EOT), with
// another gradient (BPDA), with logits divided by T (Temperature), on another classifier (Transfer), rounded to what an
// image file can hold (Lattice8).
//
// [Universal] and [UniversalDeepFool] learn one δ for all examples, [AdversarialPatch] a patch to be put anywhere.
// Their Fit learns on some examples, and returns a [Perturbation] or a [Patch]: attacks to be run on others. [PatchRS]
// searches for a patch of its own for each image, by scores.
//
// The S of FGSM is for sign, which is FGM in the Linf ball. [Standard] is a small set to begin with. ALMA and Brendel &
// Bethge's attack are not here: where the optimum is known, the medians of Carlini & Wagner, FMN and FAB are already
// 1.000 to 1.001 of it, with every example found, and with all targets the largest are 1.015 (last table), so that
// there is nothing left for them to win.
//
// # What all attacks share
//
// Attacks keep their points within the classifier's [advlib.Limits], which are the box, or what an [advlib.Domain] lets
// an attacker change: fixed coordinates are those of the original bit for bit in everything that they propose. What
// cannot work in a domain with steps, categories or scales says so in Threat: Lattice8, Diversity of MIFGSM, and what
// learns one δ or patch for all examples.
//
// An attack takes the goal from the batch that it is given ([advlib.Batch]), not from its own field, so that wrappers
// such as [AllTargets] can choose targets. Rows are attacked in the order of their numbers, whatever their order in the
// batch, in pieces of at most 512, padded to [advlib.Bucket] sizes; rows that need no more work leave. Inside a step an
// example counts as adversarial when its logits say so by more than rounding explains, because another batch size
// rounds differently.
//
// # Adding an attack
//
// An attack is a file here, made of package craft: fgm.go is the shortest, pgd.go one in a ball, ddn.go one that looks
// for the nearest example. Its Describe is a table of its fields; register puts it into the [Index], the README's table
// and the command line. A line in one of the lists of conformance tests (suite_test.go) runs it; tests fail that say so
// where either is missing. Then go test -run TestIndexPrinted -update ./advlib/attack writes the tables anew. One of
// your own needs no place here: see package craft.
package attack
