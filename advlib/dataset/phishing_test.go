package dataset

import (
	"slices"
	"strings"
	"testing"
)

// The websites as rows alone and as ARFF are the same, and so is a table with a column of links and one without.
func TestPhishingTables(t *testing.T) {
	row := strings.Repeat("-1,0,1,", 10)
	plain := row + "-1\n" + row + "1\n"
	arff := "@relation phishing\n"
	for _, name := range websiteColumns {
		arff += "@attribute " + name + " { -1,0,1 }\n"
	}
	var hashes []string
	for _, text := range []string{plain, strings.ReplaceAll(plain, "\n", "\r\n"), arff + "\n@data\n" + plain} {
		table, err := ReadPhishingWebsites("websites", strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		s, err := PhishingWebsitesFeatures().Learn(table)
		if err != nil {
			t.Fatal(err)
		}
		e, err := s.Examples(table)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(e.Y, []int32{1, 0}) || s.Coordinates() != 30 {
			t.Errorf("%v of classes %v with %d coordinates", e, e.Y, s.Coordinates())
		}
		e.Index = nil
		hashes = append(hashes, e.Hash())
	}
	if hashes[0] != hashes[1] || hashes[0] != hashes[2] {
		t.Errorf("three forms of the same rows have the hashes %q", hashes)
	}
	for _, text := range []string{"url,length_url,phishing\nhttp://a.b,10,1\nhttp://a.b/c,12,0\n", "length_url,phishing\n10,1\n12,0\n"} {
		table, err := ReadPhishingPages("pages", strings.NewReader(text))
		if err != nil || !slices.Equal(table.Names(), []string{"length_url", "phishing"}) {
			t.Errorf("%v: %v", table, err)
		}
	}
	for want, text := range map[string]string{"line 2: it has 2 cells": plain[:len(row)+3] + "1,1\n", "it is empty": ""} {
		if _, err := ReadPhishingWebsites("websites", strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not say %q", err, want)
		}
	}
	f := PhishingPagesFeatures()
	if f.Class("1") != "phishing" || f.Class("0") != "legitimate" || f.Class("2") != "" || PhishingWebsitesFeatures().Class("0") != "" {
		t.Error("classes of pages are wrong")
	}
}
