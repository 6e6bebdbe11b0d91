package guard

// Process is one line of the process table.
type Process struct {
	PID, Parent int
	Name        string
	Zombie      bool
	Start       int64 // in the system's ticks since boot
}
