//go:build !planted

package planted

// Is tells whether a bug is in force: none is.
func Is(Bug) bool { return false }

// Level is the highest behaviour level that this program knows: all that it has.
func Level(highest uint64) uint64 { return highest }

// Variables are the environment variables that this package reads: none.
func Variables() []string { return nil }
