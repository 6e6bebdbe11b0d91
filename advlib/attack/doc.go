// Package attack holds attacks on classifiers. Each is a struct whose fields are its hyper-parameters; the zero value of
// a field means the paper's choice, or what the field's comment says. [advlib.Run] measures one, [advlib.Evaluate] several:
//
//	pgd := attack.PGD{Ball: advlib.BallOf(advlib.Linf, 8./255)}
//	result, err := advlib.Run(ctx, classifier, pgd, examples)
//
// All attacks here are white-box, they use the model's gradient, except for SquareAttack, which asks for logits only.
//
//	attack         looks for              norms        goals                  paper
//	FGM            any example in a ball  L1 L2 Linf   untargeted, targeted   Goodfellow et al. 2015, arXiv:1412.6572
//	BIM            any example in a ball  L1 L2 Linf   untargeted, targeted   Kurakin et al. 2017, arXiv:1607.02533
//	PGD            any example in a ball  L1 L2 Linf   untargeted, targeted   Madry et al. 2018, arXiv:1706.06083
//	MIFGSM         any example in a ball  L2 Linf      untargeted, targeted   Dong et al. 2018, arXiv:1710.06081, with NI, DI, TI
//	APGD           any example in a ball  L1 L2 Linf   untargeted, targeted   Croce & Hein 2020, arXiv:2003.01690; 2021, arXiv:2103.01208
//	SquareAttack   any example in a ball  L1 L2 Linf   untargeted, targeted   Andriushchenko et al. 2020, arXiv:1912.00049
//	AutoAttack     any example in a ball  L1 L2 Linf   untargeted             Croce & Hein 2020, arXiv:2003.01690
//	CarliniWagner  the nearest example    L2           untargeted, targeted   Carlini & Wagner 2017, arXiv:1608.04644
//	CarliniWagnerLinf, CarliniWagnerL0: the same paper's attacks in Linf and L0
//	FMN            the nearest example    L0 L1 L2 Linf  untargeted, targeted  Pintor et al. 2021, arXiv:2102.12827
//	DDN            the nearest example    L2           untargeted, targeted   Rony et al. 2019, arXiv:1811.09600
//	DeepFool       the nearest example    L2 Linf      untargeted, targeted   Moosavi-Dezfooli et al. 2016, arXiv:1511.04599
//	FAB            the nearest example    L1 L2 Linf   untargeted, targeted   Croce & Hein 2020, arXiv:1907.02044; FABT with targets
//	SigmaZero      the nearest example    L0           untargeted, targeted   Cinà et al. 2024, arXiv:2402.01879
//	EAD            the nearest example    L1           untargeted, targeted   Chen et al. 2018, arXiv:1709.04114
//	JSMA           the nearest example    L0           untargeted, targeted   Papernot et al. 2016, arXiv:1511.07528
//	AllTargets     what its Attack does, towards every other class in turn
//	Repeat         what its Attack does, several times with other random draws
//	WorstOf        what any of its Attacks finds
//	Temperature    what its Attack does, with logits divided by T
//	EOT            what its Attack does, on the mean of a random classifier's logits
//	BPDA           what its Attack does, with another gradient
//	Transfer       what its Attack does to another classifier
//	Lattice8       what its Attack does, rounded to what an image file can hold
//
// The S of FGSM is for sign, which is FGM in the Linf ball. [Standard] is a small set to begin with.
//
// # What all attacks share
//
// An attack takes the goal from the batch that it is given ([advlib.Batch]), not from its own field, so that wrappers such as
// [AllTargets] can choose targets. Rows are attacked in the order of their numbers, whatever their order in the batch, in pieces
// of at most 512, padded to [advlib.Bucket] sizes; rows that need no more work leave. Inside a step an example counts as
// adversarial when its logits say so by more than rounding explains, because another batch size rounds differently.
package attack
