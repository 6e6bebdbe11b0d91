package dataset

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"

	"advlab/advlib"
)

// split takes the examples with number mod 7 ≥ 5 as the test, so that both parts have some of each run of lines.
func split(all *advlib.Examples) (train, test *advlib.Examples) {
	var trainRows, testRows []int
	for i := range all.Len() {
		if i%7 >= 5 {
			testRows = append(testRows, i)
		} else {
			trainRows = append(trainRows, i)
		}
	}
	return all.Select(trainRows), all.Select(testRows)
}

// labelled reads lines of features with the label, a number from 0 up, in the last field.
func labelled(lines *csv.Reader) (x []float32, y []int32, err error) {
	lines.ReuseRecord = true
	for {
		fields, err := lines.Read()
		if err == io.EOF {
			return x, y, nil
		}
		if err != nil {
			return nil, nil, err
		}
		label := len(fields) - 1
		for _, field := range fields[:label] {
			v, err := strconv.ParseFloat(field, 32)
			if err != nil {
				return nil, nil, err
			}
			x = append(x, float32(v))
		}
		v, err := strconv.ParseUint(fields[label], 10, 31)
		if err != nil {
			return nil, nil, fmt.Errorf("the label: %w", err)
		}
		y = append(y, int32(v))
	}
}
