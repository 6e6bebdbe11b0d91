package attack_test

import (
	"context"
	"fmt"

	"advlab/advlib"
	"advlab/advlib/attack"
)

func ExampleBIM() {
	c, e := brightness()
	res := advlib.MustRun(context.Background(), c, e, attack.BIM{Ball: advlib.Linf.Ball(0.3)})
	fmt.Println(res.Attack, res.Success)
	// Output:
	// BIM-10 Linf ≤ 0.3 [true true false]
}

func ExampleMIFGSM() {
	c, e := brightness()
	for _, a := range []attack.MIFGSM{{}, {Nesterov: true}} {
		a.Ball = advlib.Linf.Ball(0.3)
		res := advlib.MustRun(context.Background(), c, e, a)
		fmt.Println(res.Attack, res.Success)
	}
	// Output:
	// MI-FGSM-10 Linf ≤ 0.3 [true true false]
	// NI-FGSM-10 Linf ≤ 0.3 [true true false]
}
