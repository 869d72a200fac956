package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/orchd/orchd/api"
)

// imagePeer is a fake that keeps the content of one image.
type imagePeer struct {
	*fake
	mu      sync.Mutex
	image   api.Image
	stored  []byte
	puts    int      // requests with content
	breaks  int      // so many of them break off half way
	deaf    bool     // the answer to the first that is stored is lost
	ranges  []string // that downloads asked for
	content []byte   // to download
	cut     int      // the first download breaks off after so many bytes; 0: it does not
}

func sumOf(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

func newImagePeer(t *testing.T, i api.Image) *imagePeer {
	p := &imagePeer{fake: newFake(t), image: i}
	p.mux.HandleFunc("POST /v1/images", func(w http.ResponseWriter, _ *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.image.ID != "" {
			w.WriteHeader(http.StatusConflict)
			json.NewEncoder(w).Encode(api.Problem{Code: api.Conflict.Code(), Detail: "the name is taken"})
			return
		}
		var want api.ImageCreate
		_, body, _ := strings.Cut(p.asked[len(p.asked)-1], "/images ")
		if err := json.Unmarshal([]byte(body), &want); err != nil {
			t.Error(err)
		}
		p.image = api.Image{ID: "i1", Name: want.Name, Kind: want.Kind, Source: want.Source, Format: want.Format, SHA256: want.SHA256, State: api.ImagePending, Operation: opID}
		json.NewEncoder(w).Encode(p.image)
	})
	show := func(w http.ResponseWriter, _ *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		json.NewEncoder(w).Encode(api.ImageView{Image: p.image, Peers: []string{"h1"}})
	}
	p.mux.HandleFunc("GET /v1/images/i1", show)
	p.mux.HandleFunc("GET /v1/images/d", show)
	p.raw = map[string]http.HandlerFunc{"PUT /v1/images/i1/content": p.put, "GET /v1/images/i1/content": p.get}
	return p
}

func (p *imagePeer) put(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.puts++
	if p.puts <= p.breaks {
		io.CopyN(io.Discard, r.Body, r.ContentLength/2)
		panic(http.ErrAbortHandler)
	}
	if p.image.State == api.ImageAvailable {
		w.WriteHeader(http.StatusConflict)
		json.NewEncoder(w).Encode(api.Problem{Code: api.Conflict.Code(), Detail: "the image has its content"})
		return
	}
	content, err := io.ReadAll(r.Body)
	if err != nil || r.ContentLength != int64(len(content)) {
		p.t.Errorf("%d bytes, announced %d (%v)", len(content), r.ContentLength, err)
	}
	p.stored, p.image.State, p.image.Bytes = content, api.ImageAvailable, int64(len(content))
	if p.deaf {
		panic(http.ErrAbortHandler)
	}
	json.NewEncoder(w).Encode(p.image)
}

func (p *imagePeer) get(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ranges = append(p.ranges, r.Header.Get("Range"))
	w.Header().Set("ETag", `"`+p.image.SHA256+`"`)
	from := 0
	if text, ranged := strings.CutPrefix(r.Header.Get("Range"), "bytes="); ranged && r.Header.Get("If-Range") == w.Header().Get("ETag") {
		from, _ = strconv.Atoi(strings.TrimSuffix(text, "-"))
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(p.content)-1, len(p.content)))
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(p.content)-from))
	if from > 0 {
		w.WriteHeader(http.StatusPartialContent)
	}
	if p.cut > 0 {
		w.Write(p.content[from:p.cut])
		http.NewResponseController(w).Flush()
		p.cut = 0
		panic(http.ErrAbortHandler)
	}
	w.Write(p.content[from:])
}

// aDisk is content that takes several pieces.
func aDisk() []byte { return []byte(strings.Repeat("0123456789abcdef", 40000)) }

