package attack

import "advlab/advlib"

// Standard returns a small set of attacks on one ball, for a first table: FGM, PGD on the cross-entropy, PGD on the
// margin towards each of the nine most likely other classes, and in L2 Carlini & Wagner, whose nearest examples count
// when they lie in the ball.
//
// It is honest but small: all of it follows the gradient, with a fixed step size and one random start, so it says
// nothing about a model that hides its gradient. It is not AutoAttack (Croce & Hein 2020, arXiv:2003.01690), and its
// numbers must not be compared with that benchmark's.
func Standard(ball advlib.Ball) []advlib.Attack {
	attacks := []advlib.Attack{
		FGM{Ball: ball},
		PGD{Ball: ball},
		AllTargets{Attack: PGD{Ball: ball, Loss: advlib.Margin}, Most: 9},
	}
	if ball.Norm == advlib.L2 {
		attacks = append(attacks, CarliniWagner{})
	}
	return attacks
}
