package report_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"advlab/advlib/report"
)

// Medians by hand of three changes; equal images have an infinite PSNR, null in JSON, and tables none.
func TestChanges(t *testing.T) {
	value := func(v float64) *float64 { return &v }
	inf := report.Distance(math.Inf(1))
	r := madeReport()
	r.Attacks[0].Changes = make([]*report.Change, 8)
	for i, c := range []report.Change{
		{L0: 1, L1: 0.5, L2: 0.5, Linf: 0.5, Features: value(0.5), Image: &report.Likeness{PSNR: 20, SSIM: value(0.9), Window: "7×7 uniform"}},
		{L0: 4, L1: 1, L2: 0.5, Linf: 0.25, Features: value(0.3), Image: &report.Likeness{PSNR: 40, SSIM: value(0.99), Window: "7×7 uniform"}},
		{L0: 9, L1: 3, L2: 1, Linf: 0.75, Features: value(0.25), Image: &report.Likeness{PSNR: inf}},
	} {
		r.Attacks[0].SetChange(i, &c, 8)
	}
	r.Attacks[1].SetChange(2, &report.Change{L0: 2, L1: 2, L2: math.Sqrt2, Linf: 1}, 8)
	table := r.ChangeTable()
	if !strings.HasSuffix(table.Title, "(SSIM: 7×7 uniform)") || len(table.Rows) != 3 {
		t.Fatalf("%+v", table)
	}
	if got := strings.Join(table.Rows[1], "|"); got != "FGSM Linf ≤ 4/255|3|4|1|0.5|0.5|40.0 dB|0.9000|0.3000" {
		t.Errorf("medians: %s", got)
	}
	if got := strings.Join(table.Rows[2], "|"); got != "PGD-40 Linf ≤ 8/255|1|2|2|1.414|1|n/a|n/a|n/a" {
		t.Errorf("of no images: %s", got)
	}
	for form, text := range map[string]string{"text": r.String(), "HTML": r.HTML()} {
		if !strings.Contains(text, "40.0 dB") || !strings.Contains(text, "7×7 uniform") {
			t.Errorf("the %s says nothing of what changed", form)
		}
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), `{"l0":9,"l1":3,"l2":1,"linf":0.75,"features":0.25,"image":{"psnr":null,"ssim":null}},null,null`) ||
		!strings.Contains(string(text), `{"l0":2,"l1":2,"l2":1.4142135623730951,"linf":1},null`) {
		t.Errorf("JSON: %s", text)
	}
	var back report.Report
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if back.String() != r.String() {
		t.Errorf("read back:\n%s\nwant\n%s", &back, r)
	}
	whole, err := back.Merge(r)
	if err != nil || len(whole.Attacks[0].Changes) != 16 || whole.Attacks[1].Changes[10] == nil {
		t.Errorf("merged: %v, %v", whole, err)
	}
	back.Attacks[0].Changes = back.Attacks[0].Changes[:3]
	text, _ = json.Marshal(back)
	err = json.Unmarshal(text, &back)
	if err == nil || !strings.Contains(err.Error(), "changes of the attack FGSM Linf ≤ 4/255 has 3 entries") {
		t.Errorf("3 changes of 8 examples: %v", err)
	}
}
