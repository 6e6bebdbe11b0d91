package attack_test

import (
	"context"
	"fmt"

	"advlab/advlib"
	"advlab/advlib/attack"
)

func ExampleAPGD() {
	c, e := brightness()
	// In L1 the darker pixel alone may rise, or the brighter one fall, by the whole difference: 0.2, 0.5 and 0.8.
	for _, ε := range []float64{0.1, 0.3, 0.6} {
		res := advlib.MustRun(context.Background(), c, e, attack.APGD{Ball: advlib.L1.Ball(ε)})
		fmt.Println(res.Attack, res.Success)
	}
	// Output:
	// APGD-100 L1 ≤ 0.1 [false false false]
	// APGD-100 L1 ≤ 0.3 [true false false]
	// APGD-100 L1 ≤ 0.6 [true true false]
}
