package report

import (
	"encoding/json"
	"math"
	"strconv"
)

// Distance is a perturbation's norm that survives JSON: +Inf, where an attack failed, is written as null.
type Distance float64

// MarshalJSON writes +Inf as null, and all other values exactly: a distance rounded up would leave its ball.
func (d Distance) MarshalJSON() ([]byte, error) {
	if math.IsInf(float64(d), 0) || math.IsNaN(float64(d)) {
		return []byte("null"), nil
	}
	return strconv.AppendFloat(nil, float64(d), 'g', -1, 64), nil
}

// UnmarshalJSON reads null as +Inf.
func (d *Distance) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		*d = Distance(math.Inf(1))
		return nil
	}
	return json.Unmarshal(text, (*float64)(d))
}

// Bound is a lower bound that survives JSON: -Inf, where nothing could be shown, is written as null.
type Bound float64

// MarshalJSON writes what is not finite as null.
func (b Bound) MarshalJSON() ([]byte, error) { return Distance(b).MarshalJSON() }

// UnmarshalJSON reads null as -Inf.
func (b *Bound) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		*b = Bound(math.Inf(-1))
		return nil
	}
	return json.Unmarshal(text, (*float64)(b))
}
