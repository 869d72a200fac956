package main

import (
	"strings"
	"testing"
)

func TestSummary(t *testing.T) {
	const pass = `{"Action":"start","Package":"p"}
{"Action":"output","Package":"p","Test":"TestA","Output":"chatter\n"}
{"Action":"pass","Package":"p","Test":"TestA","Elapsed":0.1}
`
	const end = `{"Action":"pass","Package":"p","Elapsed":0.2}` + "\n"
	for name, c := range map[string]struct {
		in       string
		want     []string // in what is printed
		unwanted string
		verdict  string
		ci       string // verdict in CI, where it is another
	}{
		"passed": {in: pass + end, want: []string{"pass     0.2s  p", "1 passed, 0 failed, 0 skipped"}, unwanted: "chatter"},
		"failed": {
			in: pass + `{"Action":"output","Package":"p","Test":"TestB","Output":"got 1, want 2\n"}
{"Action":"fail","Package":"p","Test":"TestB"}
{"Action":"fail","Package":"p"}`,
			want: []string{"got 1, want 2", "1 passed, 1 failed, 0 skipped"}, verdict: "tests failed",
		},
		"with a result": {
			in:   pass + `{"Action":"output","Package":"p","Test":"TestB","Output":"result: 24 hours\n"}` + "\n" + `{"Action":"pass","Package":"p","Test":"TestB"}` + "\n" + end,
			want: []string{"result: 24 hours\n", "2 passed"}, unwanted: "chatter",
		},
		"skipped": {
			in: pass + `{"Action":"output","Package":"p","Test":"TestB","Output":"=== RUN   TestB\n"}
{"Action":"output","Package":"p","Test":"TestB","Output":"    b_test.go:3: needs root\n"}
{"Action":"skip","Package":"p","Test":"TestB"}
` + end,
			want: []string{"skip  p TestB: b_test.go:3: needs root", "1 passed, 0 failed, 1 skipped"},
			ci:   "tests were skipped, which CI does not allow",
		},
		"failed behind chatter": {
			in: pass + `{"Action":"output","Package":"p","Test":"TestB","Output":"=== RUN   TestB\n"}
{"Action":"output","Package":"p","Test":"TestB","Output":"{\"time\": \"a log\"}\n    b_test.go:67: got 404, want 409\n"}
{"Action":"output","Package":"p","Test":"TestB","Output":"    lab.go:188: === h1: the end of a log\n"}
{"Action":"fail","Package":"p","Test":"TestB","Elapsed":9}
{"Action":"fail","Package":"p"}`,
			want: []string{"slow     9.0s  p TestB\nfail  p TestB: b_test.go:67: got 404, want 409\n1 passed, 1 failed"}, verdict: "tests failed",
		},
		"does not build": {
			in: pass + end + `{"ImportPath":"q","Action":"build-output","Output":"q.go:1: no\n"}
{"Action":"start","Package":"q"}
{"Action":"fail","Package":"q","FailedBuild":"q"}`,
			want: []string{"q.go:1: no", "1 passed, 1 failed"}, verdict: "tests failed",
		},
		"panicked": {
			in: pass + `{"Action":"output","Package":"p","Test":"TestB","Output":"panic: test timed out\n"}
{"Action":"fail","Package":"p"}`,
			want: []string{"panic: test timed out", "1 failed"}, verdict: "tests failed",
		},
		"raced beside a test": {
			in: pass + `{"Action":"output","Package":"p","Test":"TestB","Output":"WARNING: DATA RACE\nRead at 0x00c0\n"}
{"Action":"pass","Package":"p","Test":"TestB"}
{"Action":"output","Package":"p","Output":"testing: race detected outside of test execution\n"}
{"Action":"fail","Package":"p"}`,
			want: []string{"Read at 0x00c0", "outside of test", "fail  p, while TestB ran, which passed: WARNING: DATA RACE\n2 passed, 1 failed"}, verdict: "tests failed",
		},
		"cut short":   {in: pass, want: []string{"1 passed"}, verdict: "cut short in p"},
		"nothing ran": {in: "go: no such flag\n", want: []string{"go: no such flag"}, verdict: "no test ran"},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			s := newSummary(&out)
			if err := s.read(strings.NewReader(c.in)); err != nil {
				t.Fatal(err)
			}
			s.finish()
			for _, want := range c.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("got %q, want %q in it", out.String(), want)
				}
			}
			if c.unwanted != "" && strings.Contains(out.String(), c.unwanted) {
				t.Errorf("got %q, which has %q", out.String(), c.unwanted)
			}
			if got := s.verdict(false); got != c.verdict {
				t.Errorf("verdict: got %q, want %q", got, c.verdict)
			}
			if c.ci == "" {
				c.ci = c.verdict
			}
			if got := s.verdict(true); got != c.ci {
				t.Errorf("verdict in CI: got %q, want %q", got, c.ci)
			}
		})
	}
}
