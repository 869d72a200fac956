package cli

import (
	"strings"
	"testing"

	"github.com/orchd/orchd/api"
)

// TestLiveNames presses Tab.
func TestLiveNames(t *testing.T) {
	f := newFake(t).
		answer("GET /v1/vms", page(api.VM{Name: "web1"}, api.VM{Name: "web2"})).
		answer("GET /v1/peers", page(aPeer())).
		answer("GET /v1/images", page(api.Image{Name: "tiny"})).
		answer("GET /v1/tokens", page(api.Token{ID: "t1"})).
		answer("GET /v1/accounts", page(api.Account{Name: "default"})).
		answer("GET /v1/operations", page(anOperation(api.OpRunning))).
		answer("GET /v1/snapshots", page(api.Snapshot{ID: "000000000042"}))
	catalogue(f)
	for _, c := range []struct{ line, want string }{
		{"vm show ", "web1 web2"},
		{"vm delete web1 ", "web2"},
		{"vm show web1 ", ""},
		{"vm list --peer ", "h1"},
		{"vm list --state ru", "running"},
		{"vm create a --image ", "tiny"},
		{"vm create a --account ", "default"},
		{"vm wait web1 --for ", "running stopped paused crashed failed deleted"},
		{"peer cordon ", "h1"},
		{"token revoke ", "t1"},
		{"token create --role ", "viewer controller operator admin peer"},
		{"operation wait ", opID},
		{"snapshot show ", "000000000042"},
		{"completion ", "bash zsh fish powershell"},
		{"vm create a --size ", "f1-s a-old"},
		{"vm create a --network ", "lan nat"},
		{"vm create a --ssh-key ", "anna"},
		{"vm create a --restart ", "always on-failure never"},
		{"vm create a --spread ", "peer chassis cabinet label:"},
		{"vm create a --peer ", "h1"},
		{"vm stop web1 ", "web2"},
		{"vm rename web1 ", ""},
		{"vm ssh web1 ", ""},
		{"vm resize web1 --size ", "f1-s a-old"},
		{"vm snapshot restore ", "web1 web2"},
		{"vm snapshot restore web1 ", "later before"},
		{"vm snapshot restore web1 later ", ""},
		{"vm snapshot delete web1 later ", "before"},
		{"vm snapshot create web1 ", ""},
		{"vm adopt ", "--peer mail web1-0b9f2d1e x"},
		{"size deprecate ", "f1-s a-old"},
		{"ssh-key show ", "anna"},
		{"network delete lan ", "nat"},
		{"image download ", "--file -O tiny"},
		{"account suspend ", "default"},
		{"operation cancel ", opID},
		{"peer lost ", "h1"},
		{"raft transfer-leader ", ""}, // h1 leads already
		{"vm list -o ", "table wide json yaml name csv"},
		{"init --driver ", "auto libvirt sim none"},
	} {
		args := strings.Split(c.line, " ")
		r := f.run(append([]string{"__completeNoDesc"}, args...)...)
		var got []string
		for _, word := range strings.Fields(r.stdout) {
			if !strings.HasPrefix(word, ":") && strings.HasPrefix(word, args[len(args)-1]) {
				got = append(got, word)
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("orchd %s<Tab>: got %v, want %s\n%s", c.line, got, c.want, r.stderr)
		}
	}
}

func TestCompletionWithoutACluster(t *testing.T) {
	r := run(t.Context(), App{Environ: []string{"ORCHD_ADDR=127.0.0.1:1"}}, "__complete", "vm", "show", "")
	if r.code != 0 || strings.TrimSpace(r.stdout) != ":1" {
		t.Errorf("exit %d, %q", r.code, r.stdout)
	}
}

func TestCompletionScripts(t *testing.T) {
	for _, shell := range shells {
		if r := run(t.Context(), App{}, "completion", shell); r.code != 0 || !strings.Contains(r.stdout, "orchd") {
			t.Errorf("%s: exit %d, %d bytes, %s", shell, r.code, len(r.stdout), r.stderr)
		}
	}
}
