package planted

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// program uses the package as the product does.
const program = `package main

import (
	"os"

	"github.com/orchd/orchd/api/planted"
)

func main() {
	if planted.Is(planted.TokenTwice) {
		println("a bug is in force")
	}
	os.Exit(len(os.Args) - 1)
}
`

// A program that is built without the tag knows nothing of bugs; with it, it does,
// which shows that the test would notice.
func TestNothingIsLeftWithoutTheTag(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(dir, []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tag := range []string{"", "planted"} {
		out := filepath.Join(t.TempDir(), "program")
		build := exec.Command("go", "build", "-tags", tag, "-o", out, dir)
		if said, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, said)
		}
		text, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{Variable, string(TokenTwice), "a bug is in force"} {
			if found, want := bytes.Contains(text, []byte(word)), tag != ""; found != want {
				t.Errorf("built with the tags %q: %q is in it: %v, want %v", tag, word, found, want)
			}
		}
		if tag == "" {
			continue
		}
		wrong := exec.Command(out)
		wrong.Env = append(os.Environ(), Variable+"=NoSuchBug")
		if said, err := wrong.CombinedOutput(); err == nil || !bytes.Contains(said, []byte(`no bug is called "NoSuchBug"`)) {
			t.Errorf("%s=NoSuchBug: got %v, %s; want a panic that says so", Variable, err, said)
		}
	}
}
