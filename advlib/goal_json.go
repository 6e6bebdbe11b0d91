package advlib

import (
	"encoding/json"
	"fmt"
)

// goalJSON is a Goal in JSON, so that kept results know what was wanted.
type goalJSON struct {
	Targeted bool    `json:"targeted,omitempty"`
	Class    int     `json:"class,omitempty"`
	Offset   int     `json:"offset,omitempty"`
	Each     []int32 `json:"each,omitempty"`
}

// MarshalJSON writes the goal with its target classes.
func (g Goal) MarshalJSON() ([]byte, error) {
	return json.Marshal(goalJSON{g.targeted, g.class, g.offset, g.each})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (g *Goal) UnmarshalJSON(text []byte) error {
	var v goalJSON
	if err := json.Unmarshal(text, &v); err != nil {
		return fmt.Errorf("advlib: goal: %w", err)
	}
	*g = Goal{v.Targeted, v.Class, v.Offset, v.Each}
	return nil
}
