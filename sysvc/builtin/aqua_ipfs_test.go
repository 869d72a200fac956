package builtin_test

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/orchd/orchd/api"
)

// node speaks as much of the HTTP API of an IPFS node (Kubo) as the package uses.
type node struct {
	*httptest.Server
	mu    sync.Mutex
	files map[string][]byte
	peers []string
}

func newNode(t testing.TB) *node {
	n := &node{files: map[string][]byte{}}
	routes := http.NewServeMux()
	routes.HandleFunc("POST /api/v0/id", n.id)
	routes.HandleFunc("POST /api/v0/cat", n.cat)
	routes.HandleFunc("POST /api/v0/add", n.add)
	routes.HandleFunc("POST /api/v0/swarm/connect", n.connect)
	n.Server = httptest.NewServer(routes) // other methods: 405, as the real one
	t.Cleanup(n.Close)
	return n
}

// fault answers as the real one does when it cannot.
func fault(w http.ResponseWriter, text string) {
	w.WriteHeader(http.StatusInternalServerError)
	json.NewEncoder(w).Encode(map[string]any{"Message": text, "Code": 0, "Type": "error"})
}

func (n *node) id(w http.ResponseWriter, _ *http.Request) {
	json.NewEncoder(w).Encode(map[string]any{"ID": "12D3KooWme", "Addresses": []string{"/ip4/10.0.0.9/tcp/4001/p2p/12D3KooWme"}, "AgentVersion": "kubo/0.39.0"})
}

func (n *node) cat(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	defer n.mu.Unlock()
	content, there := n.files[r.FormValue("arg")]
	if !there {
		fault(w, "block was not found locally (offline): ipld: could not find "+r.FormValue("arg"))
		return
	}
	w.Write(content)
}

func (n *node) add(w http.ResponseWriter, r *http.Request) {
	parts, err := r.MultipartReader()
	if err != nil {
		fault(w, err.Error())
		return
	}
	part, err := parts.NextPart()
	if err != nil {
		fault(w, err.Error())
		return
	}
	content, _ := io.ReadAll(part)
	json.NewEncoder(w).Encode(map[string]any{"Name": part.FileName(), "Hash": n.keep(content), "Size": fmt.Sprint(len(content))})
}

// keep keeps a file under its CID (version 1, raw).
func (n *node) keep(content []byte) string {
	sum := sha256.Sum256(content)
	cid := "b" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(append([]byte{1, 0x55, 0x12, 0x20}, sum[:]...)))
	n.mu.Lock()
	defer n.mu.Unlock()
	n.files[cid] = content
	return cid
}

func (n *node) connect(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.peers = append(n.peers, r.FormValue("arg"))
	json.NewEncoder(w).Encode(map[string]any{"Strings": []string{"connect 12D3 success"}})
}

// plainly sends requests as they are: who may be asked has been looked at by then.
func plainly(_ context.Context, _ []string, r *http.Request) (*http.Response, error) {
	return http.DefaultTransport.RoundTrip(r)
}

// withNode is a world with the package and a node.
func withNode(t testing.TB) (*world, *node) {
	n := newNode(t)
	_, port, err := net.SplitHostPort(n.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, folder(t, "aqua-ipfs", map[string]any{"local_api_multiaddr": "/ip4/127.0.0.1/tcp/" + port}))
	w.http = plainly
	return w, n
}

func TestIPFSTexts(t *testing.T) {
	w, n := withNode(t)
	for _, text := range []string{"hello", "", "two\r\nlines\r\n--orchd", "ü" + strings.Repeat("x", 100_000)} {
		put := answers[struct {
			CID   string
			Bytes int
		}](w, anna, "aqua-ipfs", "put", with("text", text))
		if want := n.keep([]byte(text)); put.CID != want || put.Bytes != len(text) {
			t.Errorf("put of %d bytes: got %+v, want %s", len(text), put, want)
		}
		for _, cid := range []string{put.CID, "ipfs://" + put.CID} {
			if got := answers[struct{ Text string }](w, anna, "aqua-ipfs", "get", with("cid", cid)); got.Text != text {
				t.Errorf("get gives %d bytes, want %d", len(got.Text), len(text))
			}
		}
	}
	raw := n.keep([]byte{0xff, 0, 1})
	if got := answers[struct{ Base64 string }](w, anna, "aqua-ipfs", "get", with("cid", raw)); got.Base64 != "/wAB" {
		t.Errorf("what is no text: got %+v", got)
	}
	large := n.keep(make([]byte, 2<<20))
	w.refuses(anna, "aqua-ipfs", "get", with("cid", large), "more than")
	w.refuses(anna, "aqua-ipfs", "get", with("cid", strings.Repeat("z", 59)), "the IPFS node answered 500: ")
}

