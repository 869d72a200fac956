package builtin_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const helloFolder = "../../docs/examples/hello"

// TestHello: the package of docs/system-services.md does what is said of it there.
func TestHello(t *testing.T) {
	w := newWorld(t, folder(t, helloFolder, nil))
	type greeting struct {
		Text  string
		Times int
	}
	for n := range 2 {
		got := answers[greeting](w, anna, "hello", "greet", `{"name": "World"}`)
		if got.Text != "Hello, World!" || got.Times != n+1 {
			t.Errorf("got %+v", got)
		}
	}
	if said := w.tick("hello-tick"); said != "run 1: Hello, World! (3 times)" {
		t.Errorf("the spell said %q", said)
	}
	same(t, "greeted", answers[[]string](w, watcher, "hello", "greeted", "{}"), []string{"World"})
	w.refuses(watcher, "hello", "greet", "{}", "is for operators")
	w.refuses(anna, "hello", "greet", `{"name": 5}`, "name is to be a text")
}

func TestHelloSettings(t *testing.T) {
	p := folder(t, helloFolder, map[string]any{"greeting": "Moin", "period_sec": int64(5)})
	spell, _ := p.Spell("hello-tick")
	if got := spell.Trigger.Clock.PeriodSec; got != 5 {
		t.Errorf("it ticks every %d s, want 5", got)
	}
	w := newWorld(t, p)
	if got := answers[struct{ Text string }](w, anna, "hello", "greet", "{}"); got.Text != "Moin, World!" {
		t.Errorf("got %+v", got)
	}
}

// TestHelloIsInTheDocs: what the docs have a newcomer type is what is tested here.
func TestHelloIsInTheDocs(t *testing.T) {
	docs, err := os.ReadFile("../../docs/system-services.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(helloFolder + "/*")
	if err != nil || len(files) == 0 {
		t.Fatalf("found %v: %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(docs), "\n```"+map[string]string{".toml": "toml", ".star": "python"}[filepath.Ext(file)]+"\n"+string(text)+"```\n") {
			t.Errorf("%s is not in docs/system-services.md as it is", file)
		}
	}
}