func diskFile(t *testing.T, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "d.img")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestImageUpload(t *testing.T) {
	content := aDisk()
	p := newImagePeer(t, api.Image{})
	r := p.run("image", "create", "d", "--file", diskFile(t, content), "--format", "raw")
	want := `POST /v1/images {"name":"d","kind":"disk","source":"upload","format":"raw","sha256":"` + sumOf(content) + `"}`
	if r.code != 0 || p.asked[0] != want || string(p.stored) != string(content) || !strings.Contains(r.stdout, "available") {
		t.Errorf("exit %d %s, %q, stored %d bytes, asked %v, want %s", r.code, r.stderr, r.stdout, len(p.stored), p.asked, want)
	}
	if strings.Contains(r.stderr, "%") {
		t.Errorf("progress where nobody looks on: %q", r.stderr)
	}
}

// TestImageUploadThatBreaks is sent again, whole.
func TestImageUploadThatBreaks(t *testing.T) {
	content := aDisk()
	p := newImagePeer(t, api.Image{})
	p.breaks = 2
	r := p.run("image", "create", "d", "--file", diskFile(t, content))
	if r.code != 0 || p.puts != 3 || string(p.stored) != string(content) {
		t.Errorf("exit %d %s, %d requests, stored %d bytes", r.code, r.stderr, p.puts, len(p.stored))
	}
}

// TestImageUploadWhoseAnswerIsLost has arrived nevertheless.
func TestImageUploadWhoseAnswerIsLost(t *testing.T) {
	content := aDisk()
	p := newImagePeer(t, api.Image{})
	p.deaf = true
	if r := p.run("image", "create", "d", "--file", diskFile(t, content)); r.code != 0 || !strings.Contains(r.stdout, "available") {
		t.Errorf("exit %d %s, %q", r.code, r.stderr, r.stdout)
	}
}

// TestImageUploadGivenAgain goes on with the image that waits for the same content,
// and never with another one.
func TestImageUploadGivenAgain(t *testing.T) {
	content := aDisk()
	waiting := api.Image{ID: "i1", Name: "d", Kind: api.ImageDisk, Source: api.SourceUpload, State: api.ImagePending, SHA256: sumOf(content)}
	there, other, failed := waiting, waiting, waiting
	there.State, other.SHA256, failed.State = api.ImageAvailable, sumOf([]byte("other")), api.ImageFailed
	for _, c := range []struct {
		name  string
		image api.Image
		code  int
		puts  int
	}{
		{"waiting", waiting, 0, 1},
		{"there", there, 0, 0},
		{"another one", other, exitConflict, 0},
		{"failed", failed, exitConflict, 0},
	} {
		p := newImagePeer(t, c.image)
		if r := p.run("image", "create", "d", "--file", diskFile(t, content)); r.code != c.code || p.puts != c.puts {
			t.Errorf("%s: exit %d %s, %d uploads; want %d, %d", c.name, r.code, r.stderr, p.puts, c.code, c.puts)
		}
	}
}

func TestImageUploadShowsHowFarItIs(t *testing.T) {
	p := newImagePeer(t, api.Image{})
	r := p.screen("", "image", "create", "d", "--file", diskFile(t, aDisk()))
	if r.code != 0 || !strings.Contains(r.stderr, "\r\x1b[Kchecking: ") || !strings.Contains(r.stderr, "\r\x1b[Kd: 625KiB of 625KiB, 100% [========================]") {
		t.Errorf("exit %d, saw %q", r.code, r.stderr)
	}
}

func TestFilesThatAreNoImages(t *testing.T) {
	for _, c := range []struct {
		path, want string
		flags      []string
	}{
		{diskFile(t, []byte("QFI\xfb....")), "looks like qcow2, which is never guessed: add --format qcow2", nil},
		{diskFile(t, nil), "is empty", nil},
		{t.TempDir(), "is no plain file", nil},
	} {
		f := newFake(t)
		if r := f.run(append([]string{"image", "create", "d", "--file", c.path}, c.flags...)...); r.code != exitUsage || !strings.Contains(r.stderr, c.want) || len(f.asked) > 0 {
			t.Errorf("exit %d, %q, asked %v; want %q", r.code, r.stderr, f.asked, c.want)
		}
	}
	p := newImagePeer(t, api.Image{})
	if r := p.run("image", "create", "d", "--file", diskFile(t, []byte("QFI\xfb....")), "--format", "qcow2"); r.code != 0 {
		t.Errorf("with its format: exit %d, %s", r.code, r.stderr)
	}
}

