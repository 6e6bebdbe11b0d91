package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"advlab/advlib/cachedir"
)

// TestHarden: what harden keeps evaluate finds, what is kept is not trained again, and other flags are another model.
func TestHarden(t *testing.T) {
	t.Setenv(cachedir.Variable, t.TempDir())
	data := filepath.Join(models(t), "pytorch.npz")
	harden := func(flags ...string) (key, said string) {
		t.Helper()
		var out, progress bytes.Buffer
		args := append([]string{"harden", "--backend", "go", "--data", data, "--architecture", "mlp:16", "--epochs", "2"}, flags...)
		if status := run(t.Context(), args, &out, &progress); status != done {
			t.Fatalf("%v: exit status %d: %s", flags, status, progress.String())
		}
		key = strings.TrimSpace(out.String())
		if !regexp.MustCompile(`^[0-9a-f]{12}$`).MatchString(key) {
			t.Fatalf("%v: the output is %q, not a key", flags, out.String())
		}
		return key, progress.String()
	}
	seen := map[string]string{}
	for _, flags := range []string{
		"--eps 0.1 --ascents 2", "--eps 0.1 --ascents 2 --seed 1", "--method trades --norm l2 --eps 0.5 --ascents 2 --beta 1",
		"--method trades --eps 0.1 --ascents 2 --beta 1 --awp", "--method mart --eps 25/255 --ascents 2 --warm-up 0",
		"--method free --eps 0.1 --replays 2",
		"--method fast --eps 0.1 --held 0.2", "--method distillation --temperature 20", "--method natural",
		"--eps 0.1 --ascents 2 --mean 0.3 --std 0.4", "--eps 0.1 --ascents 2 --clean 0.5 --awp --gamma 0.01",
	} {
		key, said := harden(strings.Fields(flags)...)
		if other, ok := seen[key]; ok {
			t.Errorf("%s and %s are one model", flags, other)
		}
		seen[key] = flags
		if !strings.Contains(said, "epoch 2: loss") {
			t.Errorf("%s: nothing is said of the second epoch: %s", flags, said)
		}
		if again, said := harden(strings.Fields(flags)...); again != key || !strings.Contains(said, "trained before") {
			t.Errorf("%s: trained twice, %s and %s: %s", flags, key, again, said)
		}
		if strings.Contains(flags, "--norm l2") || strings.Contains(flags, "--mean") {
			evaluate := []string{"evaluate", "--backend", "go", "--store", key, "--data", data, "--norm", "l2", "--eps", "0.1", "--attacks", "fgm"}
			if strings.Contains(flags, "--mean") {
				evaluate = append(evaluate, "--mean", "0.3", "--std", "0.4")
			}
			var out, progress bytes.Buffer
			if status := run(t.Context(), evaluate, &out, &progress); status != done || !strings.Contains(out.String(), "MLP-16") {
				t.Errorf("evaluate: exit status %d: %s%s", status, out.String(), progress.String())
			}
		}
	}
}

// TestHardenRefuses names the flag that is wrong, before anything is trained.
func TestHardenRefuses(t *testing.T) {
	t.Setenv(cachedir.Variable, t.TempDir())
	data := filepath.Join(models(t), "pytorch.npz")
	domain := filepath.Join(t.TempDir(), "domain.json")
	if err := os.WriteFile(domain, []byte(`[{"name":"a"}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	for flags, want := range map[string]string{
		"--eps 0.1 --method trade":                        `there is no method "trade"`,
		"":                                                "--eps is missing",
		"--eps 0":                                         "a budget must be above 0",
		"--eps 0.1 --norm l0":                             "harden in linf, l2 or l1",
		"--eps 1 --norm l2 --method free":                 "--method free steps in linf",
		"--eps 0.1 --beta 2":                              "--beta is given with --method at",
		"--eps 0.1 --gamma 0.1":                           "without --awp",
		"--eps 0.1 --warm-up 30":                          "not a number of epochs",
		"--eps 0.1 --held 0":                              "--held: 0 is not between 0 and 1",
		"--eps 0.1 --held 0.001":                          "its validation is empty",
		"--eps 0.1 --epochs 0":                            "--epochs: 0 is below 1",
		"--eps 0.1 --architecture rnn:3":                  "neither cnn:16,32 nor mlp:100,100",
		"--eps 0.1 --architecture mlp:a":                  `"a" is no number of units`,
		"--eps 0.1 --step-size -1":                        "--step-size: -1 is not above 0",
		"--eps 0.1 --adversary-meets dropout":             "there are inference, batch-statistics",
		"--method distillation":                           "--temperature is missing",
		"--method distillation --temperature -3":          "--temperature: -3 is not above 0",
		"--method distillation --temperature 9 --eps 0.1": "has no ball: leave them out",
		"--eps 0.1 --method free --domain " + domain:      "--method free does not keep to a --domain",
	} {
		var out, progress bytes.Buffer
		args := append([]string{"harden", "--backend", "go", "--data", data, "--architecture", "mlp:4"}, strings.Fields(flags)...)
		status := run(t.Context(), args, &out, &progress)
		if status == done || !strings.Contains(progress.String(), want) || out.Len() > 0 {
			t.Errorf("%s: exit status %d, output %q: %s, want %q", flags, status, out.String(), progress.String(), want)
		}
	}
	var out, progress bytes.Buffer
	if status := run(t.Context(), []string{"harden", "--eps", "0.1"}, &out, &progress); status != misused ||
		!strings.Contains(progress.String(), "--data is missing") {
		t.Errorf("without data: exit status %d: %s", status, progress.String())
	}
}
