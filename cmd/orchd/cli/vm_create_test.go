package cli

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/orchd/orchd/api"
)

// textFile writes a file and gives its path.
func textFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCreateSends(t *testing.T) {
	seed := textFile(t, "ud.yaml", "#cloud-config\nhostname: a\n")
	for _, c := range []struct{ line, want string }{
		{"--size f1-s", `{"size":"f1-s"}`},
		{"--size f1-s --disk 40GiB --image d", `{"size":"f1-s","disk_gib":40,"image":"d"}`},
		{"", `{"vcpus":1,"memory_mib":512}`},
		{"--network lan --ssh-key anna --ssh-key bob", `{"vcpus":1,"memory_mib":512,"network":"lan","ssh_keys":["anna","bob"]}`},
		{"--cloud-init @" + seed, `{"vcpus":1,"memory_mib":512,"user_data":"#cloud-config\nhostname: a\n"}`},
		{"--restart never", `{"vcpus":1,"memory_mib":512,"restart":"never"}`},
		{"--peer h1 --require-label disk=ssd --require-label rack=r1", `{"vcpus":1,"memory_mib":512,"placement":{"peer":"h1","labels":{"disk":"ssd","rack":"r1"}}}`},
		{"--group web --spread peer", `{"vcpus":1,"memory_mib":512,"placement":{"group":"web","spread":"peer"}}`},
		{"--group web --spread label:rack --with db --apart-from batch", `{"vcpus":1,"memory_mib":512,"placement":{"group":"web","spread":"label","spread_label":"rack","with":"db","apart_from":"batch"}}`},
	} {
		f := newFake(t).answer("POST /v1/vms", aVM())
		r := f.run(split("vm create a --no-wait " + c.line)...)
		if want := `POST /v1/vms {"name":"a","spec":` + c.want + `}`; r.code != 0 || len(f.asked) != 1 || f.asked[0] != want {
			t.Errorf("orchd vm create a %s: exit %d %s\nasked %v\nwant  %s", c.line, r.code, r.stderr, f.asked, want)
		}
	}
	f := newFake(t).answer("POST /v1/vms", aVM())
	if r := f.run("vm", "create", "a", "--protect", "--no-wait"); r.code != 0 || !strings.Contains(f.asked[0], `"protected":true`) {
		t.Errorf("--protect: exit %d, asked %v", r.code, f.asked)
	}
}

func TestUserDataFromStdin(t *testing.T) {
	for _, from := range []string{"-", "@-"} {
		f := newFake(t).answer("POST /v1/vms", aVM())
		a := App{Stdin: strings.NewReader("#!/bin/sh\n"), Environ: []string{"ORCHD_ADDR=unix://" + f.socket}}
		if r := run(t.Context(), a, "vm", "create", "a", "--no-wait", "--cloud-init", from); r.code != 0 || !strings.Contains(f.asked[0], `"user_data":"#!/bin/sh\n"`) {
			t.Errorf("%s: exit %d %s, asked %v", from, r.code, r.stderr, f.asked)
		}
	}
}

func TestUserDataThatCannotBe(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"\x1f\x8b\x08\x00", "is no text; what is packed cannot be taken"},
		{strings.Repeat("x", maxUserData+1), "has 257KiB; at most 256KiB are taken"},
	} {
		f := newFake(t)
		r := f.run("vm", "create", "a", "--cloud-init", "@"+textFile(t, "ud", c.text))
		if r.code != exitUsage || !strings.Contains(r.stderr, c.want) || len(f.asked) > 0 {
			t.Errorf("exit %d, %q, asked %v; want %q", r.code, r.stderr, f.asked, c.want)
		}
	}
}

const (
	annasKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBu8J9Wl9bC4l8YhSg0sV4h1n7b9c1z0Qm3y1mXyq2aK"
	bobsKey  = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDu8J9Wl9bC4l8YhSg0sV4h1n7b9c1z0Qm3y1mXyq2aL"
)

