package magic

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// doctorLimit is how long %doctor may take.
const doctorLimit = time.Minute

// doctor is %doctor: `advlab doctor`, run as cells are.
func doctor(s Setup) Magic {
	return Magic{
		Help: "what advlab has, what is missing, and what to type",
		Run: func(arguments []string) (map[string]any, error) {
			if len(arguments) > 0 {
				return nil, fmt.Errorf("takes no arguments, and got %q", arguments)
			}
			found, err := examine(s.Program, s.Checkout, s.Env)
			if _, missing := os.Stat(s.Checkout); err == nil && s.Checkout != "" && errors.Is(missing, os.ErrNotExist) {
				found["text/plain"] = fmt.Sprintf("missing  the checkout of this kernel         %s\n"+
					"                                      → where it is now: go run ./kernel setup\n"+
					"What follows is of the folder in which Jupyter was started.\n\n%s", s.Checkout, found["text/plain"])
			}
			return found, err
		},
	}
}

// examine runs `advlab doctor` as cells would be run.
func examine(program, checkout string, env []string) (map[string]any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), doctorLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "doctor")
	cmd.Env = env
	if _, err := os.Stat(checkout); err == nil { // an image may have none
		cmd.Dir = checkout
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || len(out) == 0) { // that something is missing is an answer
		return nil, fmt.Errorf("%w: %s", err, strings.TrimSpace(stderr.String()))
	}
	return map[string]any{"text/plain": string(out)}, nil
}