func TestIPFSNode(t *testing.T) {
	w, n := withNode(t)
	id := answers[struct {
		ID        string
		Addresses []string
	}](w, watcher, "aqua-ipfs", "id", "{}")
	if id.ID != "12D3KooWme" || len(id.Addresses) != 1 {
		t.Errorf("got %+v", id)
	}
	const other = "/ip4/10.0.0.1/tcp/4001/p2p/12D3KooWother"
	if _, err := w.call(anna, "aqua-ipfs", "connect", with("multiaddr", other)); err != nil {
		t.Fatal(err)
	}
	same(t, "the node's peers", n.peers, []string{other})
	for _, bad := range []string{"10.0.0.1", "/ip4/10.0.0.1/tcp/4001", other + "&arg=x", other + " "} {
		w.refuses(anna, "aqua-ipfs", "connect", with("multiaddr", bad), "is no address such as")
	}
	w.refuses(watcher, "aqua-ipfs", "connect", with("multiaddr", other), "is for operators")
}

func TestIPFSImages(t *testing.T) {
	w, n := withNode(t)
	cid := n.keep([]byte("an image"))
	at := answers[struct{ URL, Method string }](w, watcher, "aqua-ipfs", "image_url", with("cid", "ipfs://"+cid))
	r, err := http.NewRequestWithContext(t.Context(), at.Method, at.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if got, err := io.ReadAll(answer.Body); err != nil || string(got) != "an image" {
		t.Errorf("%s %s: got %q, %v", at.Method, at.URL, got, err)
	}
	for _, bad := range []string{"", "Qm", cid + "/../../id", cid + "&x=y", "http://" + cid} {
		w.refuses(watcher, "aqua-ipfs", "image_url", with("cid", bad), "a CID has")
	}
}

// TestIPFSWithoutNode: with nothing configured beyond the defaults, and no node in sight,
// the package deploys, and says what is missing when it is asked.
func TestIPFSWithoutNode(t *testing.T) {
	asked := 0
	refuse := func(context.Context, []string, *http.Request) (*http.Response, error) {
		asked++
		return nil, fmt.Errorf("connection refused")
	}
	w := newWorld(t)
	w.http = refuse
	w.install(folder(t, "aqua-ipfs", nil))
	if asked != 0 {
		t.Errorf("init asked the node %d times", asked)
	}
	got := answers[struct{ Local, External string }](w, watcher, "aqua-ipfs", "addresses", "{}")
	if got.Local != "/ip4/127.0.0.1/tcp/5001" || got.External != got.Local {
		t.Errorf("got %+v", got)
	}
	w.refuses(anna, "aqua-ipfs", "id", "{}", "connection refused")
	before := w.machine.Index()
	deployer := api.Actor{ID: "deployer", Role: api.RoleAdmin}
	if _, err := w.call(deployer, "aqua-ipfs", "init", `["/ip4/127.0.0.1/tcp/5001", "/ip4/127.0.0.1/tcp/5001"]`); err != nil || w.machine.Index() != before {
		t.Errorf("init again: %v, and the log went from %d to %d", err, before, w.machine.Index())
	}
	w.refuses(deployer, "aqua-ipfs", "init", `["127.0.0.1:5001", ""]`, "is no address such as")
	if _, err := w.call(deployer, "aqua-ipfs", "init", `["", ""]`); err != nil {
		t.Fatal(err)
	}
	w.refuses(anna, "aqua-ipfs", "id", "{}", "no IPFS node is configured")
}

func TestIPFSAddresses(t *testing.T) {
	const cid = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"
	for address, want := range map[string]string{
		"/ip4/10.0.0.1/tcp/5001":          "http://10.0.0.1:5001",
		"/ip6/2001:db8::1/tcp/5001":       "http://[2001:db8::1]:5001",
		"/dns4/ipfs.example/tcp/80/http":  "http://ipfs.example:80",
		"/dns/ipfs.example/tcp/443/https": "https://ipfs.example:443",
	} {
		w := newWorld(t, folder(t, "aqua-ipfs", map[string]any{"local_api_multiaddr": address}))
		at := answers[struct{ URL string }](w, watcher, "aqua-ipfs", "image_url", with("cid", cid))
		if at.URL != want+"/api/v0/cat?arg="+cid {
			t.Errorf("%s: got %s, want %s/...", address, at.URL, want)
		}
	}
}
