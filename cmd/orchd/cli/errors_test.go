package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/orchd/orchd/api"
)

func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want int
	}{
		{"nothing", nil, 0},
		{"anything", errors.New("x"), 1},
		{"internal", &api.Error{Kind: api.Internal}, 1},
		{"too many", &api.Error{Kind: api.TooMany}, 1},
		{"usage", usagef("x"), 2},
		{"invalid", &api.Error{Kind: api.Invalid}, 2},
		{"malformed", &api.Error{Kind: api.Malformed}, 2},
		{"too large", &api.Error{Kind: api.TooLarge}, 2},
		{"not found", &api.Error{Kind: api.NotFound}, 3},
		{"gone", &api.Error{Kind: api.Gone}, 3},
		{"conflict", &api.Error{Kind: api.Conflict}, 4},
		{"precondition", &api.Error{Kind: api.Precondition}, 4},
		{"mismatch", &api.Error{Kind: api.Mismatch}, 4},
		{"unauthenticated", &api.Error{Kind: api.Unauthenticated}, 5},
		{"forbidden", &api.Error{Kind: api.Forbidden}, 5},
		{"unavailable", &api.Error{Kind: api.Unavailable}, 6},
		{"timed out", context.DeadlineExceeded, 6},
		{"no capacity", &api.Error{Kind: api.NoCapacity}, 7},
		{"interrupted", context.Canceled, 130},
		{"wrapped", fmt.Errorf("create: %w", &api.Error{Kind: api.Conflict}), 4},
	} {
		if got := exitCode(c.err); got != c.want {
			t.Errorf("%s: got %d, want %d", c.name, got, c.want)
		}
	}
	for k := api.Internal; k.Code() != api.Internal.Code() || k == api.Internal; k++ {
		if _, ok := exitOf[k]; !ok {
			t.Errorf("kind %s has no exit code", k.Code())
		}
	}
}

// TestErrorsSayWhatToDo looks at all that is printed for a failure.
func TestErrorsSayWhatToDo(t *testing.T) {
	for _, c := range []struct {
		name string
		err  *api.Error
		want string
		code int
	}{
		{"no room", &api.Error{Kind: api.NoCapacity, Msg: "no host fits", Hosts: []api.HostPart{
			{Peer: "h1", Status: api.NotApplicable, Reason: "memory: 4096 MiB wanted, 100 free"},
			{Peer: "h2", Status: api.NoResponseFromHost, Reason: "silent for 20s"}}},
			"orchd vm create: no host fits\n  h1: not applicable: memory: 4096 MiB wanted, 100 free\n  h2: no response from host: silent for 20s\n", 7},
		{"wrong fields", &api.Error{Kind: api.Invalid, Msg: "the request is invalid", Fields: []api.FieldError{
			{Pointer: "/name", Detail: "expected a name"}, {Pointer: "/spec/vcpus", Detail: "expected at most 1024"}}},
			"orchd vm create: name: expected a name\n  --cpu: expected at most 1024\n", 2},
		{"many wrong fields", &api.Error{Kind: api.Invalid, Msg: "the request is invalid", Fields: []api.FieldError{
			{Pointer: "/a", Detail: "x"}, {Pointer: "/b", Detail: "x"}, {Pointer: "/c", Detail: "x"}}},
			"orchd vm create: a: x\n  and 2 more fields are wrong\n", 2},
		{"no credential", &api.Error{Kind: api.Unauthenticated, Msg: "who are you?"},
			"orchd vm create: who are you?\ngive a token with --token-file or ORCHD_TOKEN, or run this as root on a peer\n", 5},
		{"taken", &api.Error{Kind: api.Conflict, Msg: "name is taken"}, "orchd vm create: name is taken\n", 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newFake(t).answer("POST /v1/vms", c.err).run("vm", "create", "a")
			if r.stderr != c.want || r.code != c.code || r.stdout != "" {
				t.Errorf("exit %d, stdout %q, stderr:\n%swant %d:\n%s", r.code, r.stdout, r.stderr, c.code, c.want)
			}
		})
	}
}

func TestVerboseNamesTheRequest(t *testing.T) {
	r := newFake(t).answer("GET /v1/vms", &api.Error{Kind: api.Internal, Msg: "internal error"}).run("vm", "list", "-v")
	if !strings.Contains(r.stderr, "request r1, answered by h1") {
		t.Errorf("got %q", r.stderr)
	}
}

func TestWrongUsage(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"lsit", `unknown command "lsit"`},
		{"vm lsit", "did you mean list?"},
		{"vm list --peeer h1", "did you mean --peer?"},
		{"vm list extra", "want: orchd vm list"},
		{"vm show", "want: orchd vm show NAME"},
		{"vm create a --memory 4GB", `has the unit "GB"`},
		{"vm create a --memory 1KiB", "not a whole number of MiB"},
		{"vm create a --disk 100MiB", "not a whole number of GiB"},
		{"vm create a --cpu two", `invalid argument "two"`},
		{"vm create a --label x", `want KEY=VALUE, got "x"`},
		{"vm create a --wait --no-wait", "[no-wait wait] were all set"},
		{"vm wait a --for runing", "did you mean running?"},
		{"vm label a x", `"x" is neither KEY=VALUE nor KEY-`},
		{"token create", `required flag(s) "role" not set`},
		{"image create a", "at least one of the flags"},
		{"image create a --path /x --kernel /y", "[kernel path] were all set"},
		{"api GET vms", "PATH begins with /"},
		{"api POST /v1/vms -d {", "the body is no JSON"},
		{"completion tcsh", `unknown shell "tcsh"`},
		{"dev --driver libvrit", "did you mean libvirt?"},
		{"dev --peers 0", "want 1 to 9"},
		{"dev --base-port 65530", "want a port"},
		{"vm list --addr ftp://h1:80", "is no address of a peer"},
		{"join h1", "no token"},
		{"version -o csv", "use table, json or yaml"},
		{"init --driver libvrt", "did you mean libvirt?"},
	} {
		r := run(t.Context(), App{Environ: []string{"ORCHD_NAME=h1", "ORCHD_ADVERTISE=10.0.0.1"}}, strings.Fields(c.line)...)
		if r.code != exitUsage || !strings.Contains(r.stderr, c.want) || r.stdout != "" {
			t.Errorf("orchd %s: exit %d, stdout %q, stderr %q; want 2 and %q", c.line, r.code, r.stdout, r.stderr, c.want)
		}
		if lines := strings.Count(r.stderr, "\n"); lines > 3 {
			t.Errorf("orchd %s: %d lines of error, want at most 3:\n%s", c.line, lines, r.stderr)
		}
	}
}
