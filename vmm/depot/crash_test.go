package depot

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/google/uuid"

	"github.com/orchd/orchd/api"
)

// TestCrash kills a process with SIGKILL at each step of each way in. What is left is
// nothing, or the whole checked file; and afterwards the same can be done again.
func TestCrash(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "plain.raw")
	write(t, plain, content(700<<10))
	b := made(t, "convert", "-f", "raw", "-O", "qcow2", plain)
	for _, way := range []string{"receive", "fetch", "import", "adopt"} {
		for _, step := range []string{"0", "1", "65536", strconv.Itoa(len(b) / 2), strconv.Itoa(len(b) - 1), "end", "inspect", "done"} {
			reads := way == "receive" || way == "fetch" // only there can the test stop in the middle
			if !reads && step != "inspect" && step != "done" {
				continue
			}
			t.Run(way+" at "+step, func(t *testing.T) { crash(t, way, step, b) })
		}
	}
}

func crash(t *testing.T, way, step string, b []byte) {
	w := Wanted{ID: uuid.NewString(), Format: Qcow2, SHA256: sumOf(b), Bytes: int64(len(b))}
	dir := filepath.Join(t.TempDir(), "images")
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, b)
	tool := "/nonexistent/qemu-img"
	if step == "inspect" {
		tool = script(t, `: >"$0.began.$$"; exec sleep 1000`)
		if err := os.Chmod(filepath.Dir(tool), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	child := exec.Command(os.Args[0], "-test.run=^TestCrashing$", "-test.timeout=1m")
	child.Env = append(os.Environ(), "DEPOT_CRASH="+way, "DEPOT_STEP="+step, "DEPOT_DIR="+dir, "DEPOT_ID="+w.ID, "DEPOT_FILE="+file, "DEPOT_TOOL="+tool)
	said, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if step == "inspect" {
		pid := began(t, tool)
		defer wantGone(t, pid) // it dies with the process that asked it
	} else if line, err := bufio.NewReader(said).ReadString('\n'); err != nil || line != "here\n" {
		t.Fatalf("the child said %q, %v", line, err)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	child.Wait()

	looked := step == "done"
	if _, err := os.Stat(filepath.Join(dir, w.ID)); (err == nil) != looked {
		t.Errorf("killed at %s: the file under its own name: %v", step, err)
	}
	d := openDepot(t, Config{Dir: dir})
	if looked {
		got, err := d.Check(t.Context(), w)
		wantStored(t, d, w, got, err, b)
		return
	}
	if way != "fetch" {
		wantFiles(t, d)
	}
	src := &cutting{b: b, each: 1 << 40}
	got, err := d.FetchFrom(t.Context(), w, src.open, nil)
	wantStored(t, d, w, got, err, b)
	if n, err := strconv.ParseInt(step, 10, 64); err == nil && way == "fetch" && !slices.Equal(src.offsets, []int64{n}) {
		t.Errorf("killed at byte %d, asked from %v on", n, src.offsets)
	}
}

// stopping reads b and stands still for ever at a place.
type stopping struct {
	b    []byte
	stop string
	at   int
}

func (s *stopping) Read(p []byte) (int, error) {
	end := len(s.b)
	if n, err := strconv.Atoi(s.stop); err == nil {
		if s.at >= n {
			here()
		}
		end = n
	}
	if s.at == len(s.b) {
		if s.stop == "end" {
			here()
		}
		return 0, io.EOF
	}
	n := copy(p, s.b[s.at:end])
	s.at += n
	return n, nil
}

func (*stopping) Close() error { return nil }

// here tells the test that the place is reached, and waits to be killed.
func here() {
	fmt.Println("here")
	select {}
}

// TestCrashing is the process that is killed.
func TestCrashing(t *testing.T) {
	way, step, id := os.Getenv("DEPOT_CRASH"), os.Getenv("DEPOT_STEP"), os.Getenv("DEPOT_ID")
	if way == "" {
		return // the other process of TestCrash, which is started by it
	}
	b := read(t, os.Getenv("DEPOT_FILE"))
	d, err := Open(Config{Dir: os.Getenv("DEPOT_DIR"), QemuImg: os.Getenv("DEPOT_TOOL")}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	w := Wanted{ID: id, Format: Qcow2, SHA256: sumOf(b), Bytes: int64(len(b))}
	ways := map[string]func() (api.ImageContent, error){
		"receive": func() (api.ImageContent, error) {
			return d.Receive(t.Context(), w, &stopping{b: b, stop: step}, 1<<40, nil)
		},
		"fetch": func() (api.ImageContent, error) {
			return d.FetchFrom(t.Context(), w, func(context.Context, int64) (io.ReadCloser, error) {
				return &stopping{b: b, stop: step}, nil
			}, nil)
		},
		"import": func() (api.ImageContent, error) { return d.Import(t.Context(), w, os.Getenv("DEPOT_FILE"), nil) },
		"adopt": func() (api.ImageContent, error) {
			path, err := d.Temp(id)
			if err != nil {
				return api.ImageContent{}, err
			}
			write(t, path, b)
			return d.Adopt(t.Context(), w, nil)
		},
	}
	got, err := ways[way]()
	if err != nil || !bytes.Equal(read(t, d.path(whole, id)), b) {
		t.Fatalf("got %+v, %v", got, err)
	}
	here()
}
