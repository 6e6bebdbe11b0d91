package defense_test

import (
	"context"
	"fmt"

	"advlab/advlib"
	"advlab/advlib/dataset"
	"advlab/advlib/defense"
	"advlab/advlib/zoo"
)

func ExampleAdversarialTraining() {
	train, _ := dataset.Digits()
	m := zoo.MLP(32)
	m.Epochs = 2
	hardened := defense.AdversarialTraining{Ball: advlib.Linf.Ball(0.1), Ascents: 5}
	clf, err := hardened.Fit(context.Background(), m, train)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(clf.Name())
	// Output: MLP-32 (adversarial, Linf ≤ 0.1)
}
