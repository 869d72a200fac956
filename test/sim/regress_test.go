package sim

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestRegress runs each seed again that found something once (regress/seeds).
func TestRegress(t *testing.T) {
	file, err := os.Open(filepath.Join("regress", "seeds"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		line := lines.Text()
		if strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "" {
			continue
		}
		fields := strings.SplitN(line, " ", 3)
		if len(fields) != 3 {
			t.Fatalf("regress/seeds: %q is not SEED LENGTH WHAT", line)
		}
		seed, err := strconv.ParseUint(fields[0], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		length, err := time.ParseDuration(fields[1])
		if err != nil {
			t.Fatal(err)
		}
		t.Run(fields[0], func(t *testing.T) {
			t.Parallel()
			judge(t, Run(t, Options{Seed: seed, Length: length, MayBeVoid: true, Wired: true}))
		})
	}
}
