package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// module writes a module with two targets, one of which finds something at once.
func module(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module example.org/m\n\ngo 1.26\n",
		"m.go":   "package m\n",
		"m_test.go": `package m

import "testing"

func FuzzGood(f *testing.F) { f.Fuzz(func(t *testing.T, b []byte) {}) }

func FuzzBad(f *testing.F) {
	f.Add([]byte("x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 2 {
			t.Error("more than two bytes")
		}
	})
}

func Fuzzy(x int) {}
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestRunner(t *testing.T) {
	dir := module(t)
	var out strings.Builder
	if ok, err := run(t.Context(), []string{"-C", dir, "-list"}, &out); !ok || err != nil || out.String() != "example.org/m FuzzGood\nexample.org/m FuzzBad\n" {
		t.Errorf("the list: %v, %v: %q", ok, err, out.String())
	}
	out.Reset()
	ok, err := run(t.Context(), []string{"-C", dir, "-time", "2s"}, &out)
	if ok || err != nil {
		t.Errorf("got ok %v, %v, want that one target fails:\n%s", ok, err, &out)
	}
	for _, want := range []string{"ok   example.org/m FuzzGood: ", "FAIL example.org/m FuzzBad ", "more than two bytes", "again: (cd " + dir, "go test -run='^FuzzBad/", "1 of 2 targets found nothing"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("nothing says %q:\n%s", want, &out)
		}
	}
	if found, _ := filepath.Glob(filepath.Join(dir, "testdata", "fuzz", "FuzzBad", "*")); len(found) != 1 {
		t.Errorf("what was found lies in %v, want one file", found)
	}
	if _, err := run(t.Context(), []string{"-C", dir, "-only", "Nothing"}, &out); err == nil {
		t.Error("that there is no such target is not said")
	}
}

// TestTimeWasUp: what is no finding of a target's is one only as long as nothing else is said.
func TestTimeWasUp(t *testing.T) {
	const race = "fuzz: elapsed: 8s, execs: 14289 (2515/sec), new interesting: 12 (total: 277)\n--- FAIL: FuzzDecodeBMC (8.54s)\n    context deadline exceeded\nFAIL\n"
	for said, want := range map[string]bool{
		race: true,
		strings.Replace(race, "context", "m_test.go:9: context", 1):                                        false,
		race + "    Failing input written to testdata/fuzz/FuzzDecodeBMC/07ab\n":                           false,
		"panic: test timed out after 10m\nFAIL\n":                                                          false,
		strings.Replace(race, "    context deadline exceeded\n", "    fuzzing process hung or died\n", 1):  false,
		strings.Replace(race, "exceeded\n", "exceeded\n    m_test.go:12: more than two bytes\n", 1):        false,
		strings.Replace(race, "--- FAIL: FuzzDecodeBMC", "--- PASS: FuzzOther (1s)\n--- FAIL: FuzzOne", 1): true,
	} {
		if got := timeWasUp([]byte(said)); got != want {
			t.Errorf("%t, want %t: %s", got, want, said)
		}
	}
}

// TestNothingTried: a target that tried no input is a failure.
func TestNothingTried(t *testing.T) {
	for said, want := range map[string]bool{
		"": false,
		"fuzz: elapsed: 8s, gathering baseline coverage: 3/24 completed\nPASS\n":       false,
		"fuzz: elapsed: 8s, execs: 0 (0/sec), new interesting: 0 (total: 24)\nPASS\n":  false,
		"fuzz: elapsed: 8s, execs: 24 (8/sec), new interesting: 0 (total: 24)\nPASS\n": false,
		"fuzz: elapsed: 8s, execs: 26 (8/sec), new interesting: 1 (total: 25)\nPASS\n": true,
	} {
		var out strings.Builder
		r := runner{out: &out}
		if got := r.tell(outcome{target: target{pkg: "m", name: "FuzzX"}, said: []byte(said)}); got != want {
			t.Errorf("%t, want %t: %s", got, want, &out)
		}
	}
}

// TestBatches: what is made of the heavy package leaves it as it is; programs of one
// name lie in different folders.
func TestBatches(t *testing.T) {
	got := batches([]target{{pkg: "m/fsm"}, {pkg: "m/a/x"}, {pkg: "m/b/x"}, {pkg: "m/b/x", name: "Other"}, {pkg: "m/peer", deps: []string{"m/a/x", "m/fsm"}}})
	all, one := []string{"-gcflags=./...=-d=libfuzzer"}, []string{"-gcflags=m/peer=-d=libfuzzer"}
	want := []batch{{all, []string{"m/a/x", "m/fsm"}}, {all, []string{"m/b/x"}}, {one, []string{"m/peer"}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
