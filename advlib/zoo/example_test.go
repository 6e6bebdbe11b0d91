package zoo_test

import (
	"context"
	"fmt"

	"advlab/advlib/dataset"
	"advlab/advlib/zoo"
)

func ExampleMLP() {
	train, _ := dataset.Digits()
	m := zoo.MLP(32)
	m.Epochs = 3
	clf, err := m.Fit(context.Background(), train)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(clf.Name(), clf.Input(), clf.Classes(), "classes")
	// Output: MLP-32 [8 8 1] 10 classes
}