// TestKeysFromFiles: a file is uploaded unless the account has its key, under whatever name.
func TestKeysFromFiles(t *testing.T) {
	accounts := page(api.Account{Name: "default"}, api.Account{Name: "co-op"})
	for _, c := range []struct {
		name, file string
		has        []api.SSHKey
		taken      string // a name that another key has
		posts      []string
		keys       string
	}{
		{"new", annasKey + " Anna@Laptop.example", nil, "", []string{"anna-laptop-example"}, `["anna-laptop-example"]`},
		{"without a comment", annasKey, nil, "", []string{"id-ed25519"}, `["id-ed25519"]`},
		{"there already", annasKey + " x", []api.SSHKey{{Name: "annas", PublicKey: annasKey}}, "", nil, `["annas"]`},
		{"name taken", annasKey + " anna", nil, "anna", []string{"anna", "anna-"}, `["anna-`},
		{"two, and a comment", "# people\n" + annasKey + " anna\n\n" + bobsKey + " bob\n", nil, "", []string{"anna", "bob"}, `["anna","bob"]`},
		{"the same twice", annasKey + " anna\n" + annasKey + " again\n", nil, "", []string{"anna"}, `["anna"]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t).answer("GET /v1/accounts", accounts).answer("GET /v1/ssh-keys", page(c.has...)).answer("POST /v1/vms", aVM())
			var posted []string
			f.mux.HandleFunc("POST /v1/ssh-keys", func(w http.ResponseWriter, _ *http.Request) {
				var k api.SSHKeyCreate
				_, body, _ := strings.Cut(f.asked[len(f.asked)-1], "/ssh-keys ")
				if err := json.Unmarshal([]byte(body), &k); err != nil || k.Account != "default" {
					t.Errorf("posted %s (%v)", body, err)
				}
				posted = append(posted, k.Name)
				if k.Name == c.taken {
					w.WriteHeader(http.StatusConflict)
					json.NewEncoder(w).Encode(api.Problem{Code: api.Conflict.Code(), Detail: "the name is taken"})
					return
				}
				json.NewEncoder(w).Encode(api.SSHKey{Name: k.Name, PublicKey: k.PublicKey, Fingerprint: "SHA256:x"})
			})
			r := f.run("vm", "create", "a", "--no-wait", "--ssh-key", "@"+textFile(t, "id_ed25519.pub", c.file))
			same := slices.EqualFunc(posted, c.posts, func(got, want string) bool {
				return got == want || strings.HasSuffix(want, "-") && strings.HasPrefix(got, want)
			})
			if last := f.asked[len(f.asked)-1]; r.code != 0 || !same || !strings.Contains(last, `"ssh_keys":`+c.keys) {
				t.Errorf("exit %d %s, posted %v, want %v; asked %s", r.code, r.stderr, posted, c.posts, last)
			}
		})
	}
}

// TestWhoseKeys: the account of the keys is that of the virtual machine.
func TestWhoseKeys(t *testing.T) {
	for _, c := range []struct {
		flags    []string
		accounts api.Page[api.Account]
		want     string
	}{
		{nil, page(api.Account{Name: "default"}, api.Account{Name: "co-op"}), "default"},
		{nil, page(api.Account{Name: "co-op"}), "co-op"}, // a token that is bound to it
		{[]string{"--account", "team"}, page(api.Account{Name: "default"}), "team"},
	} {
		f := newFake(t).answer("GET /v1/accounts", c.accounts).answer("GET /v1/ssh-keys", page[api.SSHKey]()).
			answer("POST /v1/ssh-keys", api.SSHKey{Name: "anna"}).answer("POST /v1/vms", aVM())
		r := f.run(append([]string{"vm", "create", "a", "--no-wait", "--ssh-key", "@" + textFile(t, "k.pub", annasKey+" anna")}, c.flags...)...)
		all := strings.Join(f.asked, "\n")
		if r.code != 0 || !strings.Contains(all, "GET /v1/ssh-keys?account="+c.want+"&limit") || !strings.Contains(all, `POST /v1/ssh-keys {"name":"anna","account":"`+c.want+`"`) {
			t.Errorf("%v: exit %d %s, asked\n%s\nwant account %s", c.flags, r.code, r.stderr, all, c.want)
		}
	}
}

func TestFilesThatAreNoKeys(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n", "is a private key, which must not leave this machine\ngive the public one"},
		{"hello world\n", "line 1 is no public key in OpenSSH's form"},
		{"# nothing\n\n", "holds no public key"},
		{annasKey + " a\ncommand=\"x\" " + bobsKey + "\n", "line 2 has options before the key, which are not taken"},
	} {
		for _, line := range [][]string{{"vm", "create", "a", "--ssh-key"}, {"ssh-key", "create", "anna"}} {
			f := newFake(t)
			if r := f.run(append(line, "@"+textFile(t, "id_ed25519", c.text))...); r.code != exitUsage || !strings.Contains(r.stderr, c.want) || len(f.asked) > 0 {
				t.Errorf("%v: exit %d, %q, asked %v; want %q", line, r.code, r.stderr, f.asked, c.want)
			}
		}
	}
}

func TestSSHKeyCreate(t *testing.T) {
	home := t.TempDir()
	if err := os.MkdirAll(filepath.Join(home, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, ".ssh", "id.pub"), []byte(annasKey+" anna@laptop\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := newFake(t).answer("POST /v1/ssh-keys", api.SSHKey{Name: "anna", Fingerprint: "SHA256:x"})
	a := App{Environ: []string{"ORCHD_ADDR=unix://" + f.socket, "HOME=" + home}}
	r := run(t.Context(), a, "ssh-key", "create", "anna", "@~/.ssh/id.pub", "--account", "co-op")
	if want := `POST /v1/ssh-keys {"name":"anna","account":"co-op","public_key":"` + annasKey + ` anna@laptop"}`; r.code != 0 || f.asked[0] != want || !strings.Contains(r.stdout, "SHA256:x") {
		t.Errorf("exit %d %s, %q, asked %v, want %s", r.code, r.stderr, r.stdout, f.asked, want)
	}
	two := textFile(t, "two.pub", annasKey+" a\n"+bobsKey+" b\n")
	if r := f.run("ssh-key", "create", "anna", "@"+two); r.code != exitUsage || !strings.Contains(r.stderr, "holds 2 keys") {
		t.Errorf("two keys: exit %d, %q", r.code, r.stderr)
	}
}

func TestNamed(t *testing.T) {
	for text, want := range map[string]string{
		"anna@laptop": "anna-laptop", "Anna O'Neil": "anna-o-neil", "__x__": "x", "日本": "", "": "", strings.Repeat("a", 80): strings.Repeat("a", 48),
		"id_ed25519": "id-ed25519", "a..b": "a-b",
	} {
		if got := named(text); got != want || got != "" && !api.ValidName(got) {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