// TestImageThatIsFetched is waited for.
func TestImageThatIsFetched(t *testing.T) {
	fetch := anOperation(api.OpSucceeded)
	fetch.Kind, fetch.Target.Name = "fetch", "d"
	made := api.Image{ID: "i1", Name: "d", State: api.ImagePending, Operation: opID}
	there := made
	there.State = api.ImageAvailable
	f := newFake(t).answer("POST /v1/images", made).answer("GET /v1/operations/"+opID, fetch).answer("GET /v1/images/i1", there)
	if r := f.run("image", "create", "d", "--url", "https://x.org/d", "--sha256", "ab"); r.code != 0 || !strings.Contains(r.stdout, "available") {
		t.Errorf("exit %d, %q, %s", r.code, r.stdout, r.stderr)
	}
	failed := fetch
	failed.State, failed.Error = api.OpFailed, "the sum is another one"
	f = newFake(t).answer("POST /v1/images", made).answer("GET /v1/operations/"+opID, failed)
	if r := f.run("image", "create", "d", "--url", "https://x.org/d", "--sha256", "ab"); r.code != exitFailed || !strings.Contains(r.stderr, "fetch of d failed: the sum is another one") {
		t.Errorf("failed: exit %d, %q", r.code, r.stderr)
	}
}

func available(content []byte) api.Image {
	return api.Image{ID: "i1", Name: "d", Kind: api.ImageDisk, Source: api.SourceUpload, State: api.ImageAvailable, SHA256: sumOf(content), Bytes: int64(len(content))}
}

func TestImageDownload(t *testing.T) {
	t.Chdir(t.TempDir())
	content := aDisk()
	p := newImagePeer(t, available(content))
	p.content, p.cut = content, 200000
	r := p.run("image", "download", "d", "-O", "out.img")
	if got := filesIn(t, "."); r.code != 0 || len(got) != 1 || got[0] != "out.img="+string(content) {
		t.Errorf("exit %d, %s, %d files", r.code, r.stderr, len(got))
	}
	if want := []string{"", "bytes=200000-"}; !slices.Equal(p.ranges, want) {
		t.Errorf("asked for %q, want %q", p.ranges, want)
	}
}

// TestImageDownloadGivenAgain goes on with what an earlier command has left.
func TestImageDownloadGivenAgain(t *testing.T) {
	content := aDisk()
	part := "out.img." + sumOf(content)[:8] + ".part"
	for _, c := range []struct {
		name   string
		left   []byte
		ranges []string
	}{
		{"a part", content[:1234], []string{"bytes=1234-"}},
		{"all but the name", content, nil},
		{"too much", append(slices.Clone(content), "more"...), []string{""}},
	} {
		t.Chdir(t.TempDir())
		if err := os.WriteFile(part, c.left, 0o600); err != nil {
			t.Fatal(err)
		}
		p := newImagePeer(t, available(content))
		p.content = content
		r := p.run("image", "download", "d", "-O", "out.img")
		if got := filesIn(t, "."); r.code != 0 || len(got) != 1 || got[0] != "out.img="+string(content) || !slices.Equal(p.ranges, c.ranges) {
			t.Errorf("%s: exit %d, %s, %d files, asked for %q, want %q", c.name, r.code, r.stderr, len(got), p.ranges, c.ranges)
		}
	}
}

