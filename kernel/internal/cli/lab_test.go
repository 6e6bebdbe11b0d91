package cli

import (
	"slices"
	"testing"
)

func TestLabFlags(t *testing.T) {
	for _, test := range []struct {
		uid     int
		extra   []string
		refused bool
		flags   []string
	}{
		{1000, nil, false, []string{"--log-level=WARN"}},
		{0, []string{"--no-browser"}, true, []string{"--log-level=WARN", "--no-browser"}},
		{0, []string{"--allow-root"}, false, []string{"--log-level=WARN", "--allow-root"}},
		{0, []string{"--ServerApp.allow_root=True", "--debug"}, false, []string{"--ServerApp.allow_root=True", "--debug"}},
		{1000, []string{"--Application.log_level=INFO"}, false, []string{"--Application.log_level=INFO"}},
	} {
		if err := refuseRoot(test.uid, test.extra); (err != nil) != test.refused {
			t.Errorf("%+v: %v", test, err)
		}
		if got := labFlags(test.extra); !slices.Equal(got, test.flags) {
			t.Errorf("%+v: %q", test, got)
		}
	}
}

// The address that Jupyter's server writes into its file, with what it takes to open it.
func TestServerAddress(t *testing.T) {
	for text, want := range map[string]string{
		`{"url": "http://localhost:8890/", "token": "a b", "password": false, "port": 8890}`: "http://localhost:8890/lab?token=a+b",
		`{"url": "https://host:1/go/", "token": "", "password": true}`:                       "https://host:1/go/lab",
		`{"url": "http+unix://x/", "sock": "/run/lab.sock"}`:                                 "JupyterLab listens to the socket /run/lab.sock",
		`{"url": "http`: "",
		`{}`:            "",
	} {
		if got, ok := serverAddress([]byte(text)); got != want || ok != (want != "") {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
