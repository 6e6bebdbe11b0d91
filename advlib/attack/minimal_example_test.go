package attack_test

import (
	"context"
	"fmt"

	"advlab/advlib"
	"advlab/advlib/attack"
)

// show runs an attack on the three examples of brightness, whose pixels differ by 0.2, 0.5 and 0.8. To make the darker
// pixel the brighter one costs that difference in L1, difference/√2 in L2, half of it in Linf, and one pixel in L0.
func show(a advlib.Attack) {
	c, e := brightness()
	res := advlib.MustRun(context.Background(), c, e, a)
	fmt.Printf("%v %.2f\n", res.Attack, res.Distance)
}

func ExampleFMN() {
	for _, n := range []advlib.Norm{advlib.L0, advlib.L1, advlib.L2, advlib.Linf} {
		show(attack.FMN{Norm: n, Steps: 100})
	}
	// Output:
	// FMN-100 L0 minimal [1.00 1.00 1.00]
	// FMN-100 L1 minimal [0.20 0.50 0.80]
	// FMN-100 L2 minimal [0.14 0.35 0.57]
	// FMN-100 Linf minimal [0.10 0.25 0.40]
}

func ExampleDDN() {
	show(attack.DDN{Steps: 100})
	// Output:
	// DDN-100 L2 minimal [0.14 0.35 0.57]
}

// DeepFool overshoots by 2 %.
func ExampleDeepFool() {
	for _, n := range []advlib.Norm{advlib.L2, advlib.Linf} {
		show(attack.DeepFool{Norm: n})
	}
	// Output:
	// DeepFool-50 L2 minimal [0.14 0.36 0.58]
	// DeepFool-50 Linf minimal [0.10 0.26 0.41]
}

func ExampleFAB() {
	for _, n := range []advlib.Norm{advlib.L1, advlib.L2, advlib.Linf} {
		show(attack.FAB{Norm: n, Steps: 10})
	}
	// Output:
	// FAB-10 L1 minimal [0.20 0.50 0.80]
	// FAB-10 L2 minimal [0.14 0.35 0.57]
	// FAB-10 Linf minimal [0.10 0.25 0.40]
}

// With two classes there is one target.
func ExampleFABT() {
	show(attack.FABT(advlib.L2))
	// Output:
	// FAB-100 L2 minimal, 9 targets [0.14 0.35 0.57]
}

func ExampleSigmaZero() {
	show(attack.SigmaZero{Steps: 100})
	// Output:
	// σ-zero-100 L0 minimal [1.00 1.00 1.00]
}

func ExampleCarliniWagnerLinf() {
	show(attack.CarliniWagnerLinf{Steps: 400, InitialConst: 0.1})
	// Output:
	// C&W-400 Linf minimal, c₀ = 0.1 [0.10 0.25 0.40]
}

func ExampleCarliniWagnerL0() {
	show(attack.CarliniWagnerL0{Steps: 100, LargestConst: 1000})
	// Output:
	// C&W-100 L0 minimal, c ≤ 1000 [1.00 1.00 1.00]
}

func ExampleEAD() {
	show(attack.EAD{BinarySearchSteps: 5, Steps: 100, InitialConst: 0.1})
	// Output:
	// EAD 5×100 L1 minimal, c₀ = 0.1 [0.20 0.50 0.80]
}

// All coordinates may be changed here: the paper's share of 14.5 % is no pixel of two. Raising a pixel lowers no logit
// of this classifier, so that the paper's form, in which pixels only rise, finds nothing.
func ExampleJSMA() {
	show(attack.JSMA{Gamma: 1})
	show(attack.JSMA{Gamma: 1, BothDirections: true})
	// Output:
	// JSMA 100 % L0 minimal [+Inf +Inf +Inf]
	// JSMA 100 % L0 minimal, both directions [1.00 1.00 1.00]
}
