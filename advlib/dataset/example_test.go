package dataset_test

import (
	"fmt"

	"advlab/advlib/dataset"
)

func ExampleDigits() {
	train, test := dataset.Digits()
	fmt.Println(train.Name, train.Len(), train.Shape())
	fmt.Println(test.Name, test.Len(), test.Shape())
	// Output:
	// digits/train 1285 [8 8 1]
	// digits/test 512 [8 8 1]
}
