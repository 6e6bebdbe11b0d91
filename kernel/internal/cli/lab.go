package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"advlab/kernel/internal/place"
	"advlab/kernel/internal/progress"
	"advlab/kernel/internal/session"
)

func (a *app) labCommand() *cobra.Command {
	var noBrowser, allowRoot bool
	var port int
	cmd := &cobra.Command{
		Use:   "lab [--no-browser] [--port N] [PATH] [-- JUPYTERLAB'S OWN FLAGS]",
		Short: "Set up, open JupyterLab",
		Long: `lab prepares what is missing and starts JupyterLab, in which notebooks have the kernel "Go (advlab)". It opens
a notebook or a folder, the checkout's notebooks/ if none is named. Ctrl-C, twice, ends it.

It prints JupyterLab's address. What follows -- goes to JupyterLab as it is.`,
		Example: `  go run ./kernel lab
  go run ./kernel lab notebooks/01-quickstart.ipynb
  go run ./kernel lab --no-browser --port 8890 ~/course
  go run ./kernel lab -- --ServerApp.base_url=/go/`,
		Args: func(cmd *cobra.Command, args []string) error {
			own := args
			if at := cmd.ArgsLenAtDash(); at >= 0 {
				own = args[:at]
			}
			if len(own) > 1 {
				return misuse("lab opens one path, and got %q; flags for JupyterLab come after --", own)
			}
			if len(own) == 1 {
				if _, err := os.Stat(own[0]); err != nil {
					return misuse("%w", err)
				}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			path := ""
			if at := cmd.ArgsLenAtDash(); at != 0 && len(args) > 0 {
				path, args = args[0], args[1:]
			}
			if cmd.Flags().Changed("port") {
				if port < 0 || port > 65535 {
					return misuse("--port %d is no port: 1 to 65535", port)
				}
				args = append([]string{fmt.Sprintf("--port=%d", port)}, args...)
			}
			if noBrowser {
				args = append([]string{"--no-browser"}, args...)
			}
			if allowRoot {
				args = append([]string{"--allow-root"}, args...)
			}
			if err := refuseRoot(os.Geteuid(), args); err != nil {
				return err // before minutes are spent on the set-up
			}
			return a.lab(cmd.Context(), path, args)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&noBrowser, "no-browser", false, "open no browser: its address is printed")
	f.IntVar(&port, "port", 0, "the port that it listens to, or the next free one; 8888 if none is named")
	f.BoolVar(&allowRoot, "allow-root", false, "run as root, as in a container")
	return cmd
}

func (a *app) lab(ctx context.Context, path string, extra []string) error {
	if err := loopback(); err != nil {
		return err
	}
	printer := progress.New(a.err)
	p, _, _, err := a.prepare(ctx, printer)
	if err != nil {
		return err
	}
	if path == "" {
		path = filepath.Join(p.Checkout, "notebooks")
	}
	if path, err = filepath.Abs(path); err != nil {
		return err
	}
	printer.Line("lab", "starting JupyterLab on %s: Ctrl-C, twice, ends it", place.Short(path))
	env := session.JupyterEnv(p, os.Environ())
	cmd := exec.CommandContext(ctx, p.PythonExe(), append([]string{"-m", "jupyterlab", path}, labFlags(extra)...)...)
	cmd.Env = env
	if info, err := os.Stat(filepath.Join(path, "source")); err == nil && info.IsDir() {
		cmd.Dir = path // nbgrader takes the folder where JupyterLab runs for the course's
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	// Ctrl-C reaches JupyterLab by itself, which asks whether it is meant; a SIGTERM is passed on.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 15 * time.Second
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		if address := labAddress(p.PythonExe(), env, cmd.Process.Pid, ended); address != "" {
			printer.Line("lab", "%s", address)
		}
	}()
	err = cmd.Wait()
	close(ended)
	var exit *exec.ExitError
	if errors.As(err, &exit) && ctx.Err() == nil {
		return fmt.Errorf("JupyterLab ended with status %d", exit.ExitCode())
	}
	return err
}

// labAddress is where JupyterLab, which runs as a process, is reached: it writes that into a file of its own. Its log
// has it only at some levels, and not where its token was given to it.
func labAddress(python string, env []string, pid int, ended <-chan struct{}) string {
	ask := exec.Command(python, "-c", "from jupyter_core.paths import jupyter_runtime_dir as d; print(d())")
	ask.Env = env
	dir, err := ask.Output()
	if err != nil {
		return ""
	}
	file := filepath.Join(strings.TrimSpace(string(dir)), fmt.Sprintf("jpserver-%d.json", pid))
	for {
		if text, err := os.ReadFile(file); err == nil {
			if address, ok := serverAddress(text); ok {
				return address
			}
		}
		select {
		case <-ended:
			return ""
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// serverAddress reads the file in which Jupyter's server says where it is.
func serverAddress(text []byte) (address string, ok bool) {
	var server struct {
		URL      string `json:"url"`
		Token    string `json:"token"`
		Password bool   `json:"password"`
		Sock     string `json:"sock"`
	}
	if json.Unmarshal(text, &server) != nil || server.URL == "" && server.Sock == "" {
		return "", false // it is being written
	}
	if server.Sock != "" {
		return "JupyterLab listens to the socket " + server.Sock, true
	}
	address = server.URL + "lab"
	if server.Token != "" && !server.Password {
		address += "?token=" + url.QueryEscape(server.Token)
	}
	return address, true
}

// refuseRoot says what to do where JupyterLab itself would refuse to start.
func refuseRoot(uid int, extra []string) error {
	allowed := slices.ContainsFunc(extra, func(arg string) bool {
		return strings.HasPrefix(arg, "--allow-root") || strings.HasPrefix(arg, "--ServerApp.allow_root")
	})
	if uid != 0 || allowed {
		return nil
	}
	return misuse("JupyterLab does not run as root unless it is told to: become another user, or, where there is none, as in a container, " +
		"add `--allow-root`")
}

// labFlags are JupyterLab's flags. It tells forty lines before the one with its address, which comes at every level, so
// it is asked for warnings only, unless the user has chosen.
func labFlags(extra []string) []string {
	chosen := slices.ContainsFunc(extra, func(arg string) bool {
		return arg == "--debug" || strings.Contains(arg, "log-level") || strings.Contains(arg, "log_level")
	})
	if chosen {
		return extra
	}
	return append([]string{"--log-level=WARN"}, extra...)
}
