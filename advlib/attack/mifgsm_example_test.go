package attack_test

import (
	"context"
	"fmt"

	"advlab/advlib"
	"advlab/advlib/attack"
)

func ExampleBIM() {
	c, e := brightness()
	res := advlib.MustRun(context.Background(), c, attack.BIM{Ball: advlib.BallOf(advlib.Linf, 0.3)}, e)
	fmt.Println(res.Attack, res.Success)
	// Output:
	// BIM-10 Linf ≤ 0.3 [true true false]
}

func ExampleMIFGSM() {
	c, e := brightness()
	for _, a := range []attack.MIFGSM{{}, {Nesterov: true}} {
		a.Ball = advlib.BallOf(advlib.Linf, 0.3)
		res := advlib.MustRun(context.Background(), c, a, e)
		fmt.Println(res.Attack, res.Success)
	}
	// Output:
	// MI-FGSM-10 Linf ≤ 0.3 [true true false]
	// NI-FGSM-10 Linf ≤ 0.3 [true true false]
}
