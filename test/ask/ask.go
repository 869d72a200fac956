// Package ask sends HTTP requests and reads the answers whole, for tests that
// look at statuses, headers and problems.
package ask

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/orchd/orchd/api"
)

// Answer is an HTTP answer, read whole.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Problem is the answer as a problem document.
func (a Answer) Problem(t testing.TB) api.Problem {
	t.Helper()
	return Decode[api.Problem](t, a)
}

// Decode reads the answer's body as a T.
func Decode[T any](t testing.TB, a Answer) (v T) {
	t.Helper()
	if err := json.Unmarshal(a.Body, &v); err != nil {
		t.Fatalf("answer %d does not decode: %v\n%s", a.Status, err, a.Body)
	}
	return v
}

// Send sends one request with that client.
func Send(ctx context.Context, client *http.Client, method, url string, body any, headers ...string) (Answer, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, reader(body))
	if err != nil {
		return Answer{}, err
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	response, err := client.Do(r)
	if err != nil {
		return Answer{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return Answer{response.StatusCode, response.Header, text}, err
}

func reader(body any) io.Reader {
	switch b := body.(type) {
	case nil:
		return nil
	case string:
		return strings.NewReader(b)
	case []byte:
		return bytes.NewReader(b)
	}
	text, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	return bytes.NewReader(text)
}

// VM asks for a small VM of that name.
func VM(name string, vcpus, memoryMiB int64) api.VMCreate {
	return api.VMCreate{Name: name, Spec: api.VMSpec{VCPUs: vcpus, MemoryMiB: memoryMiB}}
}
