package advlib_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"advlab/advlib"
)

// A domain is read back from JSON as it was written, with changes by their names.
func TestDomainJSON(t *testing.T) {
	d := advlib.Domain{
		{Name: "age", Lo: 18, Hi: 100, Step: 1, Change: advlib.RiseOnly, Scale: 10}, {Name: "job", OneHot: 4, Change: advlib.Fixed},
		{Name: "debt", Hi: 1e6, Change: advlib.FallOnly}, {},
	}
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	var back advlib.Domain
	if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(d, back) {
		t.Errorf("%s is read as %+v, %v", text, back, err)
	}
	for _, want := range []string{`"one_hot":4`, `"change":"rise only"`, `"change":"fall only"`, `"change":"fixed"`, `"change":"either way"`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
	if err := json.Unmarshal([]byte(`[{"change": "change 7"}]`), &back); err == nil || !strings.Contains(err.Error(), `"rise only"`) {
		t.Errorf("the error is %v", err)
	}
}