// TestImageDownloadIsChecked: what is not the content never has its name.
func TestImageDownloadIsChecked(t *testing.T) {
	t.Chdir(t.TempDir())
	content := aDisk()
	p := newImagePeer(t, available(content))
	p.content = slices.Clone(content)
	p.content[7] ^= 1
	r := p.run("image", "download", "d", "-O", "out.img")
	if got := filesIn(t, "."); r.code != exitFailed || len(got) != 0 || !strings.Contains(r.stderr, "what came is not the content of d") {
		t.Errorf("exit %d, %q, %d files", r.code, r.stderr, len(got))
	}
}

func TestImageWithoutContent(t *testing.T) {
	t.Chdir(t.TempDir())
	pending := available(nil)
	pending.State = api.ImagePending
	for _, c := range []struct {
		image api.Image
		want  string
	}{
		{api.Image{ID: "i1", Name: "d", Kind: api.ImageDisk, Source: api.SourcePath, Path: "/srv/d.img"}, "orchd does not keep the content of d: it lies on the peers under /srv/d.img"},
		{pending, "the content of d is not there: the image is pending"},
	} {
		r := newImagePeer(t, c.image).run("image", "download", "d", "-O", "out.img")
		if got := filesIn(t, "."); r.code != exitConflict || !strings.Contains(r.stderr, c.want) || len(got) != 0 {
			t.Errorf("exit %d, %q, %d files; want %q", r.code, r.stderr, len(got), c.want)
		}
	}
}

// TestExportToAFile makes the image, waits for it, and downloads it; given again, it
// only downloads.
func TestExportToAFile(t *testing.T) {
	content := aDisk()
	for _, again := range []bool{false, true} {
		t.Chdir(t.TempDir())
		whole := available(content)
		whole.Source, whole.VM, whole.CreatedAt = api.SourceVM, vmID, now
		p := newImagePeer(t, whole)
		p.content = content
		pending := whole
		pending.State, pending.Operation, pending.Bytes, pending.SHA256 = api.ImagePending, opID, 0, ""
		var answer any = pending
		if again {
			answer = &api.Error{Kind: api.Conflict, Msg: "the name is taken"}
		}
		p.answer("GET /v1/vms/web1", aVM()).answer("POST /v1/vms/"+vmID+"/export", answer).answer("GET /v1/operations/"+opID, anOperation(api.OpSucceeded))
		r := p.run("vm", "export", "web1", "--image", "d", "--file", "out.img")
		if got := filesIn(t, "."); r.code != 0 || len(got) != 1 || got[0] != "out.img="+string(content) {
			t.Errorf("again %v: exit %d, %s, %d files", again, r.code, r.stderr, len(got))
		}
	}
}

func TestExportOfANameThatAnotherImageHas(t *testing.T) {
	p := newImagePeer(t, available(aDisk()))
	p.answer("GET /v1/vms/web1", aVM()).answer("POST /v1/vms/"+vmID+"/export", &api.Error{Kind: api.Conflict, Msg: "the name is taken"})
	if r := p.run("vm", "export", "web1", "--image", "d", "--file", filepath.Join(t.TempDir(), "x")); r.code != exitConflict || !strings.Contains(r.stderr, "the name is taken") {
		t.Errorf("exit %d, %q", r.code, r.stderr)
	}
}

// TestImageListFindsCopies of images that orchd keeps.
func TestImageListFindsCopies(t *testing.T) {
	kept := available(aDisk())
	f := newFake(t).answer("GET /v1/images", page(kept, api.Image{ID: "i2", Name: "p", Kind: api.ImageDisk, Source: api.SourcePath, Path: "/p"})).
		answer("GET /v1/images/i1", api.ImageView{Image: kept, Peers: []string{"h1", "h3"}})
	if r := f.run("image", "list"); r.code != 0 || !strings.Contains(r.stdout, "h1 h3") || len(f.asked) != 2 {
		t.Errorf("exit %d, %q, asked %v", r.code, r.stdout, f.asked)
	}
}
