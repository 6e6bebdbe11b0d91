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
			return examine(s.Program, s.Checkout, s.Env)
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
