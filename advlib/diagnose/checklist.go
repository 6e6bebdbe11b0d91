package diagnose

import (
	"context"

	"advlab/advlib/attack"
)

// Check is a line of the checklist.
type Check struct {
	// Number and Name are how it is known. The numbers are those of the documentation's table.
	Number int
	Name   string
	// Asks is what it asks, and Passes when it passes.
	Asks, Passes string
	// Source is where the check and its threshold come from.
	Source string
	// Decides says that a failure alone makes masked gradients likely.
	Decides bool

	white bool // it needs a graph
	run   func(ctx context.Context, x *examiner, f *Finding) error
	next  func(x *examiner) []suggestion
}

// Checks returns the checklist.
func Checks() []Check { return append([]Check(nil), checklist...) }

// Names returns the names of the checks, in their order.
func Names() []string {
	var all []string
	for _, c := range checklist {
		all = append(all, c.Name)
	}
	return all
}

const (
	carlini    = "Carlini et al. 2019, arXiv:1902.06705"
	athalye    = "Athalye et al. 2018, arXiv:1802.00420"
	pintor     = "Pintor et al. 2022, arXiv:2106.09947"
	croce      = "Croce & Hein 2020, arXiv:2003.01690, and its code's checks"
	zimmermann = "Zimmermann et al. 2022, arXiv:2206.13991"
)

// checklist is the table. Thresholds in examples let one example pass.
var checklist []Check

func init() { // the functions name the table in their messages
	checklist = []Check{
		{1, "clean", "is the model a classifier of these data at all?", "the clean accuracy is above chance, by its 95 % interval",
			carlini, false, false, clean, say("compare the labels, --scale, --mean and --std with how the model was trained")},
		{2, "single-step", "does an attack of many steps break what one step breaks?",
			"FGM breaks at most 1 %, or one example, that the attack does not",
			carlini + "; " + athalye, true, true, singleStep, stronger},
		{3, "black-box", "does an attack without gradients break what the attack does not?",
			"at most 0.2 %, or 2 examples, fall to Square, HopSkipJump or a transferred attack alone, after the attack was " +
				"repeated with twice the steps and towards all classes", croce + "; " + athalye,
			true, false, blackBox, fewGradients},
		{4, "unbounded", "does the attack break everything when the whole box is allowed?", "no example stands",
			athalye + "; " + pintor + ", indicator 6", true, true, unbounded, otherLoss},
		{5, "noise", "does noise in the ball break what the attack does not?", "noise breaks nothing that the attack does not",
			athalye, true, false, noise, fewGradients},
		{6, "radii", "does a larger budget break more?",
			"the accuracy rises by at most 1 %, or one example, from one radius to the next of six",
			athalye + "; " + carlini, false, true, radii, stronger},
		{7, "steps", "has the attack converged?",
			"twice the steps, five restarts, half and twice the step size break at most 1 %, or one example, more",
			carlini, false, true, converged, stronger},
		{8, "gradients", "are there gradients to follow?", "no example's gradient is zero, and none has an entry that is not finite",
			croce + "; " + pintor + ", indicator 1", true, true, gradients, otherLoss},
		{9, "unstable", "does the loss jump around the examples?", "the margin changes by at most 50 % on average at 100 points within ±4/255",
			pintor + ", indicator 2; the threshold is ours", false, true, unstable,
			func(x *examiner) []suggestion {
				return append(fewGradients(x), say("or attack.BPDA through a smooth stand-in for what makes the loss jump")(x)...)
			}},
		{10, "silent", "did the attack return less than it had found?", "no example was broken with fewer steps, and not in the end",
			pintor + ", indicator 3", false, true, silent, say("return the best point of the way, as attack.PGD does")},
		{11, "incomplete", "was the loss still rising in the end?", "over the last ten steps it rises by at most 5 % of its way, on half of " +
			"what stands", pintor + ", indicator 4; the share is ours", false, true, incomplete, stronger},
		{12, "transfer", "does what the attack found on its stand-in hold on the model?", "at most 5 % is lost",
			pintor + ", indicator 5; the threshold is ours", true, true, transferred,
			func(x *examiner) []suggestion {
				inner := x.Attack.(attack.Transfer).Attack
				if _, err := inner.Threat(x.victim); err != nil {
					return stronger(x)
				}
				return suggest(inner)
			}},
		{13, "loss", "does another loss break more?", "the margin, the difference of logits ratio, and logits divided by a temperature break " +
			"at most 1 %, or one example, more", "Carlini & Wagner 2016, arXiv:1607.04311; " + croce, false, true, losses, otherLoss},
		{14, "random", "does the model answer the same twice, and if not, is the attack one in expectation?",
			"five answers differ by at most 1e-4, or the attack is attack.EOT, and of n examples twice the draws break at most 1 % and √n more",
			croce + "; " + athalye, true, false, random, (*examiner).inExpectation},
		{15, "softmax", "are the logits logits?", "not all rows are ≥ 0 and sum to 1", croce, false, false, softmax,
			say("take the softmax off, or say Returns: advlib.Probabilities")},
		{16, "classes", "is the loss defined for so few classes?", "the attack's loss needs no more classes than there are",
			croce, false, true, classes, otherLoss},
		{17, "binarisation", "does the attack find an adversarial example that is known to be there?",
			"it finds at least 95 % of those planted, where random search finds at most 50 %; where a detector rejects, both of those " +
				"that are accepted, and, with the detector inverted, of those that are rejected",
			zimmermann + ", and its code for detectors; the second number is ours", true, false, binarisation, onBothSides},
		{18, "suite", "were an attack by labels, one by scores, and one by transfer run?", "each of the three was", carlini,
			false, false, suite, say("leave black-box in")},
		{19, "worst-case", "is the robust accuracy the worst case over attacks, example by example?", "it is below that of the attack by at " +
			"most 1 %", carlini, false, false, worstCase, say("report Diagnosis.Worst, or evaluate with attack.AutoAttack")},
		{20, "lattice", "do the adversarial examples survive being saved as images of 8 bits?", "at most 10 % are lost by rounding",
			"Rony et al. 2019, arXiv:1811.09600; the threshold is ours", false, false, lattice,
			func(x *examiner) []suggestion { return suggest(attack.Lattice8{Attack: x.Attack}) }},
		{21, "interval", "are there enough examples?", "half of the 95 % interval is at most 10 points",
			"Wilson 1927; " + carlini, false, false, interval, say("take 100 examples or more")},
		{22, "detector", "was an attack run that knows the detector?", "the victim has no detector, or the attack is made for it",
			carlini, true, false, detector,
			func(x *examiner) []suggestion {
				if d, ok := x.victim.(knowing); ok {
					return suggest(d.Adaptive(x.Ball))
				}
				return append(x.withoutGradients(), say("what is rejected is no success: an attack with gradients must follow those of the detector "+
					"too, as detect.Screened.Adaptive does")(x)...)
			}},
		{23, "fill", "are the inputs in the units of the box?", "the data fill at least 1/16 of the box", "ours", false, false, fill,
			say("scale the data to the box, or give the classifier the box of its data: a radius is in its units")},
	}
}
